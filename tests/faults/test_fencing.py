"""A worker whose step was taken over changes nothing, however it comes back: its lease ran out, or it was frozen.

The held process stands where its work is done and not yet committed. Somebody else takes the step over and commits it.
Then the first one goes on, and must find 0 rows.
"""

from __future__ import annotations

import datetime as dt
import signal
import time
from collections.abc import Callable

import pytest
from django.db import connection

from tests.engine import driving
from tests.faults.crashpoints import IS_POSTGRES, Point
from tests.faults.flows import GATE, ITEMS, ORDER_ROWS, ORDER_SNAPSHOT, ORDER_STEPS, ORDERS, left_by
from tests.faults.processes import PATIENCE, Crew
from tests.faults.programs import drain, drain_to_be_frozen, drain_with_a_quick_heart
from tests.faults.soundness import sound, steps_by_node
from triggerflow_django import TriggerFlowExecution
from triggerflow_django.engine import clock
from triggerflow_django.engine.sweep import sweep
from triggerflow_django.models import Step, StepStatus

#: Where a worker can be overtaken. Inside an atomic chunk only on PostgreSQL: on SQLite it holds the write lock.
POINTS = [
    Point("chunk", "", "tally"),
    Point("commit", "entered", "tally"),
    Point("commit", "entered", "ask"),
    Point("atomic", "entered", "part"),
    *(
        [Point("chunk", "", "part"), Point("chunk", "", "book")]
        if IS_POSTGRES
        else [Point("atomic", "entered", "book")]
    ),
]


def waiting_order(style: str, point: Point) -> TriggerFlowExecution:
    """An order that stands before the point's node, with steps ready and nobody running them."""
    flow = ORDERS[style]
    pk = driving.start(flow, ITEMS)
    if point.node == "book":
        driving.drain(pk, flow)
        driving.decide(pk, GATE, "yes", flow=flow)
    return flow.get_execution(pk)


def comes_to_its_end(handle: TriggerFlowExecution) -> None:
    """Nothing has happened twice, and the rest happens once."""
    sound(handle.pk)
    if handle.is_waiting():
        handle.continue_with(GATE, "yes")
    assert handle.close() == ORDER_SNAPSHOT
    sound(handle.pk)
    assert steps_by_node(handle.pk) == ORDER_STEPS
    assert left_by(handle.id) == ORDER_ROWS


@pytest.mark.parametrize(
    ("point", "fault"),
    [
        *((point, "hold") for point in POINTS),
        # An error around a commit makes it look again, and find somebody else's step.
        *((point, "hold, error") for point in POINTS if point.verb in ("commit", "atomic")),
    ],
    ids=str,
)
@pytest.mark.parametrize("style", ["sync", "async"])
def test_a_worker_that_outlived_its_lease_changes_nothing(
    crew: Crew, travel: Callable[[float], None], style: str, point: Point, fault: str
) -> None:
    handle = waiting_order(style, point)
    stale = crew.start(drain, ORDERS[style].name, handle.id, point, fault)
    stale.expect("reached")

    travel(61)
    assert sweep(using="default").lost_steps >= 1
    handle.wait(timeout=PATIENCE)
    before = driving.everything(handle.pk)
    stale.tell("go on")
    assert stale.expect("returned") >= 1
    assert driving.everything(handle.pk) == before
    assert Step.objects.filter(execution_id=handle.pk, node=point.node, lost=1, attempt=2).exists()
    comes_to_its_end(handle)


@pytest.mark.parametrize(
    "point",
    [Point("commit", "entered", "tally"), Point("commit", "entered", "ask"), Point("atomic", "entered", "book")],
    ids=str,
)
def test_a_worker_that_outlived_its_lease_changes_nothing_of_a_step_that_another_one_is_running(
    crew: Crew, travel: Callable[[float], None], point: Point
) -> None:
    handle = waiting_order("sync", point)
    stale = crew.start(drain, ORDERS["sync"].name, handle.id, point, "hold")
    stale.expect("reached")

    travel(61)
    assert sweep(using="default").lost_steps == 1
    other, step = driving.claimed(handle.pk, ORDERS["sync"])
    before = driving.everything(handle.pk)
    stale.tell("go on")
    assert stale.expect("returned") == 1
    assert driving.everything(handle.pk) == before
    steps = [step]
    while steps:  # its commit hands on what follows
        steps.extend(driving.run(other, steps.pop()).carried)
    comes_to_its_end(handle.wait(timeout=PATIENCE))


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_a_frozen_process_that_wakes_up_changes_nothing(crew: Crew, point: Point) -> None:
    handle = waiting_order("sync", point)
    frozen = crew.start(drain_to_be_frozen, ORDERS["sync"].name, handle.id, point, "hold", LEASE_SECONDS=0.5)
    frozen.expect("reached")
    frozen.signal(signal.SIGSTOP)
    frozen.tell("go on")

    deadline = time.monotonic() + PATIENCE
    while not sweep(using="default").lost_steps and time.monotonic() < deadline:
        time.sleep(0.02)
    handle.wait(timeout=PATIENCE)
    before = driving.everything(handle.pk)
    frozen.signal(signal.SIGCONT)
    assert frozen.expect("returned") >= 1
    assert driving.everything(handle.pk) == before
    comes_to_its_end(handle)


def test_a_chunk_that_takes_longer_than_its_lease_keeps_it_while_its_process_lives(crew: Crew) -> None:
    point = Point("chunk", "", "tally")
    handle = waiting_order("sync", point)
    slow = crew.start(drain_with_a_quick_heart, ORDERS["sync"].name, handle.id, point, "hold", LEASE_SECONDS=2.0)
    slow.expect("reached")
    step = Step.objects.get(execution_id=handle.pk, status=StepStatus.RUNNING)
    first = step.lease_expires_at
    deadline = time.monotonic() + PATIENCE
    # Until the lease it was claimed with has run out, and a bit.
    while clock.read("default") < first + dt.timedelta(seconds=0.5) and time.monotonic() < deadline:
        assert sweep(using="default").lost_steps == 0
        time.sleep(0.05)
    slow.tell("go on")
    assert slow.expect("returned") == 0
    step.refresh_from_db()
    assert (step.status, step.attempt) == (StepStatus.DONE, 1)
    comes_to_its_end(handle)


@pytest.mark.skipif(not IS_POSTGRES, reason="SQLite has one lock for all executions")
def test_a_process_frozen_inside_a_commit_keeps_only_its_own_execution_waiting(
    crew: Crew, travel: Callable[[float], None]
) -> None:
    point = Point("commit", "written", "tally")
    held, other = waiting_order("sync", point), waiting_order("sync", point)
    driving.claim(other.pk, ORDERS["sync"])
    frozen = crew.start(drain, ORDERS["sync"].name, held.id, point, "hold")
    frozen.expect("reached")
    frozen.signal(signal.SIGSTOP)

    travel(61)
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '100ms'")
    report = sweep(using="default")
    with connection.cursor() as cursor:
        cursor.execute("RESET lock_timeout")
    assert (report.lost_steps, report.errors) == (1, 1)
    comes_to_its_end(other.wait(timeout=PATIENCE))

    frozen.tell("go on")
    frozen.signal(signal.SIGCONT)
    assert frozen.expect("returned") == 0
    comes_to_its_end(held)
