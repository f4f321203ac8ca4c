"""``batch``: several chunks on the same value, joined in the order they were written."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from tests.flows import running
from triggerflow_django import TriggerFlow
from triggerflow_django.models import Step, StepStatus

pytestmark = pytest.mark.django_db


@pytest.fixture
def flow() -> TriggerFlow:
    return TriggerFlow(name="batch")


def ask(name: str) -> tuple[str, Any]:
    """A branch that asks under its own name."""
    return name, lambda data: data.pause_for(interrupt_id=name)


def test_the_result_is_a_dict_by_chunk_name_in_the_order_they_were_written(flow: TriggerFlow) -> None:
    def plus(data: Any) -> Any:
        return data.input + 1

    flow.batch(("zeta", lambda data: data.input * 2), plus, ("alpha", lambda data: None)).to(running.keep())
    out = running.run(flow, 10)["out"]
    assert out == {"zeta": 20, "plus": 11, "alpha": None}
    assert list(out) == ["zeta", "plus", "alpha"]


@pytest.mark.django_db(transaction=True)
def test_branches_run_together_and_their_order_does_not_matter(flow: TriggerFlow) -> None:
    met: list[str] = []

    async def first(data: Any) -> str:
        while len(met) < 2:
            await asyncio.sleep(0.001)
        return "first"

    async def second(data: Any) -> str:
        met.append("second")
        while len(met) < 2:
            await asyncio.sleep(0.001)
        return "second"

    async def third(data: Any) -> str:
        met.append("third")
        return "third"

    flow.batch(first, second, third).to(running.keep())
    assert list(running.run(flow)["out"].items()) == [("first", "first"), ("second", "second"), ("third", "third")]


def test_a_batch_of_one_is_a_dict_too(flow: TriggerFlow) -> None:
    flow.batch(("only", running.same)).to(running.keep())
    assert running.run(flow, 3)["out"] == {"only": 3}


def test_a_batch_on_the_side_leaves_the_chain_its_value(flow: TriggerFlow) -> None:
    flow.to(running.same).batch(("a", running.append()), ("b", running.append()), side_branch=True).to(running.keep())
    assert running.run(flow, 4) == {"log": [4, 4], "out": 4}


def test_a_branch_may_be_a_chunk_with_a_way_on_of_its_own(flow: TriggerFlow) -> None:
    flow.batch(("a", running.same), ("b", running.same)).to(running.keep())
    flow.when("a").to(running.append()).to(running.append())
    assert running.run(flow, 4) == {"log": [4, 4], "out": {"a": 4, "b": 4}}


def test_a_batch_may_follow_a_batch(flow: TriggerFlow) -> None:
    def total(data: Any) -> Any:
        return sum(data.input.values())

    first = flow.batch(("a", running.same), ("b", running.same))
    first.batch(("c", total), ("d", total)).to(running.keep())
    assert running.run(flow, 4)["out"] == {"c": 8, "d": 8}


@pytest.mark.parametrize("order", list(itertools.permutations("abc")))
def test_branches_that_pause_are_answered_in_any_order(flow: TriggerFlow, order: tuple[str, ...]) -> None:
    flow.batch(ask("a"), ("quick", running.same), ask("b"), ask("c")).to(running.keep())
    execution = running.begin(flow, "in")
    for name in order:
        assert execution.get_state("out") is None
        running.answer(execution, name, name.upper())
    assert list(execution.get_state("out").items()) == [("a", "A"), ("quick", "in"), ("b", "B"), ("c", "C")]
    running.nothing_is_left(execution)


def test_a_failing_branch_stops_the_join_and_not_the_others(flow: TriggerFlow) -> None:
    broken = [True]

    def fail(data: Any) -> str:
        if broken:
            raise LookupError("broken")
        return "repaired"

    flow.batch(("a", running.append()), ("b", fail), ("c", running.append())).to(running.keep())
    execution, _ = running.broken(flow, 1, LookupError)
    assert (running.log(execution), execution.get_state("out"), execution.get_status()) == ([1, 1], None, "failed")
    broken.clear()
    assert execution.retry() == 1
    assert execution.get_state("out") == {"a": 1, "b": "repaired", "c": 1}
    running.nothing_is_left(execution)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("concurrency", [1, 2, 5])
def test_a_limit_holds_for_branches_that_run_together(flow: TriggerFlow, concurrency: int) -> None:
    now: set[int] = set()
    most: list[int] = []

    def branch(index: int) -> Any:
        async def work(data: Any) -> int:
            now.add(index)
            most.append(len(now))
            await asyncio.sleep(0.01)
            now.discard(index)
            return index

        return f"b{index}", work

    flow.batch(*(branch(index) for index in range(5)), concurrency=concurrency).to(running.keep())
    assert running.run(flow)["out"] == {f"b{index}": index for index in range(5)}
    assert max(most) == concurrency


def test_a_branch_that_waits_for_an_answer_gives_its_place_away(flow: TriggerFlow) -> None:
    flow.batch(ask("a"), ask("b"), ("c", running.append()), concurrency=1).to(running.keep())
    execution = running.begin(flow, 7)
    assert (running.pending(execution), running.log(execution)) == (["a", "b"], [7])
    running.answer(execution, "b", 2)
    running.answer(execution, "a", 1)
    assert execution.get_state("out") == {"a": 1, "b": 2, "c": 7}


def test_what_branches_cause_keeps_to_the_limit_even_after_the_join_has_fired(flow: TriggerFlow) -> None:
    seen: list[int] = []

    def watch(data: Any) -> None:
        below = Step.objects.filter(node__startswith="late", status__in=[StepStatus.READY, StepStatus.RUNNING])
        seen.append(below.count())

    flow.batch(("a", running.same), ("b", running.same), concurrency=1).to(running.keep())
    for index in range(4):
        flow.when("b").to(watch, name=f"late {index}")
        flow.when("a").to(watch, name=f"late too {index}")
    running.run(flow, 1)
    assert seen == [1] * 8


def test_a_batch_inside_a_batch_branch_by_event_joins_on_its_own(flow: TriggerFlow) -> None:
    flow.batch(("a", lambda data: data.emit("inner", 1)), ("b", running.same)).to(running.keep())
    flow.when("inner").batch(("c", running.same), ("d", running.same)).to(running.keep("inner"))
    assert running.run(flow, 5) == {"out": {"a": None, "b": 5}, "inner": {"c": 1, "d": 1}}


def test_one_chunk_in_two_batches_fills_the_one_it_ran_in(flow: TriggerFlow) -> None:
    flow.batch(("a", running.same), ("b", running.same)).to(running.append(), name="first")
    flow.when("E").batch("a", ("c", running.same)).to(running.append("second"), name="second")
    execution = running.begin(flow, 1)
    execution.emit("E", 2)
    assert execution.get_state() == {"log": [{"a": 1, "b": 1}], "second": [{"a": 2, "c": 2}]}
    running.nothing_is_left(execution)


def test_a_branch_used_outside_of_its_batch_fails_by_name(flow: TriggerFlow) -> None:
    flow.batch(("a", running.append()), ("b", running.same)).to(running.keep())
    flow.when("E").to("a")
    execution = running.begin(flow, 1)
    with pytest.raises(RuntimeError, match=r"a finished outside of the fan-out .*/batch-1/end joins"):
        execution.emit("E", 2)
    assert execution.get_state() == {"log": [1], "out": {"a": 1, "b": 1}}
    assert running.nodes(execution, "failed") == ["a"]
