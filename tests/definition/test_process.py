"""The chain you write: what ``to`` and its kin attach, and what is refused where it is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from triggerflow_django import exceptions
from triggerflow_django.definition.flow import FlowDefinition
from triggerflow_django.definition.graph import START, Edge

Write = Callable[[FlowDefinition], Any]


def ask(data: Any) -> Any:
    return data.input


def check(data: Any) -> Any:
    return data.input


def commit(data: Any) -> Any:
    return data.input


@pytest.fixture
def flow() -> FlowDefinition:
    return FlowDefinition("refund")


def listeners(flow: FlowDefinition, kind: str, name: str) -> list[str]:
    return [edge.node for edge in flow.graph.listeners((kind, name))]


# -- to, side_branch, ____


def test_a_chain_listens_to_the_start_and_then_each_chunk_to_the_one_before(flow: FlowDefinition) -> None:
    flow.to(ask).to(check).to(commit)
    assert flow.graph.listeners(START) == (Edge("ask"),)
    assert listeners(flow, "done", "ask") == ["check"]
    assert listeners(flow, "done", "check") == ["commit"]
    assert listeners(flow, "done", "commit") == []


def test_several_chains_from_one_place_are_kept_in_the_order_they_were_written(flow: FlowDefinition) -> None:
    place = flow.to(ask)
    place.to(check)
    place.to(commit)
    place.to(check)
    assert listeners(flow, "done", "ask") == ["check", "commit"]


def test_a_side_branch_leaves_the_chain_where_it_was(flow: FlowDefinition) -> None:
    flow.to(ask).side_branch(check).to(commit)
    flow.side_branch(check, name="first").to(commit, side_branch=True)
    assert listeners(flow, "done", "ask") == ["check", "commit"]
    assert listeners(flow, "done", "check") == []
    assert listeners(flow, *START) == ["ask", "first", "commit"]


def test_a_separator_changes_nothing(flow: FlowDefinition) -> None:
    other = FlowDefinition("refund")
    flow.to(ask).to(check)
    other.____().to(ask).____("then", print=True).to(check)
    assert other.graph.fingerprint == flow.graph.fingerprint


def test_a_chunk_is_attached_by_its_name(flow: FlowDefinition) -> None:
    flow.chunk("first", ask)
    flow.to("first").to(("second", check)).to(commit, name="third")
    flow.when("again").to("third")
    assert list(flow.graph.nodes) == ["first", "second", "third"]
    assert listeners(flow, "event", "again") == ["third"]


def test_an_unknown_name_is_refused_where_it_is_written(flow: FlowDefinition) -> None:
    with pytest.raises(exceptions.UnknownChunkError, match="flow 'refund' has no chunk named 'asc'") as caught:
        flow.to("asc")
    assert isinstance(caught.value, NotImplementedError)
    with pytest.raises(exceptions.UnknownChunkError):
        flow.batch(ask, "asc")


@pytest.mark.parametrize("pair", [("name",), ("a", ask, "b"), (ask, "name"), (5, ask), ()])
def test_a_pair_is_a_name_and_a_function(flow: FlowDefinition, pair: Any) -> None:
    with pytest.raises(exceptions.DefinitionError, match=r"write \(name, function\)"):
        flow.to(pair)


# -- chunks that would follow themselves


@pytest.mark.parametrize(
    "write",
    [
        lambda flow: flow.to(ask).to(ask),
        lambda flow: flow.to(ask).side_branch(ask),
        lambda flow: flow.when(ask).to(ask),
        lambda flow: flow.to(ask).batch(ask, check),
        lambda flow: flow.to(ask).batch(check, ask),
        lambda flow: flow.to(ask).for_each().to(ask),
        lambda flow: flow.to(ask).for_each().batch(ask, check),
        lambda flow: flow.to(("a", ask)).to("a"),
    ],
)
def test_a_chunk_that_would_run_for_ever_is_refused(flow: FlowDefinition, write: Write) -> None:
    with pytest.raises(
        exceptions.DefinitionError, match=r"would follow itself and never end; give the second one a name"
    ):
        write(flow)


def test_under_another_name_it_may_follow_itself(flow: FlowDefinition) -> None:
    flow.to(ask, name="one").to(ask, name="two").batch(("three", ask), ("four", ask)).for_each().to(ask).end_for_each()
    flow.when("again").to(ask, name="one")


def test_a_loop_over_a_choice_may_be_written(flow: FlowDefinition) -> None:
    flow.to(ask).if_condition(lambda data: data.input > 3).to(ask).end_condition()
