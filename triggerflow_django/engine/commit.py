"""One commit per step (design.md 5.2): outcome, state, joins, next steps and interrupt become visible together or not
at all.

Guarded by (id, token, attempt, running): a stale worker finds 0 rows and changes nothing.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from triggerflow_django import exceptions, signals
from triggerflow_django.approvals import policy
from triggerflow_django.definition.graph import Graph
from triggerflow_django.engine import effects, family, flow_data, interventions, places, resolve, rows, stream
from triggerflow_django.engine.transition import Carrier, Transition, begin
from triggerflow_django.models import EventKind, Interrupt, InterruptStatus, Step, StepStatus
from triggerflow_django.models.fields import new_id
from triggerflow_django.runtime.interventions import Change
from triggerflow_django.runtime.journal import Pause
from triggerflow_django.runtime.state import StateChange


class FencedError(Exception):
    """The step is not this drain's any more; whatever it did is dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run of a step left behind, routed as far as that needs no lock."""

    value: Any
    changes: Sequence[StateChange]
    #: Writes to what all executions of the flow share.
    flow_changes: Sequence[StateChange] = ()
    #: What it did to interventions.
    interventions: Sequence[Change] = ()
    #: Effects of ``definition.routing`` and ``effects.Emitted``, in call order, the completion last.
    effects: Sequence[Any]
    pause: Pause | None
    #: Of a sub flow's step: what history says of the child's end.
    sub_flow: dict[str, Any] | None = None
    #: Goes on where phase 1 stopped, so that activations stay unique.
    tokens: Iterator[str]


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit left for the drain: the successor it already holds the lease of, and how things stand."""

    carried: tuple[Step, ...] = ()
    #: The step failed for good.
    failed: bool = False
    #: Nothing of the execution is active any more, and none above waits for it.
    is_idle: bool = False


def complete(step: Step, outcome: Outcome, *, graph: Graph, carry: bool, using: str) -> Committed:
    """Commit a step's outcome. With ``carry``, a successor that is alone is leased to the same drain in the same
    commit.

    Raises: FencedError; TriggerFlowError for refusals only the commit can see (nothing is written then).
    """
    with begin(step.execution_id, using=using, graph=graph, exact=True) as transition:
        require_not_cut_off(transition)
        _finish(transition, step, outcome)
        execution = transition.execution
        if outcome.sub_flow is not None:
            transition.add_event(EventKind.SUB_FLOW_ENDED, name=step.node, data=outcome.sub_flow)
        execution.flow_fingerprint = graph.fingerprint
        execution.active_steps -= 1
        transition.caused_by(step.path, outcome.tokens)
        places.release(transition, step.scope, windows=outcome.sub_flow is None, limits=step.held_by != places.YIELDED)
        transition.write_state(outcome.changes)
        interventions.apply(transition, outcome.interventions, step.node)
        effects.apply(transition, outcome.effects, cause=step)
        if outcome.pause is not None:
            open_interrupt(transition, step, outcome.pause)
        assert step.lease_token is not None  # noqa: S101 - a claimed step has one
        carrier = Carrier(step.lease_token)
        transition.carry(carrier if carry else None, queue=step.queue)
        if outcome.flow_changes:
            flow_data.write(execution.flow_name, outcome.flow_changes, using=using)
    return Committed(tuple(carrier.steps), is_idle=execution.active_steps == 0 and execution.root_id is None)


def _finish(transition: Transition, step: Step, outcome: Outcome) -> None:
    status = StepStatus.PAUSED if outcome.pause is not None else StepStatus.DONE
    done = {"output": outcome.value, "finished_at": transition.now} if status == StepStatus.DONE else {}
    leave_running(transition, step, status, **done)


def leave_running(transition: Transition, step: Step, status: StepStatus, **values: Any) -> None:
    """Take a step out of ``running``, where this drain still has it.

    Raises: FencedError.
    """
    values |= {"status": status, "lease_expires_at": None}
    guard = {"id": step.pk, "lease_token": step.lease_token, "attempt": step.attempt, "status": StepStatus.RUNNING}
    if not rows.update(Step, using=transition.using, where=guard, values=values):
        raise FencedError(f"step {step.pk} is not this drain's any more")


def require_not_cut_off(transition: Transition) -> None:
    """Drop what a sub flow did after an execution above it was closed.

    Raises: FencedError.
    """
    execution = transition.execution
    if execution.root_id is not None and family.is_cut_off(execution.pk, using=transition.using):
        raise FencedError(f"execution {execution.id.hex} is a sub flow of one that is closed")


def open_interrupt(transition: Transition, step: Step, pause: Pause) -> Interrupt:
    """Insert the interrupt a chunk asked for.

    Raises: NoHandleError, InterruptAlreadyWaitingError, ApproversError: the pause is refused and with it the whole
    commit.
    """
    execution, using = transition.execution, transition.using
    if not execution.interactive:
        raise exceptions.NoHandleError(f"chunk {step.node} paused in flow.start(), where nobody could answer")
    pk = new_id()
    interrupt_id = pause.interrupt_id or pk.hex
    interrupt = Interrupt(
        id=pk,
        execution_id=execution.pk,
        step_id=step.pk,
        interrupt_id=interrupt_id,
        round=_next_round(transition, interrupt_id) if pause.interrupt_id else 1,
        type=pause.type,
        payload=pause.payload,
        resume_to=pause.resume_to,
        resume_event=pause.resume_event,
        response_schema=pause.response_schema,
        resume_count=step.resume_count,
        max_resumes=pause.max_resumes,
        approvers=policy.resolve(pause.approvers, using=using) if pause.approvers else [],
        exclude_starter=pause.exclude_starter,
        due_at=None if pause.due_in is None else transition.now + dt.timedelta(seconds=pause.due_in),
        on_due=pause.on_due,
        created_at=transition.now,
    )
    rows.insert([interrupt], using=using)
    execution.pending_interrupts += 1
    stream.tell(transition, "pause", interrupt)
    if not resolve.by_earlier_event(transition, interrupt, step):
        transition.notify(
            signals.interrupt_opened, interrupt_id=interrupt_id, interrupt_pk=interrupt.pk, type=interrupt.type
        )
    return interrupt


def _next_round(transition: Transition, interrupt_id: str) -> int:
    newest = (
        Interrupt.objects.using(transition.using)
        .filter(execution_id=transition.execution.pk, interrupt_id=interrupt_id)
        .order_by("-round")
        .values_list("round", "status")
        .first()
    )
    if newest is None:
        return 1
    if newest[1] == InterruptStatus.WAITING:
        raise exceptions.InterruptAlreadyWaitingError(
            f"interrupt {interrupt_id!r} is waiting already in execution {transition.execution.id.hex}; "
            "an answer must have one question: use another interrupt_id, or none"
        )
    return int(newest[0]) + 1


def recover(step: Step, *, token: uuid.UUID | None, using: str) -> Committed | None:
    """After an error around a commit, whose outcome is unknown: look.

    Returns what the commit left if it went through; ``None`` where the step is still this drain's and the commit may be
    tried again.

    Raises: FencedError where the step is somebody else's by now.
    """
    row = Step.objects.using(using).get(pk=step.pk)
    if row.lease_token != token or row.attempt != step.attempt:
        raise FencedError(f"step {step.pk} is not this drain's any more")
    if row.status == StepStatus.RUNNING:
        return None
    carried = Step.objects.using(using).filter(
        execution_id=step.execution_id, cause_id=step.pk, lease_token=token, status=StepStatus.RUNNING, attempt=1
    )
    return Committed(tuple(carried), failed=row.status == StepStatus.FAILED)
