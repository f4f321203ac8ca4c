"""What happens when an interrupt's due time passes: marked overdue, answered by default, expired with an event, or
failed.

Always recorded as the system's act under a named rule. A deadline and a person race for the same row: the lock lets one
win.
"""

from __future__ import annotations

import uuid
from typing import Any

from triggerflow_django import exceptions, signals
from triggerflow_django.definition.routing import Signal
from triggerflow_django.engine import authority, effects, family, resolve
from triggerflow_django.engine.actor import rule
from triggerflow_django.engine.transition import Transition, begin, path_digest, routed
from triggerflow_django.models import Door, EventKind, Interrupt, InterruptStatus, Lifecycle, Step, StepStatus

DEADLINE = rule("deadline")


def pass_deadline(interrupt_pk: uuid.UUID, execution_id: uuid.UUID, *, using: str) -> bool:
    """Act on one interrupt whose deadline may have passed; checked again under the lock.

    Returns whether this call acted.
    """

    def verb(defer: bool) -> bool:
        with begin(execution_id, using=using, defer=defer) as transition:
            interrupt = (
                Interrupt.objects.using(using)
                .select_related("step")
                .filter(
                    pk=interrupt_pk, status=InterruptStatus.WAITING, overdue_at__isnull=True, due_at__lte=transition.now
                )
                .first()
            )
            if interrupt is None:
                return False
            _act(transition, interrupt, interrupt.on_due or {"do": "overdue"})
        return True

    return routed(verb)


def _act(transition: Transition, interrupt: Interrupt, on_due: dict[str, Any]) -> None:
    _mark_overdue(transition, interrupt)
    execution = transition.execution
    if execution.lifecycle != Lifecycle.OPEN or not family.is_open_above(execution, using=transition.using):
        # Sealed: nothing opens a gate from outside, a deadline neither. It stays waiting, marked overdue, and acts once
        # the execution is open again (``closing.reopen``).
        return
    match on_due["do"]:
        case "answer":
            try:
                authority.require_valid(interrupt, on_due["answer"])
            except exceptions.AnswerSchemaError as error:
                _fail(transition, interrupt, f"its default answer does not match its schema: {error}")
                return
            resolve.resume(transition, interrupt, on_due["answer"], actor=DEADLINE, door=Door.DEADLINE)
        case "event":
            _expire(transition, interrupt, StepStatus.DONE)
            event = transition.add_event(
                EventKind.EMITTED, name=on_due["event"], actor=DEADLINE, data={"value": on_due["value"]}
            )
            signal = Signal(("event", event.name), on_due["value"], resolve.scope_of(interrupt.step))
            resolve.by_inner_event(transition, event.name, on_due["value"])
            effects.route(transition, signal, cause=interrupt.step)
        case "fail":
            _fail(transition, interrupt, "nobody answered before its deadline")


def _mark_overdue(transition: Transition, interrupt: Interrupt) -> None:
    Interrupt.objects.using(transition.using).filter(pk=interrupt.pk).update(overdue_at=transition.now)
    interrupt.overdue_at = transition.now
    transition.add_event(
        EventKind.INTERRUPT_OVERDUE, name=interrupt.interrupt_id, actor=DEADLINE, data={"due_at": str(interrupt.due_at)}
    )
    transition.notify(
        signals.interrupt_overdue, interrupt_id=interrupt.interrupt_id, interrupt_pk=interrupt.pk, type=interrupt.type
    )


def _expire(transition: Transition, interrupt: Interrupt, status: StepStatus, **values: Any) -> Step:
    Interrupt.objects.using(transition.using).filter(pk=interrupt.pk, status=InterruptStatus.WAITING).update(
        status=InterruptStatus.EXPIRED, resolved_at=transition.now
    )
    transition.execution.pending_interrupts -= 1
    transition.add_event(EventKind.INTERRUPT_EXPIRED, name=interrupt.interrupt_id, actor=DEADLINE)
    step = resolve.finish_paused(transition, interrupt, status, **values)
    transition.caused_by(f"{step.path}:expired")
    return step


def _fail(transition: Transition, interrupt: Interrupt, why: str) -> None:
    error = {
        "type": "triggerflow_django.exceptions.DeadlinePassedError",
        "message": f"interrupt {interrupt.interrupt_id!r}: {why}",
        "traceback": "",
    }
    # What it caused before it asked is there already: retried, it has to find another place in the causal order.
    path = path_digest(f"{interrupt.step.path}:again:{transition.execution.event_sequence}")
    step = _expire(transition, interrupt, StepStatus.FAILED, error=error, path=path)
    if not transition.execution.skip_exceptions:
        transition.execution.failed_steps += 1
    transition.notify(
        signals.step_failed, step_id=step.pk, node=step.node, error_type=error["type"], error_message=error["message"]
    )
