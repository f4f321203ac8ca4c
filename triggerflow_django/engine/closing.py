"""Close as a state, not a wait (design.md 5.9): what happens to a closing execution when its work is done.

Called by every transition before it writes, so that whichever commit brings the active steps to 0 also freezes the
snapshot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import QuerySet

from triggerflow_django import signals, wakeups
from triggerflow_django.engine import family, interventions
from triggerflow_django.engine.actor import NOBODY, Actor, rule
from triggerflow_django.models import (
    ACTIVE_STATUSES,
    EventKind,
    ExecutionStatus,
    Interrupt,
    InterruptStatus,
    Lifecycle,
    Step,
    StepStatus,
)

if TYPE_CHECKING:
    from triggerflow_django.engine.transition import Transition


def settle(transition: Transition) -> None:
    """Finish a requested close once nothing is active: freeze, or reopen where something paused under policy
    ``error``.
    """
    execution = transition.execution
    if execution.root_id is not None:
        _end_sub_flow(transition)
    if not execution.closing or execution.active_steps > 0:
        return
    if execution.pending_interrupts and execution.close_policy == "error":
        _give_up(transition, execution.pending_interrupts)
        return
    cancelled = cancel_interrupts(transition, rule("close"))
    freeze(transition, ExecutionStatus.CANCELLED if cancelled or execution.close_policy == "cancelled" else None)


def settle_sub_flows(transition: Transition) -> bool:
    """The same where steps are active that wait for sub flows of which nothing runs: what these wait for counts as the
    execution's own. Returns whether it did something.
    """
    execution, using = transition.execution, transition.using
    if not execution.closing or not execution.active_steps or family.is_busy(execution.pk, using):
        return False
    waiting = execution.pending_interrupts + family.waiting_below(execution.pk, using).count()
    if execution.close_policy == "error":
        if waiting:
            _give_up(transition, waiting)
        return bool(waiting)
    cut = cancel_steps(transition)
    cancel_interrupts(transition, rule("close"))
    freeze(transition, ExecutionStatus.CANCELLED, {"cancelled_steps": cut})
    return True


def _give_up(transition: Transition, waiting: int) -> None:
    execution = transition.execution
    execution.closing = False
    execution.close_by = None
    reopen(transition)
    data = {"reason": execution.close_reason, "pending_interrupts": waiting}
    transition.add_event(EventKind.CLOSE_REFUSED, actor=rule("close"), data=data)


def _end_sub_flow(transition: Transition) -> None:
    """A sub flow closes by itself, in the commit that leaves nothing active and nothing pending."""
    execution = transition.execution
    if execution.started_at is not None and execution.is_idle and not execution.is_closed:
        execution.close_reason = execution.close_reason or "sub flow ended"
        freeze(transition, ExecutionStatus.CANCELLED if execution.close_policy == "cancelled" else None)


def _wake_parent(transition: Transition) -> None:
    """The step that waits for this sub flow becomes ready, to take up what came of it."""
    execution, using = transition.execution, transition.using
    steps = Step.objects.using(using).filter(pk=execution.parent_step_id or 0)
    woken = steps.filter(status=StepStatus.DELEGATED).update(status=StepStatus.READY, available_at=transition.now)
    queue = steps.values_list("queue", flat=True).first() if woken else ""
    if queue:
        wakeups.ring_after_commit({queue: 1}, using=using)


def reopen(transition: Transition) -> None:
    """Accept again what comes from outside, and let those deadlines act that passed while nothing was accepted."""
    execution = transition.execution
    execution.lifecycle = Lifecycle.OPEN
    execution.sealed_at = None
    if execution.pending_interrupts:
        own = Interrupt.objects.using(transition.using).filter(execution_id=execution.pk)
        _rearm(own.filter(status=InterruptStatus.WAITING))
    if execution.active_steps:
        _rearm(family.waiting_below(execution.pk, transition.using))


def _rearm(interrupts: QuerySet[Interrupt]) -> None:
    waiting = interrupts.filter(overdue_at__isnull=False)
    missed = [interrupt.pk for interrupt in waiting.only("on_due") if (interrupt.on_due or {}).get("do") != "overdue"]
    if missed:
        again = Interrupt.objects.using(waiting.db).filter(pk__in=missed, status=InterruptStatus.WAITING)
        again.update(overdue_at=None)


def cancel_interrupts(transition: Transition, actor: Actor) -> int:
    """Cancel every waiting interrupt and the steps that wait for them. Returns how many."""
    execution = transition.execution
    if not execution.pending_interrupts:
        return 0
    waiting = list(
        Interrupt.objects.using(transition.using)
        .filter(execution_id=execution.pk, status=InterruptStatus.WAITING)
        .only("pk", "interrupt_id", "step_id")
    )
    Interrupt.objects.using(transition.using).filter(
        pk__in=[interrupt.pk for interrupt in waiting], status=InterruptStatus.WAITING
    ).update(status=InterruptStatus.CANCELLED, resolved_at=transition.now)
    Step.objects.using(transition.using).filter(
        pk__in=[interrupt.step_id for interrupt in waiting], status=StepStatus.PAUSED
    ).update(status=StepStatus.CANCELLED, finished_at=transition.now)
    for interrupt in waiting:
        transition.add_event(EventKind.INTERRUPT_CANCELLED, name=interrupt.interrupt_id, actor=actor)
    execution.pending_interrupts = 0
    return len(waiting)


def cancel_steps(transition: Transition) -> list[dict[str, Any]]:
    """Cancel every active step; running ones are fenced by it. Returns what was cancelled: node and status."""
    execution = transition.execution
    if not execution.active_steps:
        return []
    steps = Step.objects.using(transition.using).filter(execution_id=execution.pk, status__in=ACTIVE_STATUSES)
    if steps.filter(status=StepStatus.DELEGATED).exists():
        execution.cancels_sub_flows = True
    cut = [{"node": node, "status": status} for node, status in steps.order_by("pk").values_list("node", "status")]
    steps.update(status=StepStatus.CANCELLED, finished_at=transition.now)
    execution.active_steps = 0
    return cut


def freeze(
    transition: Transition,
    outcome: ExecutionStatus | None = None,
    data: dict[str, Any] | None = None,
    actor: Actor = NOBODY,
) -> None:
    """Close for good: the snapshot is the state now, and never changes again."""
    execution = transition.execution
    if outcome is None:
        outcome = ExecutionStatus.FAILED if execution.failed_steps else ExecutionStatus.COMPLETED
    execution.snapshot = transition.read_state()
    interventions.expire(transition)
    execution.lifecycle = Lifecycle.CLOSED
    execution.status = outcome
    execution.closing = False
    execution.close_by = None
    execution.closed_at = transition.now
    kind = EventKind.CANCELLED if outcome == ExecutionStatus.CANCELLED else EventKind.CLOSED
    transition.add_event(
        kind, actor=actor, data={"reason": execution.close_reason, "status": str(outcome), **(data or {})}
    )
    if execution.parent_step_id is not None:
        _wake_parent(transition)
    transition.notify(signals.execution_closed, status=str(outcome))
