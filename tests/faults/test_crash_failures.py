"""A process that is lost while a step fails, or while it is tried again: all of it happens once."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from tests.engine import driving
from tests.faults.crashtable import Cell, cells
from tests.faults.flows import FAILING, RETRIED, left_by
from tests.faults.processes import Crew
from tests.faults.programs import start_failing
from tests.faults.rescue import Rescue
from tests.faults.soundness import sound, steps_by_node
from triggerflow_django import TriggerFlow, TriggerFlowExecution
from triggerflow_django.engine.sweep import sweep
from triggerflow_django.models import Execution, Step

FAILING_CELLS = cells("failing")
RETRIED_CELLS = cells("retried")
CELLS = FAILING_CELLS + RETRIED_CELLS


def _again(rescue: Rescue, flow: TriggerFlow) -> TriggerFlowExecution:
    """Others run what is left of it."""
    sweep(using="default")
    handle = flow.get_execution(Execution.objects.get().pk)
    with contextlib.suppress(ValueError):  # of the chunk, where it is this process that runs it again
        rescue.work(handle)
    return handle


def _strike(crew: Crew, rescue: Rescue, flow: TriggerFlow) -> TriggerFlowExecution:
    """Let the victim start it; returns the execution once it has settled."""
    ended: list[dict[str, Any]] = []
    victim = crew.start(start_failing, flow.name, rescue.cell.runner, "k1", rescue.cell.point, rescue.cell.fault)
    heard = rescue.strike(victim, lambda: ended.append(driving.everything(_again(rescue, flow).pk)))
    if rescue.cell.fault == "freeze":
        assert heard[0] == "returned", heard
    rescue.let_leases_run_out()
    handle = _again(rescue, flow)
    if ended:
        assert [driving.everything(handle.pk)] == ended
    return handle


@pytest.mark.parametrize("cell", FAILING_CELLS, ids=str)
def test_a_failure_is_recorded_once_wherever_the_process_is_lost(crew: Crew, rescue: Rescue, cell: Cell) -> None:
    handle = _strike(crew, rescue, FAILING)
    execution = sound(handle.pk)
    assert (execution.status, execution.failed_steps) == ("failed", 1)
    step = Step.objects.get()
    assert step.error is not None
    assert step.error["type"] == "ValueError" or (cell.fault == "boom" and step.error["type"].endswith("BoomError"))


@pytest.mark.parametrize("cell", RETRIED_CELLS, ids=str)
def test_a_step_that_is_tried_again_leaves_its_row_once_wherever_the_process_is_lost(
    crew: Crew, rescue: Rescue, cell: Cell
) -> None:
    handle = _strike(crew, rescue, RETRIED)
    execution = sound(handle.pk)
    assert execution.status == "running"  # idle: nothing closes it
    assert steps_by_node(handle.pk) == {"twice": 1, "keep": 1}
    assert left_by(handle.id) == {"twice": 1}
    # Either its one failure was recorded, or the attempt that raised was lost with its process.
    step = Step.objects.get(node="twice")
    assert (step.failures == 1) or step.lost or step.attempt > 1
