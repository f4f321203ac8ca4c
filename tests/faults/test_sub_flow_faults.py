"""A process that runs parents and children dies at any place between them; another one brings all of them to their end,
each step once.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults.crashpoints import STRIKES, Point
from tests.faults.flows import left_by
from tests.faults.processes import Crew
from tests.faults.soundness import sound
from tests.faults.sub_flows import OUTER, ROWS, SNAPSHOT, answer, cancel, walk
from triggerflow_django.conf import get_settings
from triggerflow_django.engine.sweep import sweep
from triggerflow_django.models import Decision, Execution, Interrupt, Step

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

_MOMENTS = ("entered", "written", "committed")
#: Between the parent's claim and the child's start; the child's steps; its end; and the parent's taking it up.
POINTS = [
    *(Point("delegate", moment, node) for node in ("left", "inner") for moment in _MOMENTS),
    *(Point("commit", moment, "ask") for moment in ("written", "committed")),
    *(Point("decide", moment) for moment in ("written", "committed")),
    *(Point("atomic", moment, "book") for moment in _MOMENTS),
    *(Point("commit", moment, node) for node in ("inner", "left") for moment in _MOMENTS),
]
CASES = [(point, fault) for point in POINTS for fault in STRIKES if fault != "boom"]
CASES += [(Point("chunk", "reached", node), "kill") for node in ("part", "book", "keep")]


def whole(value: Execution) -> None:
    """All executions of the tree ended as they should, and each step left its rows once."""
    executions = Execution.objects.filter(root_id=value.pk)
    assert executions.count() == 4
    for execution in [value, *executions]:
        assert sound(execution.pk).status == "completed"
        assert left_by(execution.id.hex) == ROWS[execution.flow_name]
    assert Decision.objects.count() == 2


@pytest.mark.parametrize(("point", "fault"), CASES, ids=str)
def test_wherever_the_process_is_lost_parents_and_children_come_to_their_end_once(
    crew: Crew, travel: Callable[[float], None], point: Point, fault: str
) -> None:
    victim = crew.start(walk, "k1", point, fault)
    victim.expect("reached")
    said, _value = victim.hear()
    if fault == "kill":
        assert said == "gone"

    travel(get_settings().LEASE_SECONDS + 1)
    sweep(using="default")
    handle = OUTER.start_execution("in", key="k1", auto_close=False)
    handle.wait(timeout=60)
    for interrupt_id in handle.get_pending_interrupts():
        handle.continue_with(interrupt_id, "yes", resume_request_id=interrupt_id)
    assert handle.close() == SNAPSHOT
    whole(handle.row())


@pytest.mark.parametrize(
    "point",
    [
        Point("cancel", "written"),
        Point("cancel", "committed"),
        Point("cancel_below", "entered"),
        Point("cancel_below", "left"),
    ],
    ids=str,
)
def test_a_process_lost_while_it_cancels_leaves_nothing_below_that_goes_on(
    crew: Crew, travel: Callable[[float], None], point: Point
) -> None:
    handle = OUTER.start_execution("in", auto_close=False)
    assert len(handle.get_pending_interrupts()) == 2
    victim = crew.start(cancel, handle.id, point, "kill")
    victim.expect("reached")
    victim.hear()

    travel(get_settings().LEASE_SECONDS + 1)
    if point == Point("cancel", "written"):
        assert handle.get_status() == "waiting"
        handle.cancel()
    sweep(using="default")
    assert set(Execution.objects.values_list("status", flat=True)) == {"cancelled"}
    assert set(Interrupt.objects.values_list("status", flat=True)) == {"cancelled"}
    assert not Execution.objects.filter(cancels_sub_flows=True).exists()
    assert not Step.objects.filter(node="book").exists()


def test_of_several_who_answer_a_child_s_question_at_once_one_does(crew: Crew) -> None:
    handle = OUTER.start_execution("in", auto_close=False)
    asked = next(iter(handle.get_pending_interrupts()))
    children = crew.together(answer, *((handle.id, asked, f"answerer {number}") for number in range(4)))
    said = [child.expect("returned") for child in children]
    assert said.count("answered") == 1
    assert set(said) <= {"answered", "InterruptNotWaitingError"}
    assert Decision.objects.count() == 1
    handle.wait(timeout=60)
