"""Many executions that stand where one stands: its rows copied, so that thousands take seconds."""

from __future__ import annotations

import uuid
from typing import Any

from triggerflow_django.models import Event, Execution, Interrupt, State, Step
from triggerflow_django.models.fields import new_id

_BATCH = 200


def copies(pk: uuid.UUID, count: int) -> list[uuid.UUID]:
    """Copy an execution so many times: its steps, interrupts, events and state. It must have no join and no decision.

    Returns their ids.
    """
    (pattern,) = Execution.objects.filter(pk=pk).values()
    pks = [new_id() for _ in range(count)]
    Execution.objects.bulk_create([Execution(**{**pattern, "id": new}) for new in pks], batch_size=_BATCH)
    steps = {row["id"]: row for row in Step.objects.filter(execution_id=pk).order_by("pk").values()}
    made: dict[tuple[uuid.UUID, int | None], Any] = {}
    for former, row in steps.items():
        copied = Step.objects.bulk_create(
            [
                Step(**{**row, "id": None, "execution_id": new, "cause_id": made.get((new, row["cause_id"]))})
                for new in pks
            ],
            batch_size=_BATCH,
        )
        made.update({(step.execution_id, former): step.pk for step in copied})
    for row in Interrupt.objects.filter(execution_id=pk).values():
        Interrupt.objects.bulk_create(
            [
                Interrupt(**{**row, "id": new_id(), "execution_id": new, "step_id": made[new, row["step_id"]]})
                for new in pks
            ],
            batch_size=_BATCH,
        )
    for row in Event.objects.filter(execution_id=pk).order_by("sequence").values():
        Event.objects.bulk_create([Event(**{**row, "id": None, "execution_id": new}) for new in pks], batch_size=_BATCH)
    for row in State.objects.filter(execution_id=pk).values():
        State.objects.bulk_create([State(**{**row, "execution_id": new}) for new in pks], batch_size=_BATCH)
    return pks
