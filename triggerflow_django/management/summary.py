"""An execution in a few words, as every command shows it, and what becomes of its ready steps."""

from __future__ import annotations

from typing import Any

from triggerflow_django.management import text
from triggerflow_django.management.base import Output
from triggerflow_django.models import Execution, ExecutionStatus, Lifecycle, Runner, Step, StepStatus


def shown_status(row: Execution) -> str:
    """The status; ``idle`` for one that is open and has nothing to do."""
    is_idle = row.status == ExecutionStatus.RUNNING and row.is_idle
    return "idle" if is_idle and not row.is_closed else str(row.status)


def document(row: Execution) -> dict[str, Any]:
    """The execution's row as a document, without input, state and snapshot."""
    return {
        "id": row.id.hex,
        "flow": row.flow_name,
        "status": shown_status(row),
        "lifecycle": str(row.lifecycle),
        "closing": row.closing,
        "close_reason": row.close_reason,
        "runner": str(row.runner),
        "key": row.key,
        "started_by": row.started_by_label,
        "active_steps": row.active_steps,
        "pending_interrupts": row.pending_interrupts,
        "failed_steps": row.failed_steps,
        "created_at": row.created_at,
        "started_at": row.started_at,
        "closed_at": row.closed_at,
    }


def work(row: Execution) -> str:
    """What it has to do: ``1 failed, 2 to decide``."""
    parts = [
        (row.failed_steps, f"{row.failed_steps} failed"),
        (row.pending_interrupts, f"{row.pending_interrupts} to decide"),
        (row.active_steps, f"{row.active_steps} active"),
    ]
    told = ", ".join(words for number, words in parts if number)
    return f"closing, {told}" if row.closing else told


def after(row: Execution, told: str, using: str, **extra: Any) -> Output:
    """The output of a command that acted on one execution: what it did, how the execution stands now."""
    row = Execution.objects.using(using).defer("input", "snapshot").get(pk=row.pk)
    ready = left_to_holder(row, using)
    lifecycle = "" if row.lifecycle == Lifecycle.OPEN else f" ({row.lifecycle})"
    now = f"Now: {shown_status(row)}{lifecycle}" + (f", {work(row)}" if work(row) and not row.is_closed else "") + "."
    lines = [*text.wrapped(told), *text.wrapped(now)]
    if ready:
        lines += holder_note(row, ready)
    return Output({**extra, "execution": document(row), "left_to_holder": ready}, lines)


def left_to_holder(row: Execution, using: str) -> int:
    """How many ready steps wait for the process that holds an inline execution; commands run none."""
    if row.runner != Runner.INLINE or not row.active_steps:
        return 0
    return Step.objects.using(using).filter(execution_id=row.pk, status=StepStatus.READY).count()


def holder_note(row: Execution, ready: int) -> list[str]:
    """Who runs the ready steps of an inline execution."""
    return [
        *text.wrapped(
            f"It runs inline: {text.count(ready, 'ready step')} left to the process that holds it, when that next uses "
            "its handle. If none does, hand it to workers:"
        ),
        *text.command(["triggerflow_handover", row.id.hex, "--reason TEXT"], "  "),
    ]
