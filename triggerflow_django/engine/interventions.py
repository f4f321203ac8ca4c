"""What becomes of interventions: the commit of a step inserts or consumes them, the close lets the rest expire."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from django.db.models import Q

from triggerflow_django.engine import records
from triggerflow_django.models import Intervention, InterventionStatus
from triggerflow_django.runtime.interventions import Change

if TYPE_CHECKING:
    from triggerflow_django.engine.transition import Transition

#: Where the snapshot shows them.
LEDGER: Final = "$interventions"


def apply(transition: Transition, changes: Sequence[Change], node: str) -> None:
    """What a step did to interventions, in its commit. One that is not as the chunk saw it any more stays as it is."""
    execution, now = transition.execution, transition.now
    every = Intervention.objects.using(transition.using).filter(execution_id=execution.pk)
    for change in changes:
        if change.op == "insert" and execution.pending_interventions:
            done = every.filter(_for(change), status=InterventionStatus.PENDING).update(
                status=InterventionStatus.INSERTED, point=node, inserted_at=now
            )
            execution.pending_interventions -= done
        elif change.op == "consume":
            every.filter(pk__in=change.ids, status=InterventionStatus.INSERTED).update(
                status=InterventionStatus.CONSUMED, ended_at=now
            )


def _for(change: Change) -> Q:
    return Q(pk__in=change.ids) if change.ids else Q(target=change.target or "")


def expire(transition: Transition) -> None:
    """The execution closes: what is pending expires, and the snapshot tells of all of them."""
    execution = transition.execution
    if not execution.intervention_version:
        return
    every = Intervention.objects.using(transition.using).filter(execution_id=execution.pk)
    if execution.pending_interventions:
        every.filter(status=InterventionStatus.PENDING).update(
            status=InterventionStatus.EXPIRED, ended_at=transition.now
        )
        execution.pending_interventions = 0
    ledger = [records.intervention(row) for row in every.order_by("version")]
    execution.snapshot = {**execution.snapshot, LEDGER: {record["id"]: record for record in ledger}}


def visible(execution_id: uuid.UUID, *, using: str) -> list[dict[str, Any]]:
    """What chunks see: inserted and consumed ones, oldest first."""
    shown = (InterventionStatus.INSERTED, InterventionStatus.CONSUMED)
    every = Intervention.objects.using(using).filter(execution_id=execution_id, status__in=shown)
    return [records.intervention(row) for row in every.order_by("version")]


def due_before(execution_id: uuid.UUID, node: str, *, using: str) -> list[dict[str, Any]]:
    """The pending ones that mode ``auto`` inserts before a chunk: those for it, and those for any."""
    every = Intervention.objects.using(using).filter(
        execution_id=execution_id, status=InterventionStatus.PENDING, target__in=("", node)
    )
    return [records.intervention(row) for row in every.order_by("version")]
