"""Many hands at one execution: chunks of one process together, processes beside each other, starts that race."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.engine import driving
from tests.faults.flows import ITEMS, NAPS, ORDER_STEPS, ORDERS, WIDE, WIDE_ITEMS, WIDE_LIMIT, left_by
from tests.faults.processes import PATIENCE, Crew
from tests.faults.programs import drain, drain_at_the_word, start_with_key
from tests.faults.soundness import sound, steps_by_node
from triggerflow_django.engine.sweep import sweep
from triggerflow_django.models import Execution, Join, Step, StepStatus

pytestmark = pytest.mark.django_db(transaction=True)


def test_fifty_async_chunks_of_a_second_take_little_more_than_one_second_and_commit_one_by_one() -> None:
    seconds: list[float] = []
    while not seconds or (min(seconds) > 3 and len(seconds) < 3):  # the machine may be busy for a moment
        pk = driving.start(NAPS, list(range(50)))
        revision = Execution.objects.get(pk=pk).revision
        began = time.monotonic()
        driving.drain(pk, NAPS)
        seconds.append(time.monotonic() - began)
    assert min(seconds) < 3
    execution = sound(pk)
    assert steps_by_node(pk) == {"nap": 50, "keep": 1}
    assert driving.state(pk) == {"kept": [list(range(50))]}
    # Each commit that leaves one nap less counts the row's revision up by one.
    assert execution.revision >= revision + 49


def test_of_chunks_that_run_together_each_has_its_own_lease_and_its_own_commit(
    crew: Crew, travel: Callable[[float], None]
) -> None:
    pk = driving.start(NAPS, list(range(50)))
    child = crew.start(drain, NAPS.name, pk.hex)
    naps = Step.objects.filter(execution_id=pk, node="nap")
    deadline = time.monotonic() + PATIENCE
    while naps.filter(status=StepStatus.DONE).count() < 25 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert naps.filter(status=StepStatus.RUNNING, lease_token__isnull=False).count() == 25
    child.kill()
    assert sound(pk).active_steps == 25

    travel(61)
    assert sweep(using="default").lost_steps == 25
    crew.start(drain, NAPS.name, pk.hex).expect("returned")
    sound(pk)
    assert {(step.input < 25, step.attempt) for step in naps} == {(True, 1), (False, 2)}
    assert driving.state(pk) == {"kept": [list(range(50))]}


def test_two_processes_that_drain_one_execution_run_each_step_once_and_keep_its_limit(crew: Crew) -> None:
    pk = driving.start(WIDE, list(range(WIDE_ITEMS)))
    children = crew.together(drain_at_the_word, (WIDE.name, pk.hex), (WIDE.name, pk.hex))
    assert [child.expect("returned") for child in children] == [0, 0]
    WIDE.get_execution(pk).wait(timeout=PATIENCE)

    sound(pk)
    assert steps_by_node(pk) == {"item": WIDE_ITEMS, "sum": 1, "keep": 1, "one": 1, "two": 1, "together": 1}
    assert set(left_by(pk.hex).values()) == {1}
    assert len(left_by(pk.hex)) == WIDE_ITEMS
    kept = driving.state(pk)["kept"]
    assert sorted(kept, key=str) == [sum(range(WIDE_ITEMS)), {"one": 1, "two": 2}]
    assert set(Join.objects.filter(execution_id=pk).values_list("places", flat=True)) == {0}
    items = Step.objects.filter(execution_id=pk, node="item")
    assert {step.attempt for step in items} == {1}
    assert _most_at_once(list(items)) <= WIDE_LIMIT


def _most_at_once(steps: list[Step]) -> int:
    """How many steps were claimed and not yet committed at the busiest moment."""
    moments = [(step.started_at, 1) for step in steps] + [(step.finished_at, -1) for step in steps]
    most = now = 0
    for _moment, change in sorted(moments, key=lambda entry: (entry[0], entry[1])):
        now += change
        most = max(most, now)
    return most


@pytest.mark.parametrize("round_", range(5))
def test_processes_that_start_with_one_key_at_once_get_one_execution(crew: Crew, round_: int) -> None:
    children = crew.together(start_with_key, *[(f"k{round_}", ITEMS)] * 3)
    ids = {child.expect("returned") for child in children}
    execution = Execution.objects.get()
    assert ids == {execution.id.hex}
    ORDERS["sync"].get_execution(execution.pk).wait(timeout=PATIENCE)
    assert sound(execution.pk).status == "waiting"
    assert left_by(execution.id.hex) == {"part1": 1, "part2": 1, "part3": 1}
    assert Step.objects.count() == sum(ORDER_STEPS.values()) - ORDER_STEPS["book"]


def test_of_processes_that_start_with_one_key_and_other_inputs_one_wins(crew: Crew) -> None:
    heard = [child.hear() for child in crew.together(start_with_key, *[("k1", [number]) for number in range(3)])]
    assert sorted(word for word, _value in heard) == ["raised", "raised", "returned"]
    assert all("KeyConflictError" in value for word, value in heard if word == "raised")
    (execution,) = Execution.objects.all()
    assert [value for word, value in heard if word == "returned"] == [execution.id.hex]
