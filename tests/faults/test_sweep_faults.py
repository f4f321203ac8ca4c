"""A sweep that is lost half-way: what it had done is done once, what it had not done the next one does."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from tests.engine import driving
from tests.faults.crashpoints import STRIKES, Point
from tests.faults.flows import GATE, ITEMS, ORDER_STEPS, ORDERS, left_by
from tests.faults.processes import Crew
from tests.faults.programs import sweep_at_the_word, sweep_once
from tests.faults.soundness import sound, steps_by_node
from triggerflow_django import TriggerFlow
from triggerflow_django.engine import lifecycle
from triggerflow_django.engine.sweep import sweep
from triggerflow_django.models import Decision, Door, Event, EventKind, Interrupt, Step

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


@pytest.mark.parametrize("fault", STRIKES)
@pytest.mark.parametrize("point", POINTS, ids=str)
def test_what_a_lost_sweep_left_the_next_one_does(
    crew: Crew, travel: Callable[[float], None], point: Point, fault: str
) -> None:
    lost = _left_running()
    overdue = DUE.start_execution(auto_close=False)
    idle = DUE.start_execution(auto_close_timeout=30)
    idle.continue_with(GATE, "in time")
    closing = _left_running()
    assert not lifecycle.request_close(closing, using="default", timeout=30)
    travel(61)

    victim = crew.start(sweep_once, point, fault)
    victim.expect("reached")
    victim.hear()
    sweep(using="default")
    sweep(using="default")

    order = ORDERS["sync"].get_execution(lost).wait()
    assert sound(lost).status == "waiting"
    assert Step.objects.get(execution_id=lost, node="split").lost == 1
    order.continue_with(GATE, "yes")
    assert steps_by_node(lost) == ORDER_STEPS
    assert left_by(order.id)["booked"] == 1

    overdue.wait()
    assert sound(overdue.pk)
    assert overdue.get_state("answer") == "by default"
    assert Decision.objects.get(execution_id=overdue.pk).door == Door.DEADLINE
    assert Interrupt.objects.get(execution_id=overdue.pk).overdue_at is not None

    assert sound(idle.pk).snapshot == {"answer": "in time"}
    closed = Event.objects.get(execution_id=closing, kind=EventKind.CLOSED)
    assert [step["node"] for step in closed.data["cancelled_steps"]] == ["split"]
    assert sound(closing).is_closed


def test_sweeps_at_the_same_time_do_each_thing_once(crew: Crew, travel: Callable[[float], None]) -> None:
    lost = [_left_running() for _ in range(8)]
    overdue = [DUE.start_execution(auto_close=False) for _ in range(8)]
    idle = [DUE.start_execution(auto_close_timeout=30) for _ in range(8)]
    for handle in idle:
        handle.continue_with(GATE, "in time")
    closing = [_left_running() for _ in range(8)]
    for pk in closing:
        lifecycle.request_close(pk, using="default", timeout=30)
    travel(61)

    reports = [child.expect("returned") for child in crew.together(sweep_at_the_word, (), (), ())]
    done = {kind: sum(report[kind] for report in reports) for kind in reports[0]}
    # A closing execution's step may be taken back first, or cut by another sweep at once.
    assert 8 <= done.pop("lost_steps") <= 16
    assert done == {"deadlines": 8, "auto_closed": 8, "forced_closes": 8, "errors": 0}
    for pk in [*lost, *closing, *(handle.pk for handle in (*overdue, *idle))]:
        sound(pk)
    assert {step.lost for step in Step.objects.filter(execution_id__in=lost)} == {1}
    assert Decision.objects.filter(door=Door.DEADLINE).count() == 8
