"""Seal, unseal, close and cancel an execution (design.md 5.9). Closing never runs what comes after a gate."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any, Final

from triggerflow_django import exceptions
from triggerflow_django.definition.graph import Graph
from triggerflow_django.engine import actor as actors
from triggerflow_django.engine import closing, family
from triggerflow_django.engine.actor import rule
from triggerflow_django.engine.transition import Transition, begin
from triggerflow_django.models import EventKind, ExecutionStatus, Lifecycle

POLICIES: Final = ("error", "cancel")
#: ``close_policy`` of a close that has cancelled interrupts already; the outcome will be ``cancelled``.
_CANCELLED: Final = "cancelled"


def seal(execution_id: uuid.UUID, *, using: str, actor: Any = None, reason: str = "") -> None:
    """Accept nothing more from outside; accepted work goes on. Sealing twice changes nothing.

    Raises: ExecutionNotOpenError where it is closed.
    """
    reason = actors.words(reason, root="reason")
    with begin(execution_id, using=using) as transition:
        _require_not_closed(transition, "seal")
        if transition.execution.lifecycle == Lifecycle.OPEN:
            _seal(transition)
            transition.add_event(EventKind.SEALED, actor=actors.of(actor), data={"reason": reason})


def unseal(execution_id: uuid.UUID, *, using: str, actor: Any = None, reason: str = "") -> None:
    """Open a sealed execution again.

    Raises: ExecutionNotOpenError where it is closed or closing.
    """
    reason = actors.words(reason, root="reason")
    with begin(execution_id, using=using) as transition:
        _require_not_closed(transition, "unseal")
        execution = transition.execution
        if execution.closing:
            raise exceptions.ExecutionNotOpenError(f"execution {execution.id.hex} is closing: unseal refused")
        if execution.lifecycle == Lifecycle.SEALED:
            closing.reopen(transition)
            transition.add_event(EventKind.UNSEALED, actor=actors.of(actor), data={"reason": reason})


def request_close(
    execution_id: uuid.UUID,
    *,
    using: str,
    reason: str = "manual",
    timeout: float | None = None,
    seal: bool = True,
    pending_interrupts: str = "error",
    actor: Any = None,
    graph: Graph | None = None,
) -> bool:
    """Ask an execution to close: at once where nothing is active, else as soon as that is so. Returns whether it is
    closed.

    ``seal=False`` lets events and answers in while it waits for active work. ``timeout``: seconds after which the work
    that is left is cancelled and fenced. Asking again changes nothing, but a shorter timeout and the policy ``cancel``
    count.

    Raises: InvalidPolicyError for a policy other than error or cancel; PendingInterruptsError where interrupts wait
    under policy ``error`` (it stays open).
    """
    if pending_interrupts not in POLICIES:
        raise exceptions.InvalidPolicyError(f"pending_interrupts={pending_interrupts!r}: use 'error' or 'cancel'")
    if timeout is not None and not _is_duration(timeout):
        raise exceptions.InvalidPolicyError(f"timeout={timeout!r}: give seconds, or None to wait as long as it takes")
    reason = actors.words(reason, root="reason")
    with begin(execution_id, using=using, graph=graph) as transition:
        execution = transition.execution
        if execution.is_closed:
            return True
        waiting = execution.pending_interrupts
        if execution.active_steps:
            waiting += family.waiting_below(execution.pk, using).count()
        if waiting and pending_interrupts == "error":
            raise exceptions.PendingInterruptsError(
                f"execution {execution.id.hex} has {waiting} waiting interrupt{'s' if waiting > 1 else ''}; "
                "answer them, or close with pending_interrupts='cancel'"
            )
        who = actors.of(actor)
        if not execution.closing:
            execution.closing = True
            execution.close_reason = reason[:200]
            execution.close_policy = pending_interrupts
            transition.add_event(
                EventKind.CLOSE_REQUESTED, actor=who, data={"reason": reason, "pending_interrupts": pending_interrupts}
            )
            if seal:
                _seal(transition)
        if pending_interrupts == "cancel":
            cancelled = closing.cancel_interrupts(transition, who) or execution.close_policy == _CANCELLED
            execution.close_policy = _CANCELLED if cancelled else pending_interrupts
        if timeout is not None:
            by = transition.now + dt.timedelta(seconds=max(0.0, timeout))
            execution.close_by = min(by, execution.close_by) if execution.close_by else by
        closing.settle_sub_flows(transition)
    return execution.is_closed


def settle_close(execution_id: uuid.UUID, *, using: str) -> bool:
    """Finish, or give up, a close of which only sub flows are left that wait. Returns whether this call did it."""
    with begin(execution_id, using=using) as transition:
        return closing.settle_sub_flows(transition)


def force_close(execution_id: uuid.UUID, *, using: str) -> bool:
    """Finish a close whose time is over: cancel and fence what is left, freeze, and say what was cut.

    Returns whether this call did it.
    """
    with begin(execution_id, using=using) as transition:
        execution = transition.execution
        if not execution.closing or execution.close_by is None or execution.close_by > transition.now:
            return False
        cut = closing.cancel_steps(transition)
        cancelled = closing.cancel_interrupts(transition, rule("close"))
        outcome = ExecutionStatus.CANCELLED if cancelled or execution.close_policy == _CANCELLED else None
        closing.freeze(transition, outcome, {"cancelled_steps": cut})
    return True


def cancel(execution_id: uuid.UUID, *, using: str, reason: str = "", actor: Any = None) -> bool:
    """End an execution now: running steps are fenced, ready ones and waiting interrupts cancelled.

    Returns whether this call did it.
    """
    reason = actors.words(reason, root="reason")
    with begin(execution_id, using=using) as transition:
        execution = transition.execution
        if execution.is_closed:
            return False
        who = actors.of(actor)
        execution.close_reason = reason[:200]
        cut = closing.cancel_steps(transition)
        closing.cancel_interrupts(transition, who)
        closing.freeze(transition, ExecutionStatus.CANCELLED, {"cancelled_steps": cut}, who)
    return True


def abandon(execution_id: uuid.UUID, *, using: str, reason: str) -> bool:
    """Close an execution nobody can hold any more, whatever it was doing: ``failed`` where a step failed, else
    ``cancelled``.
    """
    with begin(execution_id, using=using) as transition:
        execution = transition.execution
        if execution.is_closed:
            return False
        execution.close_reason = reason
        cut = closing.cancel_steps(transition)
        closing.cancel_interrupts(transition, rule("abandon"))
        outcome = ExecutionStatus.FAILED if execution.failed_steps else ExecutionStatus.CANCELLED
        closing.freeze(transition, outcome, {"cancelled_steps": cut})
    return True


def auto_close(execution_id: uuid.UUID, *, using: str) -> bool:
    """Close an execution that has been idle for its time; checked again under the lock.

    Returns whether this call did it.
    """
    with begin(execution_id, using=using) as transition:
        execution = transition.execution
        due = execution.auto_close_at is not None and execution.auto_close_at <= transition.now
        if not due or not execution.is_idle or execution.lifecycle != Lifecycle.OPEN:
            return False
        execution.close_reason = "auto_close"
        closing.freeze(transition)
    return True


def _is_duration(seconds: object) -> bool:
    return isinstance(seconds, int | float) and not isinstance(seconds, bool) and abs(seconds) < 100 * 366 * 86400


def _seal(transition: Transition) -> None:
    transition.execution.lifecycle = Lifecycle.SEALED
    transition.execution.sealed_at = transition.now


def _require_not_closed(transition: Transition, verb: str) -> None:
    execution = transition.execution
    if execution.is_closed:
        raise exceptions.ExecutionNotOpenError(
            f"execution {execution.id.hex} is closed ({execution.status}): {verb} refused"
        )
