"""A sweep that is lost half-way: what it had done is done once, what it had not done the next one does.

Each scene has two executions of its kind, so that a sweep is lost with one of them still to do. The cells are those of
``crashtable``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import pytest

from tests.engine import driving
from tests.faults.crashpoints import Point
from tests.faults.crashtable import SCENES, Cell, cells
from tests.faults.flows import DUE, GATE, ITEMS, ORDER_STEPS, ORDERS, left_by
from tests.faults.processes import Crew
from tests.faults.programs import sweep_by_bells, sweep_once
from tests.faults.rescue import Rescue
from tests.faults.soundness import sound, steps_by_node
from triggerflow_django import TriggerFlowExecution
from triggerflow_django.conf import get_settings
from triggerflow_django.engine import clock, lifecycle
from triggerflow_django.engine.sweep import sweep, sweep_in_turn
from triggerflow_django.models import Decision, Door, Event, EventKind, Execution, InterruptStatus, Step, SweepTurn

KINDS: Final = (
    "lost", "lost too often", "due: answer", "due: overdue", "due: event", "due: fail", "idle", "closing too long",
    "silent", "turn",
)  # fmt: skip
CELLS = cells(*KINDS)
ORDER = ORDERS["sync"]


@dataclass(frozen=True)
class Kind:
    """Something a sweep finds: how it comes to be, and what must have come of it, once."""

    make: Callable[[str], TriggerFlowExecution]
    check: Callable[[TriggerFlowExecution], None]


# -- making


def _held(runner: str) -> TriggerFlowExecution:
    """An order whose first step is held by a process that is gone."""
    pk = driving.start(ORDER, ITEMS, runner=runner)
    assert driving.claim(pk, ORDER)
    return ORDER.get_execution(pk)


def _held_the_last_time(runner: str) -> TriggerFlowExecution:
    handle = _held(runner)
    Step.objects.filter(execution_id=handle.pk).update(lost=get_settings().MAX_LOST - 1)
    return handle


def _asking(what: str) -> Callable[[str], TriggerFlowExecution]:
    def make(runner: str) -> TriggerFlowExecution:
        return DUE[what].get_execution(driving.settled(DUE[what], runner=runner))

    return make


def _idle(runner: str) -> TriggerFlowExecution:
    flow = DUE["answer"]
    pk = driving.settled(flow, runner=runner, auto_close=True, auto_close_timeout=30)
    driving.decide(pk, GATE, "in time", flow=flow)
    driving.drain(pk, flow)
    return flow.get_execution(pk)


def _closing(runner: str) -> TriggerFlowExecution:
    handle = _held(runner)
    assert not lifecycle.request_close(handle.pk, using="default", timeout=30)
    # Its lease is not what a sweep finds first.
    Step.objects.filter(execution_id=handle.pk).update(lease_expires_at=clock.expression(plus=3600))
    return handle


def _silent(runner: str) -> TriggerFlowExecution:
    """An order with a ready step, whose bell is lost by the time a sweep begins."""
    return ORDER.get_execution(driving.start(ORDER, ITEMS, runner=runner))


# -- checking


def _is_waiting_order(handle: TriggerFlowExecution) -> None:
    assert sound(handle.pk).status == "waiting"
    driving.decide(handle.pk, GATE, "yes", flow=ORDER)
    driving.drain(handle.pk, ORDER)
    assert steps_by_node(handle.pk) == ORDER_STEPS
    assert left_by(handle.id) == {"part1": 1, "part2": 1, "part3": 1, "booked": 1}


def _was_lost_once(handle: TriggerFlowExecution) -> None:
    assert Step.objects.get(execution_id=handle.pk, node="split").lost == 1
    _is_waiting_order(handle)


def _failed(kind: str) -> Callable[[TriggerFlowExecution], None]:
    def check(handle: TriggerFlowExecution) -> None:
        execution = sound(handle.pk)
        assert (execution.status, execution.failed_steps) == ("failed", 1)
        step = Step.objects.get(execution_id=handle.pk)
        assert step.error is not None
        assert step.error["type"].endswith(kind)

    return check


def _was_due_once(handle: TriggerFlowExecution) -> None:
    assert Event.objects.filter(execution_id=handle.pk, kind=EventKind.INTERRUPT_OVERDUE).count() == 1


def _answered(handle: TriggerFlowExecution) -> None:
    _was_due_once(handle)
    assert sound(handle.pk).status == "running"
    assert handle.get_state() == {"kept": ["by default"]}
    assert Decision.objects.get(execution_id=handle.pk).door == Door.DEADLINE


def _overdue(handle: TriggerFlowExecution) -> None:
    _was_due_once(handle)
    assert sound(handle.pk).status == "waiting"
    assert driving.interrupt(handle.pk, GATE).overdue_at is not None


def _told(handle: TriggerFlowExecution) -> None:
    _was_due_once(handle)
    sound(handle.pk)
    assert driving.interrupt(handle.pk, GATE).status == InterruptStatus.EXPIRED
    assert left_by(handle.id) == {"late": 1}


def _gave_up(handle: TriggerFlowExecution) -> None:
    _was_due_once(handle)
    _failed("DeadlinePassedError")(handle)


def _closed(handle: TriggerFlowExecution) -> None:
    assert sound(handle.pk).snapshot == {"kept": ["in time"]}


def _cut_off(handle: TriggerFlowExecution) -> None:
    assert sound(handle.pk).is_closed
    closed = Event.objects.get(execution_id=handle.pk, kind=EventKind.CLOSED)
    assert [step["node"] for step in closed.data["cancelled_steps"]] == ["split"]


FOUND: Final = {
    "lost": Kind(_held, _was_lost_once),
    "lost too often": Kind(_held_the_last_time, _failed("LostStepError")),
    "due: answer": Kind(_asking("answer"), _answered),
    "due: overdue": Kind(_asking("overdue"), _overdue),
    "due: event": Kind(_asking("event"), _told),
    "due: fail": Kind(_asking("fail"), _gave_up),
    "idle": Kind(_idle, _closed),
    "closing too long": Kind(_closing, _cut_off),
    "silent": Kind(_silent, _is_waiting_order),
    # Whose turn it is: what the sweep then does is the first kind.
    "turn": Kind(_held, _was_lost_once),
}


def _take_a_turn() -> None:
    """The table of turns has its row, and nobody has taken one lately."""
    SweepTurn.objects.create(pk=SweepTurn.ONLY, taken_at=clock.read("default"))


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_what_a_lost_sweep_left_the_next_one_does(
    crew: Crew, rescue: Rescue, travel: Callable[[float], None], cell: Cell
) -> None:
    kind = FOUND[cell.scene]
    handles = [kind.make(cell.runner) for _ in range(2)]
    _take_a_turn()
    travel(61)
    if cell.runner == "rq":
        rescue.redis.flush()

    ended: list[Any] = []

    def meanwhile() -> None:
        sweep(using="default")
        ended.append([driving.everything(handle.pk) for handle in handles])

    victim = crew.start(sweep_by_bells if cell.runner == "rq" else sweep_once, cell.point, cell.fault)
    said, report = rescue.strike(victim, meanwhile)
    if ended:
        # Whatever it had found when it froze, others have done.
        assert said == "returned"
        assert report["errors"] == 0
        assert [[driving.everything(handle.pk) for handle in handles]] == ended
    elif cell.fault in ("boom", "error") and cell.point.verb not in ("turn", "ring for ready"):
        # One row that cannot be repaired does not keep the others waiting.
        assert said == "returned"
        assert report["errors"] == 1
        assert report["lost_steps"] + report["deadlines"] + report["auto_closed"] + report["forced_closes"] == 1
    travel(get_settings().SWEEP_SECONDS + 1)
    assert sweep_in_turn(using="default") is not None
    assert sweep(using="default").total() == 0
    for handle in handles:
        rescue.work(handle)
        kind.check(handle)


@pytest.mark.parametrize("scene", [kind for kind in KINDS if kind not in ("silent", "turn")])
def test_a_sweep_that_comes_second_finds_it_done(crew: Crew, travel: Callable[[float], None], scene: str) -> None:
    kind = FOUND[scene]
    handle = kind.make("inline")
    travel(61)
    verb = SCENES[scene][0].verb
    second = crew.start(sweep_once, Point(verb, "entered"), "hold")
    second.expect("reached")
    # It has found the row and not locked it yet.
    assert sweep(using="default").total() == 1
    second.tell("go on")
    report = second.expect("returned")
    assert report["errors"] == 0
    assert sweep(using="default").total() == 0
    handle.wait()
    kind.check(handle)


@pytest.mark.django_db(transaction=True)
def test_all_that_is_due_is_done_in_one_pass(travel: Callable[[float], None]) -> None:
    handles = {kind: FOUND[kind].make("inline") for kind in KINDS if kind not in ("silent", "turn")}
    travel(61)
    report = sweep(using="default")
    assert report.total() == len(handles)
    for kind, handle in handles.items():
        if not Execution.objects.get(pk=handle.pk).is_closed:
            handle.wait()
        FOUND[kind].check(handle)
