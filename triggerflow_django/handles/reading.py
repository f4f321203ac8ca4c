"""Database functions behind the handle's reads.

An execution whose row is not inserted yet reads as created, open and empty.
"""

from __future__ import annotations

import uuid
from typing import Any

from triggerflow_django.engine import clock, records, selects
from triggerflow_django.models import Execution, Interrupt, Lifecycle, State
from triggerflow_django.runtime import state as state_ops


def row(pk: uuid.UUID, using: str) -> Execution | None:
    """The row."""
    return Execution.objects.using(using).filter(pk=pk).first()


def status(pk: uuid.UUID, using: str) -> str:
    """Its status."""
    found = Execution.objects.using(using).filter(pk=pk).values_list("status", flat=True).first()
    return str(found or "created")


def lifecycle_state(pk: uuid.UUID, using: str) -> str:
    """Its lifecycle."""
    found = Execution.objects.using(using).filter(pk=pk).values_list("lifecycle", flat=True).first()
    return str(found or "open")


def snapshot(pk: uuid.UUID, using: str) -> Any:
    """Its snapshot, ``None`` until it is closed."""
    return Execution.objects.using(using).filter(pk=pk).values_list("snapshot", flat=True).first()


def state(pk: uuid.UUID, using: str, key: str | None, default: Any) -> Any:
    """The committed state, or what is under a dotted key."""
    data: dict[str, Any] = (
        State.objects.using(using).filter(execution_id=pk).values_list("data", flat=True).first() or {}
    )
    if key is None:
        return data
    value = state_ops.lookup(data, state_ops.check_key(key))
    return default if value is state_ops.MISSING else value


def pending_interrupts(pk: uuid.UUID, using: str) -> dict[str, dict[str, Any]]:
    """Records of the waiting interrupts, by id."""
    waiting = selects.WAITING_INTERRUPTS.all(using, execution=pk)
    if not waiting:
        return {}
    steps = {step.pk: step for step in selects.PAUSED_STEPS.all(using, execution=pk)}
    # One that was answered between the two has its step read by itself.
    return {found.interrupt_id: records.interrupt(found, steps.get(found.step_id) or found.step) for found in waiting}


def interrupt(pk: uuid.UUID, using: str, interrupt_id: str) -> dict[str, Any] | None:
    """The newest record under an id."""
    rows = Interrupt.objects.using(using).filter(execution_id=pk, interrupt_id=interrupt_id)
    found = rows.select_related("step", "decision").order_by("-round").first()
    return None if found is None else records.interrupt(found, found.step)


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
