"""Database functions behind the handle's reads.

An execution whose row is not inserted yet reads as created, open and empty.
"""

from __future__ import annotations

import uuid
from typing import Any

from triggerflow_django.engine import clock, family, projection, records, selects
from triggerflow_django.models import Execution, ExecutionStatus, Interrupt, Intervention, Lifecycle, State
from triggerflow_django.runtime import state as state_ops


def row(pk: uuid.UUID, using: str) -> Execution | None:
    """The row."""
    return Execution.objects.using(using).filter(pk=pk).first()


def status(pk: uuid.UUID, using: str, has_sub_flows: bool = False) -> str:
    """Its status; that of the row does not tell whether the sub flows it waits for only wait themselves."""
    found = Execution.objects.using(using).filter(pk=pk).values_list("status", "pending_interrupts").first()
    stored, pending = found or ("created", 0)
    if has_sub_flows and stored == ExecutionStatus.RUNNING and not family.is_busy(pk, using):
        return "waiting" if pending or family.waiting_below(pk, using).exists() else str(stored)
    return str(stored)


def lifecycle_state(pk: uuid.UUID, using: str) -> str:
    """Its lifecycle."""
    found = Execution.objects.using(using).filter(pk=pk).values_list("lifecycle", flat=True).first()
    return str(found or "open")


def snapshot(pk: uuid.UUID, using: str) -> Any:
    """Its snapshot, ``None`` until it is closed."""
    return Execution.objects.using(using).filter(pk=pk).values_list("snapshot", flat=True).first()


def whole_state(pk: uuid.UUID, using: str) -> dict[str, Any]:
    """The committed state with all that the snapshot shows."""
    return State.objects.using(using).filter(execution_id=pk).values_list("data", flat=True).first() or {}


def state(pk: uuid.UUID, using: str, key: str | None, default: Any) -> Any:
    """The committed state, or what is under a dotted key."""
    data = state_ops.visible(whole_state(pk, using))
    if key is None:
        return data
    value = state_ops.lookup(data, state_ops.check_key(key))
    return default if value is state_ops.MISSING else value


def pending_interrupts(pk: uuid.UUID, using: str, has_sub_flows: bool = False) -> dict[str, dict[str, Any]]:
    """Records of the waiting interrupts, by id."""
    if has_sub_flows:
        return projection.pending(pk, using)
    waiting = selects.WAITING_INTERRUPTS.all(using, execution=pk)
    if not waiting:
        return {}
    steps = {step.pk: step for step in selects.PAUSED_STEPS.all(using, execution=pk)}
    # One that was answered between the two has its step read by itself.
    return {found.interrupt_id: records.interrupt(found, steps.get(found.step_id) or found.step) for found in waiting}


def interrupt(pk: uuid.UUID, using: str, interrupt_id: str, has_sub_flows: bool = False) -> dict[str, Any] | None:
    """The newest record under an id."""
    if has_sub_flows:
        return projection.interrupt(pk, interrupt_id, using)
    rows = Interrupt.objects.using(using).filter(execution_id=pk, interrupt_id=interrupt_id)
    found = rows.select_related("step", "decision").order_by("-round").first()
    return None if found is None else records.interrupt(found, found.step)


def interventions(pk: uuid.UUID, using: str) -> list[dict[str, Any]]:
    """Records of all interventions, oldest first."""
    every = Intervention.objects.using(using).filter(execution_id=pk).order_by("version")
    return [records.intervention(row) for row in every]


def seconds_to_auto_close(pk: uuid.UUID, using: str) -> float | None:
    """Seconds until it closes by itself, 0 or less when it is due; ``None`` where it will not as things stand."""
    found = (
        Execution.objects.using(using)
        .filter(pk=pk, lifecycle=Lifecycle.OPEN, auto_close_at__isnull=False)
        .annotate(db_now=clock.expression())
        .only("auto_close_at")
        .first()
    )
    if found is None or found.auto_close_at is None:
        return None
    return float((found.auto_close_at - found.db_now).total_seconds())
