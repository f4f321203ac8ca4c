"""The gate: the only code that turns a waiting interrupt into a resumed one, always together with a stored decision.

Called under the lock by ``decide`` (a person or trusted code), by events (from a chunk or from outside) and by
deadlines. What comes after the gate is routed in the same commit.
"""

from __future__ import annotations

import logging
from typing import Any

from triggerflow_django import exceptions, signals
from triggerflow_django.definition.routing import Scope, Signal
from triggerflow_django.engine import authority, effects, places, rows, stream
from triggerflow_django.engine.actor import Actor, rule
from triggerflow_django.engine.transition import Transition
from triggerflow_django.models import (
    Decision,
    Door,
    Event,
    EventKind,
    Interrupt,
    InterruptStatus,
    Step,
    StepKind,
    StepStatus,
)

logger = logging.getLogger(__name__)


def resume(
    transition: Transition,
    interrupt: Interrupt,
    payload: Any,
    *,
    actor: Actor,
    door: Door,
    request_id: str = "",
    comment: str = "",
    emitted: bool = False,
) -> Decision:
    """Store the decision, mark the interrupt resumed, finish the paused step and route what follows.

    ``emitted``: the answer came as the very event the interrupt resumes to, so that event is not emitted a second time.

    Raises: InterruptNotWaitingError where the conditional update finds it resolved already.
    """
    using, now, execution = transition.using, transition.now, transition.execution
    decision = Decision(
        execution_id=execution.pk,
        payload=payload,
        actor_id=actor.id,
        actor_label=actor.label,
        door=door,
        request_id=request_id,
        comment=comment,
        created_at=now,
    )
    rows.insert([decision], using=using)
    guard = {"id": interrupt.pk, "status": InterruptStatus.WAITING}
    values = {"status": InterruptStatus.RESUMED, "decision_id": decision.pk, "resolved_at": now}
    if not rows.update(Interrupt, using=using, where=guard, values=values):
        raise exceptions.InterruptNotWaitingError(f"interrupt {interrupt.interrupt_id!r} is not waiting any more")
    interrupt.status, interrupt.decision, interrupt.resolved_at = InterruptStatus.RESUMED, decision, now
    execution.pending_interrupts -= 1
    transition.add_event(
        EventKind.INTERRUPT_DECIDED,
        name=interrupt.interrupt_id,
        actor=actor,
        data={"decision": decision.id.hex, "door": str(door), **({"comment": comment} if comment else {})},
    )
    stream.tell(transition, "resume", interrupt)
    step = finish_paused(transition, interrupt, StepStatus.DONE, output=payload)
    # Not the path alone: what the step caused when it paused has that.
    transition.caused_by(f"{step.path}:answered")
    _follow(transition, interrupt, step, payload, emitted=emitted)
    transition.notify(
        signals.interrupt_decided,
        interrupt_id=interrupt.interrupt_id,
        interrupt_pk=interrupt.pk,
        type=interrupt.type,
        door=str(door),
        actor=actor.label,
    )
    return decision


def finish_paused(transition: Transition, interrupt: Interrupt, status: StepStatus, **values: Any) -> Step:
    """Take the step of an interrupt out of ``paused``; it was paused as long as the interrupt waited."""
    rows.update(
        Step,
        using=transition.using,
        where={"id": interrupt.step_id, "status": StepStatus.PAUSED},
        values={"status": status, "finished_at": transition.now, **values},
    )
    return interrupt.step


def scope_of(step: Step) -> Scope:
    """A step's scope as routing uses it."""
    return tuple((mark[0], mark[1], mark[2]) for mark in step.scope)


def _follow(transition: Transition, interrupt: Interrupt, step: Step, payload: Any, *, emitted: bool) -> None:
    if interrupt.resume_to == "next":
        effects.route(transition, Signal(("done", step.node), payload, scope_of(step)), cause=step)
    elif interrupt.resume_to == "event":
        if not emitted:
            effects.route(transition, Signal(("event", interrupt.resume_event), payload, scope_of(step)), cause=step)
    else:
        kind, _, name = step.source.partition(":")
        again = transition.add_step(
            kind=StepKind.CHUNK,
            node=step.node,
            source=(kind, name),
            value=step.input,
            scope=scope_of(step),
            cause=step,
            queue=step.queue,
            resume_count=step.resume_count + 1,
            resumed_from_id=interrupt.pk,
        )
        places.admit(transition, again)


# -- answers that come as events


def waiting_for(transition: Transition, event: str) -> list[Interrupt]:
    """The interrupts of this execution that wait for an event, oldest first."""
    if not transition.execution.pending_interrupts:
        return []
    return list(
        Interrupt.objects.using(transition.using)
        .select_related("step")
        .filter(execution_id=transition.execution.pk, status=InterruptStatus.WAITING, resume_event=event)
        .order_by("pk")
    )


def by_inner_event(transition: Transition, event: str, value: Any) -> None:
    """A chunk emitted an event: it answers what waits for it, but never in place of a named approver."""
    base, tokens = transition.base, transition.tokens
    for interrupt in waiting_for(transition, event):
        if interrupt.approvers or interrupt.exclude_starter:
            continue
        try:
            authority.require_valid(interrupt, value)
        except exceptions.AnswerSchemaError as error:
            logger.warning(
                "triggerflow.interrupt.event_refused", extra={"interrupt": interrupt.id.hex, "reason": str(error)}
            )
            continue
        resume(transition, interrupt, value, actor=rule(f"event:{event}"), door=Door.EVENT, emitted=True)
    transition.caused_by(base, tokens)


def by_outer_event(transition: Transition, event: str, value: Any, who: Any, actor: Actor) -> None:
    """An event came from outside: it answers everything that waits for it, or is refused whole.

    Raises: DecisionRefusedError, AnswerSchemaError.
    """
    interrupts = waiting_for(transition, event)
    for interrupt in interrupts:
        authority.require_allowed(transition.execution, interrupt, who, Door.EVENT)
        authority.require_valid(interrupt, value)
    base, tokens = transition.base, transition.tokens
    for interrupt in interrupts:
        resume(transition, interrupt, value, actor=actor, door=Door.EVENT, emitted=True)
    transition.caused_by(base, tokens)


def by_earlier_event(transition: Transition, interrupt: Interrupt, step: Step) -> bool:
    """The payment that arrived before the wait: an outside event after the step's first claim answers at once.

    Its handlers ran when it arrived; they do not run again. An event that names a user who may not decide, or whose
    value does not match the schema, does not count.
    """
    if not interrupt.resume_event:
        return False
    events = (
        Event.objects.using(transition.using)
        .filter(
            execution_id=transition.execution.pk,
            kind=EventKind.EMITTED,
            name=interrupt.resume_event,
            sequence__gt=step.first_claim_sequence or 0,
        )
        .order_by("sequence")
    )
    for event in events:
        actor = Actor(event.actor_id, event.actor_label)
        value = event.data.get("value")
        try:
            who = authority.user_of(actor, transition.using)
            authority.require_allowed(transition.execution, interrupt, who, Door.EVENT)
            authority.require_valid(interrupt, value)
        except (exceptions.DecisionRefusedError, exceptions.AnswerSchemaError):
            continue
        resume(transition, interrupt, value, actor=actor, door=Door.EVENT, emitted=True)
        return True
    return False
