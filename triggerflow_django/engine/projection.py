"""The interrupts of sub flows, as the executions above see them: by query, never copied.

One that waits in a child shows at its parent under ``<frame>:<its id there>``, where the frame is the child's id; so it
has one id at each level, and one row.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.db.models import Q

from triggerflow_django import jsongate
from triggerflow_django.engine import family, records, selects
from triggerflow_django.models import Execution, Interrupt, InterruptStatus, Lifecycle


def projected(record: dict[str, Any], frames: list[str]) -> dict[str, Any]:
    """A child's record as the execution above its outermost frame shows it."""
    if not frames:
        return record
    local = ":".join([*frames[1:], record["id"]])
    return {
        **record,
        "id": f"{frames[0]}:{local}",
        "local_interrupt_id": local,
        "sub_flow_frame_id": frames[0],
    }


def frames_between(top: uuid.UUID, pk: uuid.UUID, using: str) -> list[str]:
    """The frames by which an execution hangs below another, outermost first."""
    frames = [pk.hex]
    for ancestor in family.ancestors(pk, using):
        if ancestor.id == top:
            break
        frames.insert(0, ancestor.id.hex)
    return frames


def pending(pk: uuid.UUID, using: str) -> dict[str, dict[str, Any]]:
    """Records of what waits in an execution and in those below it, by id, oldest first."""
    rows = Interrupt.objects.using(using).filter(
        Q(execution_id=pk) | family.below(pk, using, prefix="execution__"), status=InterruptStatus.WAITING
    )
    found = list(rows.select_related("step").order_by("pk"))
    paths = {row.execution_id: frames_between(pk, row.execution_id, using) for row in found if row.execution_id != pk}
    # Nothing below a closed execution can be answered; those that are still open there will be cancelled.
    between = {pk, *(uuid.UUID(frame) for frames in paths.values() for frame in frames)}
    closed = Execution.objects.using(using).filter(pk__in=between, lifecycle=Lifecycle.CLOSED)
    cut = {found.hex for found in closed.values_list("pk", flat=True)}
    shown = {}
    for row in found:
        frames = paths.get(row.execution_id, [])
        if cut.isdisjoint([pk.hex, *frames]):
            record = projected(records.interrupt(row, row.step), frames)
            shown[record["id"]] = record
    return shown


def address(pk: uuid.UUID, interrupt_id: str, using: str) -> tuple[uuid.UUID, str]:
    """Where an interrupt lives that an execution shows: the execution, and the id there. Itself and the id as it is
    where nothing below has it.
    """
    here, rest = pk, interrupt_id
    if not all(jsongate.is_name(part) for part in interrupt_id.split(":")):
        return pk, interrupt_id
    while selects.NEWEST_INTERRUPT.first(using, execution=here, name=rest) is None:
        frame, colon, inner = rest.partition(":")
        child = child_of(here, frame, using) if colon else None
        if child is None or not inner:
            return pk, interrupt_id
        here, rest = child, inner
    return here, rest


def child_of(pk: uuid.UUID, frame: Any, using: str) -> uuid.UUID | None:
    """The child under a frame of an execution, ``None`` where there is none."""
    try:
        child = uuid.UUID(frame)
        above = family.ancestors(child, using)
    except (ValueError, AttributeError, TypeError, Execution.DoesNotExist):
        return None
    return child if above and above[0].id == pk else None


def interrupt(pk: uuid.UUID, interrupt_id: str, using: str) -> dict[str, Any] | None:
    """The newest record under an id that an execution shows, or ``None``."""
    at, local = address(pk, interrupt_id, using)
    rows = Interrupt.objects.using(using).filter(execution_id=at, interrupt_id=local)
    found = rows.select_related("step", "decision").order_by("-round").first()
    if found is None:
        return None
    return projected(records.interrupt(found, found.step), frames_between(pk, at, using) if at != pk else [])


def frames(pk: uuid.UUID, using: str) -> dict[str, dict[str, Any]]:
    """The sub flows an execution has started, by frame, oldest first."""
    shown: dict[str, dict[str, Any]] = {}
    rows = family.children(pk, using).defer("input", "snapshot")
    above = {row.pk: family.ancestors(row.pk, using)[0] for row in rows}
    for row in rows:
        status = str(row.status)
        if status == "running" and not family.is_busy(row.pk, using) and family.waiting_below(row.pk, using).exists():
            status = "waiting"
        shown[row.id.hex] = {
            "frame_id": row.id.hex,
            "status": status,
            "parent_execution_id": pk.hex,
            "parent_operator_id": above[row.pk].node,
            "parent_step_id": row.parent_step_id,
            "child_execution_id": row.id.hex,
            "child_flow_name": row.flow_name,
            "created_at": records.stamp(row.created_at),
            "started_at": records.stamp(row.started_at),
            "closed_at": records.stamp(row.closed_at),
            "close_reason": row.close_reason or None,
        }
    return shown
