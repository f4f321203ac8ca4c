"""``for_each``: a body once per item, joined in the order of the items."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from django.test import override_settings

from tests.flows import running
from triggerflow_django import TriggerFlow
from triggerflow_django.models import ACTIVE_STATUSES, Step

pytestmark = pytest.mark.django_db


@pytest.fixture
def flow() -> TriggerFlow:
    return TriggerFlow(name="for each")


def double(data: Any) -> Any:
    return data.input * 2


def ask_for_even(data: Any) -> Any:
    """Even numbers need an answer, odd ones pass."""
    return data.pause_for(interrupt_id=f"item {data.input}") if data.input % 2 == 0 else data.input


# -- values


def test_the_result_is_a_list_in_the_order_of_the_items(flow: TriggerFlow) -> None:
    flow.for_each().to(double).end_for_each().to(running.keep())
    assert running.run(flow, [3, 1, 2])["out"] == [6, 2, 4]


@pytest.mark.parametrize("value", [5, "text", "", None, {"a": [1]}, {}, 1.5, True])
def test_what_is_no_list_counts_as_one_item(flow: TriggerFlow, value: Any) -> None:
    flow.for_each().to(running.same).end_for_each().to(running.keep())
    assert running.run(flow, value)["out"] == [value]


def test_items_may_be_of_any_kind(flow: TriggerFlow) -> None:
    items = [None, "text", "", {"a": 1}, [1, [2]], [], 0, False, 1.5]
    flow.for_each().to(running.same).end_for_each().to(running.keep())
    assert running.run(flow, items)["out"] == items


def test_an_empty_list_runs_no_body_and_gives_an_empty_list(flow: TriggerFlow) -> None:
    flow.for_each().to(running.append()).end_for_each().to(running.keep())
    assert running.run(flow, []) == {"out": []}


def test_a_body_may_be_empty(flow: TriggerFlow) -> None:
    flow.for_each(concurrency=1).end_for_each().to(running.keep())
    assert running.run(flow, [1, 2, 3])["out"] == [1, 2, 3]


def test_a_tuple_a_chunk_returns_is_a_list(flow: TriggerFlow) -> None:
    flow.to(lambda data: (1, (2, 3))).for_each().to(running.same).end_for_each().to(running.keep())
    assert running.run(flow)["out"] == [1, [2, 3]]


def test_a_body_may_have_several_chunks_and_side_branches(flow: TriggerFlow) -> None:
    body = flow.for_each().to(double).side_branch(running.append()).to(double, name="again")
    body.end_for_each().to(running.keep())
    assert running.run(flow, [1, 2]) == {"out": [4, 8], "log": [2, 4]}


# -- nesting


def test_loops_nest(flow: TriggerFlow) -> None:
    inner = flow.for_each().to(running.same).for_each().to(double).end_for_each()
    inner.to(lambda data: [*data.input, "end"]).end_for_each().to(running.keep())
    assert running.run(flow, [[1, 2], [], [3], 4])["out"] == [[2, 4, "end"], ["end"], [6, "end"], [8, "end"]]


def test_loops_follow_one_another_directly_three_deep(flow: TriggerFlow) -> None:
    deep = flow.for_each().for_each().for_each().to(double).end_for_each().end_for_each().end_for_each()
    deep.to(running.keep())
    assert running.run(flow, [[[1], [2, 3]], [], [[]]])["out"] == [[[2], [4, 6]], [], [[]]]


def test_a_choice_inside_a_loop(flow: TriggerFlow) -> None:
    body = flow.for_each().match().case(lambda data: data.input > 2).to(double).case(1).to(lambda data: "one")
    body.end_match().end_for_each().to(running.keep())
    assert running.run(flow, [1, 2, 3, 4])["out"] == ["one", 2, 6, 8]


def test_a_batch_inside_a_loop_inside_a_batch(flow: TriggerFlow) -> None:
    flow.batch(("list", lambda data: [1, 2]), ("other", running.same)).to(lambda data: data.input["list"]).for_each(
        concurrency=1
    ).batch(("a", double), ("b", running.same), concurrency=1).end_for_each().to(running.keep())
    assert running.run(flow, 9)["out"] == [{"a": 2, "b": 1}, {"a": 4, "b": 2}]


def test_a_loop_at_a_branch_of_a_batch(flow: TriggerFlow) -> None:
    flow.batch(("list", lambda data: [1, 2, 3]), ("other", running.same)).to(running.keep())
    flow.when("list").for_each(concurrency=2).to(double).end_for_each().to(running.keep("doubled"))
    assert running.run(flow, 9) == {"out": {"list": [1, 2, 3], "other": 9}, "doubled": [2, 4, 6]}


@pytest.mark.parametrize("concurrency", [None, 1, 2])
def test_items_that_pass_without_a_step_do_not_stop_the_loop(flow: TriggerFlow, concurrency: int | None) -> None:
    body = flow.to(running.same).for_each(concurrency).if_condition(lambda data: data.input > 7).to(double)
    body.end_condition().end_for_each().to(running.keep())
    with override_settings(TRIGGERFLOW={"FOR_EACH_WINDOW": 3}):
        assert running.run(flow, [1, 2, 3, 4, 5, 8, 6, 7, 9])["out"] == [1, 2, 3, 4, 5, 16, 6, 7, 18]
        assert running.run(flow, [1] * 10)["out"] == [1] * 10


def test_a_loop_nobody_closed_runs_all_its_items(flow: TriggerFlow) -> None:
    flow.for_each(concurrency=1).match().case(5).to(running.append())
    execution = flow.create_execution(auto_close=False)
    execution.start([1, 1, 1, 5, 2, 5])
    assert running.log(execution) == [5, 5]


def test_empty_lists_inside_a_list_do_not_stop_the_loop(flow: TriggerFlow) -> None:
    flow.for_each(concurrency=1).for_each().to(double).end_for_each().end_for_each().to(running.keep())
    assert running.run(flow, [[], [], [1], [], [2, 3], []])["out"] == [[], [], [2], [], [4, 6], []]


# -- order, limits, window


@pytest.mark.django_db(transaction=True)
def test_the_order_of_the_result_is_not_the_order_of_completion(flow: TriggerFlow) -> None:
    finished: list[int] = []

    async def work(data: Any) -> Any:
        while len(finished) != 5 - data.input:  # the last one first
            await asyncio.sleep(0.001)
        finished.append(data.input)
        return data.input * 10

    flow.for_each().to(work).end_for_each().to(running.keep())
    assert running.run(flow, [0, 1, 2, 3, 4, 5])["out"] == [0, 10, 20, 30, 40, 50]
    assert finished == [5, 4, 3, 2, 1, 0]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("concurrency", [1, 3])
def test_no_more_items_run_together_than_the_limit_says(flow: TriggerFlow, concurrency: int) -> None:
    now: set[int] = set()
    most: list[int] = []

    async def work(data: Any) -> Any:
        now.add(data.input)
        most.append(len(now))
        await asyncio.sleep(0.002)
        now.discard(data.input)
        return data.input

    flow.for_each(concurrency).to(work).to(work, name="again").end_for_each().to(running.keep())
    assert running.run(flow, list(range(8)))["out"] == list(range(8))
    assert max(most) == concurrency


@pytest.mark.django_db(transaction=True)
@override_settings(TRIGGERFLOW={"FOR_EACH_WINDOW": 100})
def test_a_thousand_items_are_entered_through_a_window(flow: TriggerFlow) -> None:
    most: list[int] = []

    def work(data: Any) -> Any:
        if data.input % 50 == 0:
            most.append(Step.objects.filter(status__in=ACTIVE_STATUSES).count())
        return data.input + 1

    flow.for_each().to(work).end_for_each().to(running.keep())
    assert running.run(flow, list(range(1000)))["out"] == list(range(1, 1001))
    assert max(most) == 100


@override_settings(TRIGGERFLOW={"FOR_EACH_WINDOW": 4})
def test_the_window_is_a_setting_and_a_limit_of_its_own_comes_before_it(flow: TriggerFlow) -> None:
    most: list[int] = []

    def work(data: Any) -> Any:
        most.append(Step.objects.filter(status__in=ACTIVE_STATUSES).count())
        return data.input

    flow.for_each().to(work).end_for_each().for_each(concurrency=6).to(work, name="again").end_for_each()
    running.run(flow, list(range(12)))
    assert (max(most[:12]), max(most[12:])) == (4, 6)


# -- pauses and failures


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_paused_items_are_answered_in_any_order(flow: TriggerFlow, seed: int) -> None:
    flow.for_each().to(ask_for_even).to(lambda data: [data.input]).end_for_each().to(running.keep())
    execution = running.begin(flow, list(range(10)))
    waiting = running.pending(execution)
    random.Random(seed).shuffle(waiting)  # noqa: S311 - an order, not a secret
    for interrupt_id in waiting:
        assert execution.get_state("out") is None
        running.answer(execution, interrupt_id, interrupt_id)
    assert execution.get_state("out") == [[i if i % 2 else f"item {i}"] for i in range(10)]
    running.nothing_is_left(execution)


def test_an_item_that_fails_stops_the_join_and_not_the_other_items(flow: TriggerFlow) -> None:
    broken = [True]

    def work(data: Any) -> Any:
        if data.input == 1 and broken:
            raise LookupError("broken")
        data.append_state("log", data.input)
        return data.input

    flow.for_each(concurrency=1).to(work).end_for_each().to(running.keep())
    execution, _ = running.broken(flow, [0, 1, 2, 3], LookupError)
    assert (running.log(execution), execution.get_state("out")) == ([0, 2, 3], None)
    broken.clear()
    execution.retry()
    assert (running.log(execution), execution.get_state("out")) == ([0, 2, 3, 1], [0, 1, 2, 3])
    running.nothing_is_left(execution)


@pytest.mark.django_db(transaction=True)
def test_an_item_may_end_early_while_others_have_a_longer_way(flow: TriggerFlow) -> None:
    def fork(data: Any) -> Any:
        data.append_state("log", data.input)
        return data.input

    body = flow.for_each(concurrency=2).to(fork).if_condition(lambda data: data.input % 2)
    body.to(fork, name="second").to(fork, name="third").end_condition().end_for_each().to(running.keep())
    assert running.run(flow, [0, 1, 2, 3, 4])["out"] == [0, 1, 2, 3, 4]


def test_one_function_in_the_body_and_after_it_needs_a_name(flow: TriggerFlow) -> None:
    flow.for_each().to(running.same).end_for_each().to(running.same, name="after").to(running.keep())
    assert running.run(flow, [1, 2])["out"] == [1, 2]
    flow.when("E").to(running.same)
    execution = running.begin(flow, [1])
    with pytest.raises(RuntimeError, match="same finished outside of the fan-out"):
        execution.emit("E", 2)
