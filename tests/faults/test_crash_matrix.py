"""Every place at which a process can be lost, times every way of losing it: the execution comes to its right end.

The victim starts an order, answers its gate and closes it. A fault strikes it once, somewhere. Then all takes its
course: leases run out, another process sweeps, and the caller asks again for what nobody told it was done.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.faults.crashpoints import IS_POSTGRES, STRIKES, Point
from tests.faults.flows import FAILING, ITEMS, ORDER_ROWS, ORDER_SNAPSHOT, ORDER_STEPS, ORDERS, left_by
from tests.faults.processes import Crew
from tests.faults.programs import ANSWER, cancel, start_failing, walk
from tests.faults.soundness import sound, steps_by_node
from triggerflow_django.conf import get_settings
from triggerflow_django.engine.sweep import sweep
from triggerflow_django.models import Decision, Door, Execution, Step

SIGKILLED = -9

_MOMENTS = ("entered", "written", "committed")
POINTS = [
    *(Point("start", moment) for moment in _MOMENTS),
    Point("claim", "left"),
    *(Point("chunk", "", node) for node in ("part", "tally", "ask", "book")),
    *(Point("atomic", moment, "part") for moment in _MOMENTS),
    *(Point("commit", moment, "tally") for moment in _MOMENTS),
    *(Point("commit", moment, "ask") for moment in _MOMENTS),
    *(Point("decide", moment) for moment in _MOMENTS),
    *(Point("atomic", moment, "book") for moment in _MOMENTS),
    *(Point("close", moment) for moment in _MOMENTS),
]


@dataclass(frozen=True)
class Case:
    """One cell of the matrix."""

    style: str
    point: Point
    fault: str

    def __str__(self) -> str:
        return f"{self.style}-{self.point}-{self.fault}"

    @property
    def must_survive(self) -> bool:
        """Whether the victim has to go on by itself: around a commit an error means "unknown", so it looks and acts."""
        if self.point.verb == "chunk":
            return self.fault == "cut"
        if self.point.verb not in ("commit", "atomic"):
            return False
        return self.fault == "error" or (self.fault == "cut" and self.point.moment != "committed")

    @property
    def may_fail(self) -> bool:
        """Whether a step may fail by it: code that raises what nobody expects is to blame for it."""
        return self.fault == "boom" or (self.point.verb == "chunk" and self.fault == "error")

    @property
    def is_after_the_decision(self) -> bool:
        """Whether the database had acknowledged the victim's decision when the fault struck."""
        return self.point.verb == "close" or self.point.node == "book" or self.point == Point("decide", "committed")


CASES = [Case("sync", point, fault) for point in POINTS for fault in STRIKES] + [
    Case("async", point, fault)
    for point in POINTS
    for fault in ("kill", "error")
    if point.verb in ("claim", "chunk", "atomic", "commit")
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_whatever_strikes_a_process_another_one_brings_the_order_to_its_end(
    crew: Crew, travel: Callable[[float], None], case: Case
) -> None:
    victim = crew.start(walk, case.style, "k1", "victim", case.point, case.fault)
    victim.expect("reached")
    said, value = victim.hear()
    if case.fault == "kill":
        assert (said, value) == ("gone", SIGKILLED)
    if case.must_survive:
        assert (said, value) == ("returned", "completed")

    travel(get_settings().LEASE_SECONDS + 1)
    sweep(using="default")
    handle = ORDERS[case.style].start_execution(ITEMS, key="k1", auto_close=False)
    if handle.get_status() == "failed":
        assert case.may_fail
        handle.retry()
    handle.wait(timeout=60)
    sound(handle.pk)
    handle.continue_with("gate", ANSWER, resume_request_id="first", comment="rescuer")
    assert handle.close() == ORDER_SNAPSHOT

    execution = sound(handle.pk)
    assert execution.status == "completed"
    assert steps_by_node(handle.pk) == ORDER_STEPS
    assert left_by(handle.id) == ORDER_ROWS
    decision = Decision.objects.get(execution_id=handle.pk)
    assert (decision.payload, decision.door) == (ANSWER, Door.CODE)
    # An acknowledged decision is never lost and never made a second time.
    assert decision.comment == ("victim" if said == "returned" or case.is_after_the_decision else "rescuer")


@pytest.mark.skipif(not IS_POSTGRES, reason="SQLite has no server that could go on by itself")
@pytest.mark.parametrize(
    "point",
    [Point("commit", "written", "tally"), Point("atomic", "written", "part"), Point("atomic", "written", "book")],
    ids=str,
)
def test_a_commit_that_goes_through_after_the_process_looked_for_it_is_found_all_the_same(
    crew: Crew, point: Point
) -> None:
    victim = crew.start(walk, "sync", "k1", "victim", point, "late")
    victim.expect("reached")
    assert victim.expect("returned") == "completed"
    execution = sound(Execution.objects.get().pk)
    assert execution.snapshot == ORDER_SNAPSHOT
    assert steps_by_node(execution.pk) == ORDER_STEPS
    assert left_by(execution.id.hex) == ORDER_ROWS
    assert not Step.objects.filter(attempt__gt=1).exists()


@pytest.mark.parametrize("fault", STRIKES)
@pytest.mark.parametrize("moment", [*_MOMENTS, "left"])
def test_a_failure_is_recorded_once_wherever_the_process_is_lost(
    crew: Crew, travel: Callable[[float], None], moment: str, fault: str
) -> None:
    victim = crew.start(start_failing, "k1", Point("fail", moment), fault)
    victim.expect("reached")
    victim.hear()

    travel(get_settings().LEASE_SECONDS + 1)
    sweep(using="default")
    handle = FAILING.get_execution(Execution.objects.get().pk)
    with contextlib.suppress(ValueError):  # of the chunk, where it is this process that runs it again
        handle.wait(timeout=60)
    execution = sound(handle.pk)
    assert (execution.status, execution.failed_steps) == ("failed", 1)
    step = Step.objects.get()
    assert step.error is not None
    assert step.error["type"] == "ValueError" or (fault == "boom" and step.error["type"].endswith("BoomError"))


@pytest.mark.parametrize("fault", STRIKES)
@pytest.mark.parametrize("moment", _MOMENTS)
def test_a_cancel_is_done_once_or_not_at_all(crew: Crew, moment: str, fault: str) -> None:
    handle = ORDERS["sync"].start_execution(ITEMS, auto_close=False)
    victim = crew.start(cancel, handle.id, Point("cancel", moment), fault)
    victim.expect("reached")
    victim.hear()

    execution = sound(handle.pk)
    assert execution.status == ("cancelled" if moment == "committed" else "waiting")
    handle.cancel()
    assert sound(handle.pk).status == "cancelled"
    assert "booked" not in left_by(handle.id)
