"""``collect``: named branches of one chain root, joined once each of them has a value."""

from __future__ import annotations

from typing import Any

import pytest

from tests.flows import running
from triggerflow_django import TriggerFlow

pytestmark = pytest.mark.django_db


@pytest.fixture
def flow() -> TriggerFlow:
    return TriggerFlow(name="collect")


def test_it_fires_with_the_values_by_branch_in_the_order_they_were_declared(flow: TriggerFlow) -> None:
    flow.to(lambda data: data.input + 1).to(running.same).collect("sums", "late")
    flow.to(lambda data: data.input * 2).collect("sums", "early").to(running.append())
    (value,) = running.run(flow, 10)["log"]
    assert list(value.items()) == [("late", 11), ("early", 20)]


def test_what_follows_may_be_attached_to_any_branch_and_runs_once(flow: TriggerFlow) -> None:
    flow.to(running.same, name="a").collect("c", "a").to(running.append(), name="first")
    flow.to(running.same, name="b").collect("c", "b").to(running.append("other"), name="second")
    flow.to(running.same, name="d").collect("c", "d")
    value = {"a": 1, "b": 1, "d": 1}
    assert running.run(flow, 1) == {"log": [value], "other": [value]}


def test_a_branch_without_an_id_is_called_after_the_place_it_stands_at(flow: TriggerFlow) -> None:
    flow.to(running.same, name="a").collect("c")
    flow.to(lambda data: 2).collect("c")
    flow.collect("c").to(running.append())
    assert running.run(flow, 1)["log"] == [{"a": 1, "START/lambda-1": 2, "START": 1}]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (None, [(1, 2), (3, 2), (3, 4), (5, 4)]),
        ("filled_and_update", [(1, 2), (3, 2), (3, 4), (5, 4)]),
        ("filled_then_empty", [(1, 2), (3, 4)]),
    ],
)
def test_it_fires_again_on_every_later_value_or_starts_anew(flow: TriggerFlow, mode: Any, expected: Any) -> None:
    start = flow.when("E")
    start.if_condition(lambda data: data.input % 2).collect("c", "odd", mode=mode)
    start.if_condition(lambda data: data.input % 2 == 0).collect("c", "even", mode).to(running.append())
    execution = running.begin(flow)
    for value in (1, 2, 3, 4, 5):
        execution.emit("E", value)
        running.balanced(execution)
    assert running.log(execution) == [{"odd": odd, "even": even} for odd, even in expected]


def test_of_a_repeated_branch_the_latest_value_counts(flow: TriggerFlow) -> None:
    start = flow.when("E")
    start.if_condition(lambda data: data.input < 10).collect("c", "small")
    start.if_condition(lambda data: data.input >= 10).collect("c", "large").to(running.append())
    execution = running.begin(flow)
    for value in (1, 2, 10):
        execution.emit("E", value)
    assert running.log(execution) == [{"small": 2, "large": 10}]


def test_collections_of_one_name_under_different_roots_are_different(flow: TriggerFlow) -> None:
    flow.to(running.same, name="a").collect("c", "a").to(running.append(), name="at start")
    flow.when("E").to(running.same, name="b").collect("c", "b").to(running.append(), name="at event")
    execution = running.begin(flow, 1)
    execution.emit("E", 2)
    assert running.log(execution) == [{"a": 1}, {"b": 2}]


def test_branches_before_and_after_a_pause_are_collected(flow: TriggerFlow) -> None:
    flow.to(running.same, name="a").collect("c", "a")
    flow.to(lambda data: data.pause_for(interrupt_id="q")).collect("c", "b").to(running.append())
    execution = running.begin(flow, 1)
    assert running.log(execution) == []
    running.answer(execution, "q", "yes")
    assert running.log(execution) == [{"a": 1, "b": "yes"}]


@pytest.mark.parametrize("mode", ["filled_and_update", "filled_then_empty"])
def test_each_item_of_a_loop_collects_for_itself(flow: TriggerFlow, mode: Any) -> None:
    body = flow.for_each(concurrency=2).to(lambda data: [data.input])
    body.to(running.same, name="a").collect("c", "a", mode=mode)
    body.to(running.same, name="b").to(running.same, name="b later").collect("c", "b").end_for_each().to(running.keep())
    assert running.run(flow, [1, 2, 3])["out"] == [{"a": [n], "b": [n]} for n in (1, 2, 3)]


def test_all_cases_that_hold_are_collected_together(flow: TriggerFlow) -> None:
    block = flow.match(mode="hit_all").case(1).to(running.same, name="a").collect("c", "a")
    block = block.case(1).to(running.same, name="b").collect("c", "b")
    block.case(1).end_match().to(running.append())
    assert running.run(flow, 1)["log"] == [[{"a": 1, "b": 1}, {"a": 1, "b": 1}, 1]]


def test_a_long_event_name_does_not_tear_a_collection_apart(flow: TriggerFlow) -> None:
    event = "E" * 200
    start = flow.when(event)
    start.to(running.same, name="a").collect("c", "a")
    start.to(running.same, name="b").collect("c", "b").to(running.append())
    execution = running.begin(flow)
    execution.emit(event, 1)
    assert running.log(execution) == [{"a": 1, "b": 1}]
