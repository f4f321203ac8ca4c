"""A process that is lost while an execution with work to do is closed: it closes once, nothing after a gate runs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine import driving
from tests.faults.crashtable import Cell, cells
from tests.faults.flows import GATE, ITEMS, ORDERS, left_by
from tests.faults.processes import Crew
from tests.faults.programs import close_and_carry_out, close_at_work
from tests.faults.rescue import Rescue
from tests.faults.soundness import sound
from triggerflow_django import TriggerFlowExecution
from triggerflow_django.engine.sweep import sweep
from triggerflow_django.models import Event, EventKind, InterruptStatus

CELLS = cells("closing")


def _closed_by_others(rescue: Rescue, handle: TriggerFlowExecution) -> None:
    """Somebody asks again for it to be closed; workers carry out what it has to do."""
    sweep(using="default")
    close_and_carry_out(handle, lambda: rescue.work(handle))
    assert sound(handle.pk).is_closed


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_a_close_that_has_to_wait_for_work_is_done_once(crew: Crew, rescue: Rescue, cell: Cell) -> None:
    pk = driving.start(ORDERS["sync"], ITEMS, runner=cell.runner)
    handle = ORDERS["sync"].get_execution(pk)
    ended: list[dict[str, Any]] = []

    def meanwhile() -> None:
        _closed_by_others(rescue, handle)
        ended.append(driving.everything(pk))

    victim = crew.start(close_at_work, handle.flow.name, handle.id, cell.point, cell.fault)
    said, value = rescue.strike(victim, meanwhile)
    if cell.fault == "freeze" or (cell.point.verb == "commit" and cell.fault == "error"):
        assert (said, value) == ("returned", "cancelled")
    rescue.let_leases_run_out()
    asked = Event.objects.filter(execution_id=pk, kind=EventKind.CLOSE_REQUESTED)
    was_acknowledged = cell.is_committed or cell.point.verb == "commit" or said == "returned"
    assert asked.exists() == was_acknowledged
    _closed_by_others(rescue, handle)
    if ended:
        assert [driving.everything(pk)] == ended

    assert asked.count() == 1
    execution = sound(pk)
    assert execution.snapshot == {"tallies": [60]}
    assert left_by(handle.id) == {"part1": 1, "part2": 1, "part3": 1}
    if cell.point.verb == "commit" and cell.fault == "boom" and not cell.is_committed:
        assert execution.status == "failed"  # code that raises what nobody expects is to blame for it
    else:
        assert execution.status == "cancelled"
        assert driving.interrupt(pk, GATE).status == InterruptStatus.CANCELLED
