"""Limits and windows under hard cases: nested, with pauses answered in any order, between several drains.

``running.balanced`` checks at every stop: places are what the steps say, no limit is exceeded, and nobody waits for a
place that is free.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection
from django.test import override_settings

from tests.flows import running
from tests.flows.asking import answered_in_any_order, asks_if, watching
from triggerflow_django import TriggerFlow
from triggerflow_django.engine import decide, start
from triggerflow_django.models import Join, Step, StepStatus

pytestmark = pytest.mark.django_db


@pytest.fixture
def flow() -> TriggerFlow:
    return TriggerFlow(name="limits")


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("concurrency", [1, 2, 7])
def test_a_limit_of_two_over_twenty_items_of_which_some_pause(flow: TriggerFlow, concurrency: int, seed: int) -> None:
    most: list[int] = []
    body = flow.for_each(concurrency).to(asks_if(lambda n: n % 3 == 0)).to(watching(most))
    body.to(running.same, name="last").end_for_each().to(running.keep())
    execution = running.begin(flow, list(range(20)))
    assert running.pending(execution) == sorted(f"q{n}" for n in range(0, 20, 3))
    assert answered_in_any_order(execution, seed) == 7
    assert execution.get_state("out") == list(range(20))
    assert max(most) <= concurrency
    running.nothing_is_left(execution)


@pytest.mark.parametrize("seed", range(4))
def test_items_that_ask_twice_and_resume_themselves(flow: TriggerFlow, seed: int) -> None:
    def ask_again(data: Any) -> Any:
        if data.is_resume:
            return data.resume.value
        return data.pause_for(interrupt_id=f"q{data.input} again", resume_to="self")

    body = flow.for_each(concurrency=2).to(asks_if(lambda n: n % 2 == 0)).to(ask_again).to(running.same, name="last")
    body.end_for_each().to(running.keep())
    execution = running.begin(flow, list(range(8)))
    assert answered_in_any_order(execution, seed) == 12
    assert execution.get_state("out") == list(range(8))
    running.nothing_is_left(execution)


@pytest.mark.parametrize("resume_to", ["next", "self"])
def test_an_answer_finds_no_place_and_waits_for_one(flow: TriggerFlow, resume_to: Any) -> None:
    """Between the answer and the next drain the rows are as a worker would find them."""

    def ask(data: Any) -> Any:
        if data.is_resume:
            return data.resume.value
        return data.pause_for(interrupt_id=f"q{data.input}", resume_to=resume_to)

    flow.for_each(concurrency=1).to(ask).to(running.append()).end_for_each().to(running.keep())
    execution = running.begin(flow, [0, 1])
    for interrupt_id in ("q0", "q1"):
        decide.decide(execution.pk, interrupt_id, 5, door="code", using="default", graph=flow.graph)
        running.balanced(execution)
    (join,) = Join.objects.all()
    assert [step.status for step in running.steps(execution, "ready", "held")] == ["ready", "held"]
    assert running.steps(execution, "held")[0].held_by == join.activation
    execution.wait()
    assert execution.get_state() == {"log": [5, 5], "out": [5, 5]}
    running.nothing_is_left(execution)


@pytest.mark.parametrize(("outer", "inner"), [(3, 1), (1, 3), (2, 2), (1, 1), (None, 1), (1, None), (2, None)])
@pytest.mark.parametrize("seed", range(2))
def test_a_limit_inside_a_limit(flow: TriggerFlow, outer: int | None, inner: int | None, seed: int) -> None:
    most: list[int] = []
    body = flow.for_each(outer).for_each(inner).to(asks_if(lambda n: n % 5 == 0)).to(watching(most))
    body.end_for_each().to(lambda data: data.input).end_for_each().to(running.keep())
    with override_settings(TRIGGERFLOW={"FOR_EACH_WINDOW": 3}):
        items = [[10 * group + n for n in range(6)] for group in range(5)]
        execution = running.begin(flow, items)
        answered_in_any_order(execution, seed)
    assert execution.get_state("out") == items
    if outer is not None:
        assert max(most) <= outer
    running.nothing_is_left(execution)


@pytest.mark.parametrize("limits", [(2, 1, 1), (1, 2, 3), (3, 2, 1), (2, None, 2)])
def test_three_limits_inside_one_another(flow: TriggerFlow, limits: tuple[Any, Any, Any]) -> None:
    first, second, third = limits
    body = (
        flow.for_each(first)
        .for_each(second)
        .batch(("a", asks_if(lambda n: n % 4 == 0)), ("b", running.same), concurrency=third)
    )
    body.end_for_each().end_for_each().to(running.keep())
    items = [[1, 2, 3], [4, 5, 6, 7], [8], []]
    with override_settings(TRIGGERFLOW={"FOR_EACH_WINDOW": 2}):
        execution = running.begin(flow, items)
        answered_in_any_order(execution, 1)
    assert execution.get_state("out") == [[{"a": n, "b": n} for n in group] for group in items]
    running.nothing_is_left(execution)


@override_settings(TRIGGERFLOW={"FOR_EACH_WINDOW": 5})
@pytest.mark.parametrize("inner", [None, 4])
def test_items_of_an_inner_loop_do_not_pile_up_before_an_outer_limit(flow: TriggerFlow, inner: int | None) -> None:
    most: list[int] = []

    def count(data: Any) -> Any:
        most.append(Step.objects.filter(status=StepStatus.HELD).count())
        return data.input

    flow.for_each(concurrency=2).for_each(inner).to(count).end_for_each().end_for_each().to(running.keep())
    items = [list(range(40)), list(range(40))]
    assert running.run(flow, items)["out"] == items
    assert max(most) <= 2 * 5


def test_a_limit_holds_for_all_that_a_branch_causes(flow: TriggerFlow) -> None:
    most: list[int] = []

    def spread(data: Any) -> Any:
        for _ in range(4):
            data.emit("E", data.input)
        return data.input

    flow.for_each(concurrency=2).to(spread).end_for_each().to(running.keep())
    flow.when("E").to(watching(most)).to(running.append())
    assert sorted(running.run(flow, [1, 2, 3])["log"]) == [1] * 4 + [2] * 4 + [3] * 4
    assert max(most) <= 2


@pytest.mark.parametrize("concurrency", [1, 2])
def test_steps_that_are_held_when_their_batch_fires_still_run(flow: TriggerFlow, concurrency: int) -> None:
    flow.batch(("a", running.same), ("b", running.same), concurrency=concurrency).to(running.keep())
    for index in range(5):
        flow.when("a").to(running.append(), name=f"after a {index}")
        flow.when("b").to(running.append(), name=f"after b {index}")
    execution = running.begin(flow, 1)
    assert running.log(execution) == [1] * 10
    running.nothing_is_left(execution)


@pytest.mark.django_db(transaction=True)
def test_limits_hold_between_drains_of_one_execution(flow: TriggerFlow) -> None:
    running_now: set[int] = set()
    most: list[int] = []
    guard = threading.Lock()

    def work(data: Any) -> Any:
        with guard:
            running_now.add(data.input)
            most.append(len(running_now))
        time.sleep(0.002)  # long enough for another drain to come in
        with guard:
            running_now.discard(data.input)
        return data.input

    flow.for_each(concurrency=3).for_each(concurrency=2).to(work).end_for_each().end_for_each().to(running.keep())
    items = [[10 * group + n for n in range(4)] for group in range(5)]
    new = flow.create_execution(auto_close=False)
    new.emit("nobody listens")
    start.start(new.new, items, using="default")

    def drain(_number: int) -> None:
        try:
            flow.get_execution(new.id).wait(120)
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(drain, range(3)))
    assert new.get_state("out") == items
    assert max(most) <= 3
    running.balanced(new)
    running.nothing_is_left(new)
