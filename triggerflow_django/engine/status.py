"""An execution's status, derived from its counters and lifecycle in one place (design.md 5.7)."""

from __future__ import annotations

from triggerflow_django.models import Execution, ExecutionStatus, Lifecycle

#: Kept by a closed execution.
OUTCOMES = (ExecutionStatus.COMPLETED, ExecutionStatus.FAILED, ExecutionStatus.CANCELLED)


def derive(execution: Execution) -> ExecutionStatus:
    """The status that follows from the row's other columns; a closed execution keeps its outcome."""
    if execution.lifecycle == Lifecycle.CLOSED:
        return ExecutionStatus(execution.status)
    if execution.failed_steps > 0:
        return ExecutionStatus.FAILED
    if execution.active_steps > 0:
        return ExecutionStatus.RUNNING
    if execution.pending_interrupts > 0:
        return ExecutionStatus.WAITING
    if execution.started_at is not None:
        return ExecutionStatus.RUNNING
    return ExecutionStatus.CREATED
