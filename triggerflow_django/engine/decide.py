"""Decide an interrupt: the one function behind every door (design.md 5.11).

On the locked row, in this order: permission, replay by request id (also after close), lifecycle, schema, the
conditional update. The decision, what it resumes and the history line commit together.
"""

from __future__ import annotations

import uuid
from typing import Any

from triggerflow_django import conf, exceptions, jsongate
from triggerflow_django.definition.graph import Graph
from triggerflow_django.engine import actor as actors
from triggerflow_django.engine import authority, family, projection, records, resolve, selects
from triggerflow_django.engine.transition import Carrier, Transition, begin, routed
from triggerflow_django.models import Door, Interrupt, InterruptStatus


def decide(
    execution_id: uuid.UUID,
    interrupt_id: str,
    payload: Any,
    *,
    door: Door,
    using: str,
    actor: Any = None,
    request_id: str | None = None,
    round: int | None = None,
    comment: str = "",
    graph: Graph | None = None,
    carrier: Carrier | None = None,
) -> dict[str, Any]:
    """Answer a waiting interrupt, of this execution or, by the id it is shown under, of a sub flow. Returns its record
    (``records.interrupt``).

    ``actor``: a user instance, to whom the interrupt's policy applies; a bare name or ``None`` for trusted code (doors
    ``code`` and ``event``); an ``authority.Override`` (door ``command``), whose reason is the comment. The same
    ``request_id`` with the same answer gives the same record again and changes nothing. ``round``: which of the
    questions asked under this id the answer is meant for; a person who has been looking at an earlier one must not
    answer the next. Without it: see ``addressed``.

    Raises: UnknownExecutionError, UnknownInterruptError (KeyError); DecisionRefusedError (PermissionError);
    RequestIdConflictError, InterruptNotWaitingError, AnswerSchemaError, JsonValueError (ValueError);
    ExecutionNotOpenError (RuntimeError).
    """
    limits = conf.get_settings().answer_limits
    payload = jsongate.check(payload, limits=limits, root="answer")
    comment = actors.words(comment, root="comment")
    if request_id is not None and not jsongate.is_name(request_id):
        raise exceptions.JsonValueError(f"request id {request_id!r}: give a text of 1 to 200 characters")

    def verb(defer: bool) -> dict[str, Any]:
        with begin(execution_id, using=using, graph=graph, defer=defer) as transition:
            interrupt = addressed(transition, interrupt_id, request_id, round)
            authority.require_allowed(transition.execution, interrupt, actor, door)
            if _is_replay(interrupt, payload, request_id):
                return records.interrupt(interrupt, interrupt.step)
            doing = f"answer to interrupt {interrupt_id!r}"
            if transition.execution.root_id is not None:
                # A sub flow closes with its last answer: whoever comes second is to hear of that answer.
                require_waiting(interrupt)
                family.require_open_above(transition.execution, doing, using=using)
            transition.require_open(doing)
            require_waiting(interrupt)
            authority.require_valid(interrupt, payload)
            who, told = authority.recorded(actor, comment)
            resolve.resume(
                transition,
                interrupt,
                payload,
                actor=who,
                door=door,
                request_id=request_id or "",
                comment=told,
            )
            transition.carry(carrier)
            return records.interrupt(interrupt, interrupt.step)

    try:
        return routed(verb)
    except exceptions.UnknownInterruptError:
        at, local = projection.address(execution_id, str(interrupt_id), using)
        if at == execution_id:
            raise
    # One of a sub flow, by the id under which this execution shows it.
    record = decide(
        at, local, payload, door=door, using=using, actor=actor, request_id=request_id, round=round, comment=comment
    )
    return projection.projected(record, projection.frames_between(execution_id, at, using))


def addressed(transition: Transition, interrupt_id: str, request_id: str | None, round: int | None = None) -> Interrupt:
    """The interrupt a request is about: of the round it names; else the round it has decided already, else the newest
    under the id.

    A client that did not hear that it was understood asks again; by then the chunk may wait for the next round's
    answer, which this is not.

    Raises: UnknownInterruptError naming id and execution.
    """
    using, execution = transition.using, transition.execution
    found = None
    if jsongate.is_name(interrupt_id):
        found = selects.NEWEST_INTERRUPT.first(using, execution=execution.pk, name=interrupt_id)
    if found is not None and (round not in (None, found.round) or (request_id is not None and found.round > 1)):
        rounds = Interrupt.objects.using(using).filter(execution_id=execution.pk, interrupt_id=interrupt_id)
        if round is not None:
            rounds = rounds.filter(round=round)
            found = rounds.first()
        found = (request_id and rounds.filter(decision__request_id=request_id).order_by("-round").first()) or found
    if found is None:
        raise exceptions.UnknownInterruptError(f"execution {execution.id.hex} has no interrupt {interrupt_id!r}")
    found.step = selects.STEP.first(using, pk=found.step_id)  # type: ignore[assignment]  # a foreign key: it is there
    return found


def require_waiting(interrupt: Interrupt) -> None:
    """Refuse an interrupt that was resolved.

    Raises: InterruptNotWaitingError saying by whom and when.
    """
    if interrupt.status == InterruptStatus.WAITING:
        return
    raise exceptions.InterruptNotWaitingError(
        f"interrupt {interrupt.interrupt_id!r} {_became_of(interrupt)}; nothing was changed"
    )


def _became_of(interrupt: Interrupt) -> str:
    decision = interrupt.decision
    when = interrupt.resolved_at.isoformat(timespec="seconds") if interrupt.resolved_at else "an unknown time"
    if decision is not None:
        return f"was decided by {decision.actor_label or decision.door} at {when}"
    return f"was {interrupt.status} at {when}"


def _is_replay(interrupt: Interrupt, payload: Any, request_id: str | None) -> bool:
    decision = interrupt.decision
    if request_id is None or decision is None or decision.request_id != request_id:
        return False
    if not jsongate.same(decision.payload, payload):
        raise exceptions.RequestIdConflictError(
            f"request id {request_id!r} was used before for interrupt {interrupt.interrupt_id!r}, with another "
            f"answer: it {_became_of(interrupt)}; nothing was changed"
        )
    return True
