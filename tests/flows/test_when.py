"""Chains that start at events, at the end of chunks and at written state keys, and what joins them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.flows import running
from triggerflow_django import TriggerFlow, TriggerFlowExecution

pytestmark = pytest.mark.django_db


@pytest.fixture
def flow() -> TriggerFlow:
    return TriggerFlow(name="events")


def emitted(flow: TriggerFlow, *events: tuple[str, Any]) -> TriggerFlowExecution:
    """An execution into which these events came from outside, one after the other."""
    execution = running.begin(flow)
    for event, value in events:
        execution.emit(event, value)
        running.balanced(execution)
    return execution


# -- single


def test_a_chain_starts_at_each_occurrence_with_its_value(flow: TriggerFlow) -> None:
    flow.when("E").to(running.append())
    assert running.log(emitted(flow, ("E", 1), ("other", 2), ("E", {"a": [3]}), ("E", None))) == [1, {"a": [3]}, None]


@pytest.mark.parametrize("mode", ["and", "simple_or"])
@pytest.mark.parametrize("trigger", [["E"], {"event": "E"}, {"event": ["E"]}, ("E",), {"E"}])
def test_a_list_or_a_dict_of_one_is_that_one(flow: TriggerFlow, trigger: Any, mode: Any) -> None:
    flow.when(trigger, mode=mode).to(running.append())
    assert running.log(emitted(flow, ("E", 1), ("E", 2))) == [1, 2]


def test_a_chain_starts_at_the_end_of_a_chunk(flow: TriggerFlow) -> None:
    def double(data: Any) -> Any:
        return data.input * 2

    chunk = flow.chunk("doubled", double)
    flow.to(chunk)
    flow.when(chunk).to(running.append(), name="by object")
    flow.when("doubled").to(running.append(), name="by name")
    flow.when({"event": chunk}).to(running.append(), name="in a dict")
    assert running.run(flow, 4)["log"] == [8, 8, 8]


def test_the_name_of_a_chunk_comes_before_the_name_of_an_event(flow: TriggerFlow) -> None:
    flow.to(running.same, name="E")
    flow.when("E").to(running.append())
    execution = running.begin(flow, "finished")
    execution.emit("E", "emitted")
    assert running.log(execution) == ["finished"]


def test_a_name_that_was_no_chunk_yet_stays_an_event(flow: TriggerFlow) -> None:
    flow.when("E").to(running.append())
    flow.to(running.same, name="E")
    execution = running.begin(flow, "finished")
    execution.emit("E", "emitted")
    assert running.log(execution) == ["emitted"]


def test_several_chains_at_one_event_all_start(flow: TriggerFlow) -> None:
    flow.when("E").to(running.append(), name="one")
    flow.when("E").to(running.append(), name="two")
    assert running.log(emitted(flow, ("E", 1))) == [1, 1]


# -- and


def test_and_waits_for_all_and_says_what_came_from_where(flow: TriggerFlow) -> None:
    flow.when(["A", "B", "C"]).to(running.append())
    execution = emitted(flow, ("C", 3), ("A", 1))
    assert running.log(execution) == []
    execution.emit("B", None)
    (payload,) = running.log(execution)
    assert payload == {"event": {"A": 1, "B": None, "C": 3}}
    assert list(payload["event"]) == ["A", "B", "C"]


def test_of_a_repeated_event_the_latest_counts(flow: TriggerFlow) -> None:
    flow.when(["A", "B"]).to(running.append())
    assert running.log(emitted(flow, ("A", 1), ("A", 2), ("B", 3))) == [{"event": {"A": 2, "B": 3}}]


def test_after_it_has_fired_a_join_is_empty_again(flow: TriggerFlow) -> None:
    flow.when(["A", "B"]).to(running.append())
    execution = emitted(flow, ("A", 1), ("B", 2), ("B", 3), ("B", 4))
    assert len(running.log(execution)) == 1
    execution.emit("A", 5)
    assert running.log(execution) == [{"event": {"A": 1, "B": 2}}, {"event": {"A": 5, "B": 4}}]
    (join,) = running.joins(execution)
    assert (join.generation, join.filled) == (2, 0)


def test_and_over_events_chunks_and_state_keys(flow: TriggerFlow) -> None:
    chunk = flow.chunk("checked", lambda data: "done")
    flow.to(chunk)
    flow.when({"event": ["paid", chunk], "runtime_data": ["user", "user.name"]}).to(running.append())
    execution = running.begin(flow)
    execution.set_state("user", {"name": "Ann"})
    execution.set_state("user.name", "Bob")
    execution.emit("paid", 5)
    assert running.log(execution) == [
        {"event": {"paid": 5, "checked": "done"}, "runtime_data": {"user": {"name": "Ann"}, "user.name": "Bob"}}
    ]


def test_an_event_of_a_chunk_joins_one_from_outside(flow: TriggerFlow) -> None:
    flow.to(lambda data: data.emit("approved", data.input))
    flow.when(["approved", "paid"]).to(running.append())
    execution = running.begin(flow, "yes")
    assert running.log(execution) == []
    execution.emit("paid", 5)
    assert running.log(execution) == [{"event": {"approved": "yes", "paid": 5}}]


def asking(flow: TriggerFlow) -> None:
    flow.to(lambda data: data.pause_for(interrupt_id="q")).to(lambda data: data.emit("approved", data.input))
    flow.when(["approved", "paid"]).to(running.append())


def test_an_event_before_a_pause_joins_one_after_it(flow: TriggerFlow) -> None:
    asking(flow)
    execution = emitted(flow, ("paid", 5))
    running.answer(execution, "q", "yes")
    assert running.log(execution) == [{"event": {"approved": "yes", "paid": 5}}]


def test_an_event_after_a_pause_joins_one_after_the_answer(flow: TriggerFlow) -> None:
    asking(flow)
    execution = running.begin(flow)
    running.answer(execution, "q", "yes")
    assert running.log(execution) == []
    execution.emit("paid", 6)
    assert running.log(execution) == [{"event": {"approved": "yes", "paid": 6}}]


def test_an_event_from_an_if_branch_joins_one_from_outside(flow: TriggerFlow) -> None:
    flow.if_condition(lambda data: data.input > 100).to(lambda data: data.emit("approved")).end_condition()
    flow.when(["approved", "paid"]).to(running.append())
    execution = running.begin(flow, 500)
    execution.emit("paid")
    assert running.log(execution) == [{"event": {"approved": None, "paid": None}}]


def test_events_of_two_branches_of_a_batch_join(flow: TriggerFlow) -> None:
    flow.batch(("legal", lambda data: data.emit("A", 1)), ("finance", lambda data: data.emit("B", 2)))
    flow.when(["A", "B"]).to(running.append())
    assert running.run(flow)["log"] == [{"event": {"A": 1, "B": 2}}]


def test_two_branches_of_a_batch_join_by_their_names_too(flow: TriggerFlow) -> None:
    flow.batch(("legal", lambda data: 1), ("finance", lambda data: 2))
    flow.when(["legal", "finance"]).to(running.append())
    assert running.run(flow)["log"] == [{"event": {"legal": 1, "finance": 2}}]


def test_events_of_all_cases_that_hold_join(flow: TriggerFlow) -> None:
    block = flow.match(mode="hit_all").case(1).to(lambda data: data.emit("A"))
    block.case(1).to(lambda data: data.emit("B")).end_match()
    flow.when(["A", "B"]).to(running.append())
    assert running.run(flow, 1)["log"] == [{"event": {"A": None, "B": None}}]


def test_events_of_one_item_join_and_those_of_two_items_do_not(flow: TriggerFlow) -> None:
    flow.for_each().to(lambda data: [data.emit(event, data.input[event]) for event in data.input]).end_for_each()
    flow.when(["A", "B"]).to(running.append())
    items = [{"A": 1, "B": 2}, {"A": 3}, {"B": 4}, {"B": 5, "A": 6}]
    assert running.run(flow, items)["log"] == [{"event": {"A": 1, "B": 2}}, {"event": {"A": 6, "B": 5}}]


def test_a_batch_inside_an_item_joins_within_that_item(flow: TriggerFlow) -> None:
    body = flow.for_each().batch(
        ("a", lambda data: data.emit("A", data.input)), ("b", lambda data: data.emit("B", data.input))
    )
    body.end_for_each()
    flow.when(["A", "B"]).to(running.append())
    assert running.run(flow, [1, 2])["log"] == [{"event": {"A": 1, "B": 1}}, {"event": {"A": 2, "B": 2}}]


# -- or


def test_or_tells_of_each_what_it_was(flow: TriggerFlow) -> None:
    flow.when({"event": ["A", "B"], "runtime_data": "key"}, mode="or").to(running.append())
    execution = emitted(flow, ("B", 2), ("A", 1))
    execution.set_state("key", 3)
    assert running.log(execution) == [["event", "B", 2], ["event", "A", 1], ["runtime_data", "key", 3]]


def test_simple_or_passes_the_values_alone(flow: TriggerFlow) -> None:
    flow.when(["A", "B"], mode="simple_or").to(running.append())
    assert running.log(emitted(flow, ("B", 2), ("A", 1), ("A", None))) == [2, 1, None]
