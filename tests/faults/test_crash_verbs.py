"""A process that is lost while somebody asks something of an execution: it is done once or not at all, and told right.

The engine's other verbs: cancel, emit, writing state, seal, unseal, retry, hand over, load, and what inserts a row
before its start or closes what ``flow.start`` leaves. Where the fault struck after the commit, it is done; before,
nothing is, and asking again does it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.engine import driving
from tests.faults.crashtable import Cell, cells
from tests.faults.flows import FAILING, GATE, NOTED, UNLUCKY, left_by
from tests.faults.processes import Crew
from tests.faults.programs import ACTS, act, start_and_raise, start_by_hand
from tests.faults.rescue import Rescue
from tests.faults.soundness import sound
from triggerflow_django import TriggerFlow, TriggerFlowExecution
from triggerflow_django.engine.sweep import sweep
from triggerflow_django.models import Event, EventKind, Execution, Runner

ACT_CELLS = cells(*ACTS)
ENSURE_CELLS = cells("ensure")
ABANDON_CELLS = cells("abandon")
CELLS = ACT_CELLS + ENSURE_CELLS + ABANDON_CELLS


def _count(handle: TriggerFlowExecution, kind: EventKind) -> int:
    return Event.objects.filter(execution_id=handle.pk, kind=kind).count()


def _copies(handle: TriggerFlowExecution) -> list[Execution]:
    return list(Execution.objects.exclude(pk=handle.pk))


@dataclass(frozen=True)
class Asked:
    """What somebody asks: of which flow, how often it has been done, and what must have come of it."""

    count: Callable[[TriggerFlowExecution], int]
    rows: dict[str, int]
    flow: TriggerFlow = NOTED
    before: Callable[[TriggerFlowExecution], object] = lambda handle: None
    status: str = "waiting"
    #: What others who cancel it meanwhile make of the asking; empty: it is not refused.
    refusal: str = "ExecutionNotOpenError"


ASKED = {
    "cancel": Asked(lambda handle: _count(handle, EventKind.CANCELLED), {}, status="cancelled", refusal=""),
    "emit": Asked(lambda handle: _count(handle, EventKind.EMITTED), {"pinged": 1}),
    "write state": Asked(lambda handle: _count(handle, EventKind.STATE_CHANGED), {"worded": 1}),
    "seal": Asked(lambda handle: _count(handle, EventKind.SEALED), {}),
    "unseal": Asked(lambda handle: _count(handle, EventKind.UNSEALED), {}, before=lambda handle: handle.seal()),
    "retry": Asked(lambda handle: _count(handle, EventKind.STEP_RETRIED), {"twice": 1}, flow=UNLUCKY, status="running"),
    "hand over": Asked(lambda handle: _count(handle, EventKind.HANDED_OVER), {}),
    "load": Asked(lambda handle: len(_copies(handle)), {}, refusal=""),
}


def _settled(asked: Asked, runner: str) -> TriggerFlowExecution:
    """An execution nobody works at, run by this process."""
    pk = driving.settled(asked.flow, runner=runner)
    handle = asked.flow.get_execution(pk)
    asked.before(handle)
    return handle


@pytest.mark.parametrize("cell", ACT_CELLS, ids=str)
def test_what_is_asked_of_an_execution_is_done_once_or_not_at_all(crew: Crew, rescue: Rescue, cell: Cell) -> None:
    verb = cell.point.verb
    asked = ASKED[verb]
    handle = _settled(asked, "inline" if verb == "hand over" else cell.runner)
    ended: list[dict[str, Any]] = []

    def meanwhile() -> None:
        handle.cancel()
        ended.append(driving.everything(handle.pk))

    victim = crew.start(act, verb, asked.flow.name, handle.id, cell.point, cell.fault)
    said, value = rescue.strike(victim, meanwhile)
    if ended:
        _was_cancelled_meanwhile(asked, cell, handle, said, value)
        assert [driving.everything(handle.pk)] == ended
        return
    is_done = cell.is_committed or said == "returned"
    assert said == "returned" or cell.fault not in ("freeze", "redis down", "flushall")
    assert asked.count(handle) == is_done
    rescue.let_leases_run_out()
    if not is_done:
        sound(handle.pk)
        ACTS[verb](handle)
    handle = asked.flow.get_execution(handle.pk)
    rescue.work(handle)

    assert asked.count(handle) == 1
    assert sound(handle.pk).status == asked.status
    assert left_by(handle.id) == asked.rows
    for copy in _copies(handle):
        assert sound(copy.pk).status == "waiting"
    if verb == "hand over":
        assert driving.row(handle.pk).runner == Runner.RQ
        handle.continue_with(GATE, "yes")
        rescue.work(handle)
        assert left_by(handle.id) == {"booked": 1}


def _was_cancelled_meanwhile(asked: Asked, cell: Cell, handle: TriggerFlowExecution, said: str, value: Any) -> None:
    """While the victim stood frozen somebody cancelled it: what was not committed is refused, and says so."""
    is_refused = bool(asked.refusal) and not cell.is_committed
    assert said == ("raised" if is_refused else "returned"), value
    if is_refused:
        assert value.startswith(asked.refusal)
    assert asked.count(handle) == (not is_refused)
    assert sound(handle.pk).status == "cancelled"


@pytest.mark.parametrize("cell", ENSURE_CELLS, ids=str)
def test_a_row_inserted_before_its_start_is_there_once_or_not_at_all(crew: Crew, rescue: Rescue, cell: Cell) -> None:
    victim = crew.start(start_by_hand, cell.runner, cell.point, cell.fault)
    pk = uuid.UUID(victim.expect("made"))
    said, value = rescue.strike(victim, lambda: None)
    assert said == "returned" or cell.fault not in ("freeze", "redis down", "flushall"), value
    is_there = cell.is_committed or said == "returned"
    assert Execution.objects.filter(pk=pk).exists() == is_there
    if not is_there:
        return
    handle = NOTED.get_execution(pk)
    if said != "returned":
        assert handle.get_state() == {}
        handle.start(None)  # whoever knows its id goes on from there
    rescue.work(handle)
    assert sound(pk).status == "waiting"
    assert handle.get_state() == ({"early": 1} if said == "returned" else {})


@pytest.mark.parametrize("cell", ABANDON_CELLS, ids=str)
def test_what_flow_start_leaves_when_it_raises_is_closed_once_or_shows_as_failed(
    crew: Crew, rescue: Rescue, travel: Callable[[float], None], cell: Cell
) -> None:
    victim = crew.start(start_and_raise, cell.point, cell.fault)
    said, value = rescue.strike(victim, lambda: sweep(using="default"))
    if cell.fault == "freeze":
        assert said == "raised"
        assert value.startswith("ValueError")
    pk = Execution.objects.get().pk
    execution = sound(pk)
    assert execution.status == "failed"
    assert execution.failed_steps == 1
    rescue.let_leases_run_out()
    # It closes by itself, as every idle execution that nobody keeps open does.
    assert sound(pk).is_closed
    assert sound(pk).status == "failed"
    assert FAILING.get_execution(pk).get_snapshot() == {}
