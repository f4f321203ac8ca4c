"""``match`` and ``if_condition``: which branch is taken, what goes on, and conditions that raise."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.flows import running
from triggerflow_django import TriggerFlow
from triggerflow_django.models import Step, StepKind

pytestmark = pytest.mark.django_db


@pytest.fixture
def flow() -> TriggerFlow:
    return TriggerFlow(name="match")


def word(text: Any) -> Any:
    """A chunk that gives this text."""
    return lambda data: text


# -- hit_first


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, "one"), ("1", "text"), (None, "none"), ([1], "list"), ({"a": 1}, "dict"), (1.0, "one"), (2, 2), ("", ""),
    ],
)  # fmt: skip
def test_plain_values_are_compared_and_what_matches_none_passes_unchanged(
    flow: TriggerFlow, value: Any, expected: Any
) -> None:
    block = flow.match().case(1).to(word("one")).case("1").to(word("text")).case(None).to(word("none"))
    block.case([1]).to(word("list")).case({"a": 1}).to(word("dict")).end_match().to(running.keep())
    assert running.run(flow, value)["out"] == expected


def test_the_first_case_that_holds_wins(flow: TriggerFlow) -> None:
    block = flow.match().case(lambda data: data.input > 10).to(word("large")).case(lambda data: data.input > 5)
    block.to(word("middle")).case_else().to(word("small")).end_match().to(running.keep())
    assert [running.run(flow, value)["out"] for value in (20, 7, 1)] == ["large", "middle", "small"]


def test_if_elif_else(flow: TriggerFlow) -> None:
    block = flow.if_condition(lambda data: data.input > 10).to(word("large"))
    block = block.elif_condition(lambda data: data.input > 5).to(word("middle")).elif_condition(3).to(word("three"))
    block.else_condition().to(word("small")).end_condition().to(running.keep())
    assert [running.run(flow, value)["out"] for value in (20, 7, 3, 1)] == ["large", "middle", "three", "small"]


def test_a_case_without_chunks_passes_the_value(flow: TriggerFlow) -> None:
    flow.match().case(1).case(2).to(word("two")).case_else().end_match().to(running.append())
    assert [running.run(flow, value)["log"] for value in (1, 2, 3)] == [[1], ["two"], [3]]


def test_one_chunk_in_several_cases_goes_on_once(flow: TriggerFlow) -> None:
    block = flow.match().case(1).to(running.same).case(2).to(running.same).case_else().to(running.same)
    block.end_match().to(running.append())
    assert [running.run(flow, value)["log"] for value in (1, 2, 3)] == [[1], [2], [3]]


def test_a_branch_may_have_a_way_of_its_own(flow: TriggerFlow) -> None:
    inner = flow.match().case(1).to(word([1, 2])).for_each().to(running.append()).end_for_each()
    inner = inner.case(2).match().case(2).to(word("inner")).end_match().to(lambda data: [data.input])
    inner.case(3).batch(("a", running.same), ("b", running.same)).end_match().to(running.keep())
    assert running.run(flow, 1) == {"log": [1, 2], "out": [1, 2]}
    assert running.run(flow, 2) == {"out": ["inner"]}
    assert running.run(flow, 3) == {"out": {"a": 3, "b": 3}}


def test_a_branch_may_pause(flow: TriggerFlow) -> None:
    block = flow.if_condition(lambda data: data.input > 100).to(lambda data: data.pause_for(interrupt_id="q"))
    block.end_condition().to(running.keep())
    assert running.run(flow, 50)["out"] == 50
    execution = running.begin(flow, 500)
    running.answer(execution, "q", "approved")
    assert execution.get_state("out") == "approved"
    running.nothing_is_left(execution)


# -- hit_all


@pytest.mark.parametrize(
    ("value", "expected"),
    [(12, ["even", "large", 12]), (11, ["large", 11]), (4, ["even"]), (3, "none"), (10, ["even"])],
)
def test_all_cases_that_hold_give_a_list_in_case_order(flow: TriggerFlow, value: int, expected: Any) -> None:
    block = flow.match(mode="hit_all").case(lambda data: data.input % 2 == 0).to(word("even"))
    block = block.case(lambda data: data.input > 10).to(word("large")).case(lambda data: data.input > 10)
    block.case_else().to(word("none")).end_match().to(running.keep())
    assert running.run(flow, value)["out"] == expected


def test_hit_all_without_a_hit_and_without_else_passes_the_value(flow: TriggerFlow) -> None:
    flow.match(mode="hit_all").case(1).to(word("one")).end_match().to(running.keep())
    assert [running.run(flow, value)["out"] for value in (1, 2)] == [["one"], 2]


def test_branches_of_hit_all_that_pause_are_joined_in_case_order(flow: TriggerFlow) -> None:
    block = flow.match(mode="hit_all").case(1).to(lambda data: data.pause_for(interrupt_id="a"))
    block = block.case(1).to(word("quick")).case(1).to(lambda data: data.pause_for(interrupt_id="b"))
    block.end_match().to(running.append())
    execution = running.begin(flow, 1)
    running.answer(execution, "b", "B")
    running.answer(execution, "a", "A")
    assert running.log(execution) == [["A", "quick", "B"]]
    running.nothing_is_left(execution)


def test_one_chunk_in_two_cases_of_hit_all_gives_two_values(flow: TriggerFlow) -> None:
    flow.match(mode="hit_all").case(1).to(running.same).case(1).to(running.same).end_match().to(running.append())
    assert running.run(flow, 1)["log"] == [[1, 1]]


# -- conditions


@pytest.mark.parametrize(
    ("told", "holds"), [(1, True), ("no", True), ([0], True), (0, False), ("", False), (None, False), ([], False)]
)
def test_a_condition_counts_by_its_truth(flow: TriggerFlow, told: Any, holds: bool) -> None:
    flow.match().case(lambda data: told).to(word("held")).case_else().to(word("not")).end_match().to(running.keep())
    assert running.run(flow)["out"] == ("held" if holds else "not")


def test_async_conditions_are_awaited(flow: TriggerFlow) -> None:
    async def is_large(data: Any) -> bool:
        await asyncio.sleep(0)
        return bool(data.input > 10)

    class IsEven:
        async def __call__(self, data: Any) -> bool:
            return data.input % 2 == 0

    block = flow.match().case(is_large).to(word("large")).case(IsEven()).to(word("even"))
    block = block.case(lambda data: is_large(data)).to(word("never"))  # noqa: PLW0108 - a sync function that gives a coroutine
    block.case_else().to(word("other")).end_match().to(running.keep())
    assert [running.run(flow, value)["out"] for value in (20, 4, 3)] == ["large", "even", "other"]


def test_two_lambdas_on_one_line_are_two_conditions(flow: TriggerFlow) -> None:
    first, second = (lambda data: data.input == 1), (lambda data: data.input == 2)
    flow.match().case(first).to(word(1)).case(second).to(word(2)).end_match().to(running.keep())
    assert [running.run(flow, value)["out"] for value in (1, 2, 3)] == [1, 2, 3]


def test_a_condition_sees_the_state_the_chunk_before_it_wrote(flow: TriggerFlow) -> None:
    def note(data: Any) -> Any:
        data.set_state("limit", 10)
        return data.input

    block = flow.to(note).if_condition(lambda data: data.input > data.get_state("limit")).to(word("over"))
    block.end_condition().to(running.keep())
    assert [running.run(flow, value)["out"] for value in (11, 10)] == ["over", 10]


def test_a_condition_only_looks(flow: TriggerFlow) -> None:
    def meddle(data: Any) -> bool:
        data.set_state("meddled", True)
        data.emit("E")
        return True

    flow.to(running.same).if_condition(meddle).end_condition().to(running.keep())
    flow.when("E").to(running.append())
    assert running.run(flow, 5) == {"out": 5}


# -- conditions that raise


@pytest.mark.parametrize("mode", ["hit_first", "hit_all"])
@pytest.mark.parametrize("place", ["after a chunk", "at the start", "after a join"])
def test_a_condition_that_raises_fails_its_routing_and_can_be_retried(flow: TriggerFlow, mode: Any, place: str) -> None:
    broken = [True]

    def first(data: Any) -> Any:
        data.append_state("log", data.input)
        return data.input

    def check(data: Any) -> bool:
        if broken:
            raise LookupError("no rule")
        return True

    process = {
        "after a chunk": lambda: flow.to(first),
        "at the start": lambda: flow.side_branch(first),
        "after a join": lambda: flow.batch(("a", first)).to(lambda data: data.input["a"]),
    }[place]()
    process.match(mode=mode).case(check).to(word("held")).end_match().to(running.keep())
    execution, error = running.broken(flow, 5, LookupError)
    assert str(error) == "no rule"
    assert running.log(execution) == [5]
    (failed,) = running.steps(execution, "failed")
    assert (failed.kind, failed.node.rpartition("/")[2], failed.error["type"]) == (
        StepKind.ROUTE,
        "match-1",
        "LookupError",
    )
    with pytest.raises(LookupError):
        execution.retry()
    broken.clear()
    assert execution.retry() == 1
    assert (running.log(execution), execution.get_state("out")) == ([5], "held" if mode == "hit_first" else ["held"])
    running.nothing_is_left(execution)


def test_only_the_choice_whose_condition_raised_is_left_over(flow: TriggerFlow) -> None:
    def fail(data: Any) -> bool:
        raise LookupError("no rule")

    place = flow.to(running.same)
    place.match().case(fail).to(word("never")).end_match().to(running.keep("never"))
    place.match().case(5).to(word("five")).end_match().to(running.keep())
    execution, _ = running.broken(flow, 5, LookupError)
    assert execution.get_state() == {"out": "five"}
    assert Step.objects.get(kind=StepKind.ROUTE).status == "failed"


def test_in_a_loop_only_the_item_whose_condition_raised_stops(flow: TriggerFlow) -> None:
    broken = [True]

    def check(data: Any) -> bool:
        if data.input == 2 and broken:
            raise LookupError("no rule")
        return True

    flow.for_each(concurrency=1).if_condition(check).to(running.append()).end_condition().end_for_each().to(
        running.keep()
    )
    execution, _ = running.broken(flow, [1, 2, 3], LookupError)
    assert running.log(execution) == [1, 3]
    broken.clear()
    execution.retry()
    assert execution.get_state() == {"log": [1, 3, 2], "out": [1, 2, 3]}
    running.nothing_is_left(execution)
