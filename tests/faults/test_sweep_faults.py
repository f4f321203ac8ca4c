"""A sweep that is lost half-way: what it had done is done once, what it had not done the next one does."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.engine import driving
from tests.faults.crashpoints import STRIKES, Point
from tests.faults.flows import GATE, ITEMS, ORDER_STEPS, ORDERS, left_by
from tests.faults.processes import Crew
from tests.faults.programs import sweep_once
from tests.faults.soundness import sound, steps_by_node
from triggerflow_django import TriggerFlow, TriggerFlowExecution
from triggerflow_django.engine import lifecycle
from triggerflow_django.engine.sweep import sweep
from triggerflow_django.models import Decision, Door, Event, EventKind, Step

POINTS = [
    Point("lost", "entered"),
    Point("lost", "left"),
    *(
        Point(verb, moment)
        for verb in ("deadline", "auto_close", "force_close")
        for moment in ("entered", "written", "committed")
    ),
]


def _ask_with_deadline(data: Any) -> Any:
    return data.pause_for(type="approval", interrupt_id=GATE, due_in=60, on_due={"answer": "by default"})


def _keep(data: Any) -> None:
    data.set_state("answer", data.input)


DUE = TriggerFlow(name="faults due")
DUE.to(("ask", _ask_with_deadline)).to(("keep", _keep))


def _left_running() -> uuid.UUID:
    """An order whose first step is held by a process that is gone."""
    pk = driving.start(ORDERS["sync"], ITEMS)
    assert driving.claim(pk, ORDERS["sync"])
    return pk


@dataclass
class Due:
    """One execution of each kind that a sweep has something to do for."""

    lost: uuid.UUID
    overdue: TriggerFlowExecution
    idle: TriggerFlowExecution
    closing: uuid.UUID

    @classmethod
    def make(cls, travel: Callable[[float], None]) -> Due:
        """Make them, and let their time come."""
        overdue = DUE.start_execution(auto_close=False)
        idle = DUE.start_execution(auto_close_timeout=30)
        idle.continue_with(GATE, "in time")
        closing = _left_running()
        assert not lifecycle.request_close(closing, using="default", timeout=30)
        due = cls(_left_running(), overdue, idle, closing)
        travel(61)
        return due

    def was_done_once(self) -> None:
        """Whatever was due has been done, once, and the executions come to their ends."""
        order = ORDERS["sync"].get_execution(self.lost).wait()
        assert sound(self.lost).status == "waiting"
        assert Step.objects.get(execution_id=self.lost, node="split").lost == 1
        order.continue_with(GATE, "yes")
        assert steps_by_node(self.lost) == ORDER_STEPS
        assert left_by(order.id)["booked"] == 1

        self.overdue.wait()
        sound(self.overdue.pk)
        assert self.overdue.get_state("answer") == "by default"
        assert Decision.objects.get(execution_id=self.overdue.pk).door == Door.DEADLINE
        assert Event.objects.filter(execution_id=self.overdue.pk, kind=EventKind.INTERRUPT_OVERDUE).count() == 1

        assert sound(self.idle.pk).snapshot == {"answer": "in time"}
        closed = Event.objects.get(execution_id=self.closing, kind=EventKind.CLOSED)
        assert [step["node"] for step in closed.data["cancelled_steps"]] == ["split"]
        assert sound(self.closing).is_closed


@pytest.mark.parametrize("fault", STRIKES)
@pytest.mark.parametrize("point", POINTS, ids=str)
def test_what_a_lost_sweep_left_the_next_one_does(
    crew: Crew, travel: Callable[[float], None], point: Point, fault: str
) -> None:
    due = Due.make(travel)
    victim = crew.start(sweep_once, point, fault)
    victim.expect("reached")
    victim.hear()
    sweep(using="default")
    sweep(using="default")
    due.was_done_once()


@pytest.mark.parametrize("verb", ["lost", "deadline", "auto_close", "force_close"])
def test_a_sweep_that_comes_second_finds_it_done(crew: Crew, travel: Callable[[float], None], verb: str) -> None:
    due = Due.make(travel)
    second = crew.start(sweep_once, Point(verb, "entered"), "hold")
    second.expect("reached")
    # It has found the row and not locked it yet.
    assert sweep(using="default").total() > 0
    second.tell("go on")
    report = second.expect("returned")
    assert report["errors"] == 0
    assert sweep(using="default").total() == 0
    due.was_done_once()
