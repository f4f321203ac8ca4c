"""Fan-outs, choices, collections and triggers: how they are written, and what is refused where it is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from triggerflow_django import exceptions
from triggerflow_django.definition.flow import FlowDefinition
from triggerflow_django.definition.graph import START
from triggerflow_django.definition.process import Process

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


# -- batch and for_each


def test_branches_of_one_name_are_refused(flow: FlowDefinition) -> None:
    for branches in ((ask, ask), (ask, ("ask", check)), (("a", ask), ("a", check)), (lambda d: 1, lambda d: 2)):
        with pytest.raises(exceptions.DefinitionError, match="would overwrite each other's result"):
            FlowDefinition("refund").batch(*branches)


def test_a_batch_needs_a_branch(flow: FlowDefinition) -> None:
    with pytest.raises(exceptions.DefinitionError, match="at least one chunk"):
        flow.batch()


@pytest.mark.parametrize("concurrency", [0, -1, 1.5, True, "2", float("inf")])
def test_a_limit_is_a_whole_number(flow: FlowDefinition, concurrency: Any) -> None:
    for write in (lambda: flow.batch(ask, concurrency=concurrency), lambda: flow.for_each(concurrency=concurrency)):
        with pytest.raises(exceptions.DefinitionError, match="concurrency="):
            write()


def test_a_batch_on_the_side_leaves_the_chain_where_it_was(flow: FlowDefinition) -> None:
    flow.to(ask).batch(check, commit, side_branch=True).to(("after", ask))
    assert listeners(flow, "done", "ask") == ["ask/batch-1", "after"]


# -- blocks


@pytest.mark.parametrize(
    "write",
    [
        lambda flow: flow.case(1),
        lambda flow: flow.case_else(),
        lambda flow: flow.elif_condition(1),
        lambda flow: flow.else_condition(),
        lambda flow: flow.end_match(),
        lambda flow: flow.end_condition(),
        lambda flow: flow.end_for_each(),
        lambda flow: flow.to(ask).case(1),
        lambda flow: flow.to(ask).end_for_each(),
        lambda flow: flow.when("E").end_match(),
        lambda flow: flow.for_each().case(1),
        lambda flow: flow.for_each().end_match(),
        lambda flow: flow.for_each().to(ask).end_for_each().end_for_each(),
        lambda flow: flow.match().case(1).end_for_each(),
        lambda flow: flow.match().case(1).for_each().case(2),
        lambda flow: flow.match().case(1).end_match().case(2),
        lambda flow: flow.match().case_else(),
        lambda flow: flow.match().end_match(),
        lambda flow: flow.match().to(ask),
        lambda flow: flow.match().batch(ask),
        lambda flow: flow.match().for_each(),
        lambda flow: flow.match().match(),
        lambda flow: flow.match().collect("c"),
        lambda flow: flow.match().side_branch(ask),
        lambda flow: flow.match().case(1).case_else().case(2),
        lambda flow: flow.match().case(1).case_else().case_else(),
        lambda flow: flow.if_condition(1).else_condition().elif_condition(2),
    ],
)
def test_a_block_that_is_out_of_place_is_refused_where_it_is_written(flow: FlowDefinition, write: Write) -> None:
    with pytest.raises(exceptions.MisplacedBlockError) as caught:
        write(flow)
    assert isinstance(caught.value, NotImplementedError)


def test_blocks_inside_one_another_close_from_the_inside_out(flow: FlowDefinition) -> None:
    process = (
        flow.match()
        .case(1)
        .for_each()
        .match()
        .case("a")
        .to(ask)
        .case_else()
        .for_each()
        .to(check)
        .end_for_each()
        .end_match()
        .end_for_each()
        .case_else()
        .to(commit)
        .end_match()
    )
    assert isinstance(process, Process)
    assert flow.graph.problems() == []
    with pytest.raises(exceptions.MisplacedBlockError):
        process.end_match()


def test_if_and_its_kin_are_match_and_its_kin(flow: FlowDefinition) -> None:
    other = FlowDefinition("refund")
    flow.match().case(1).to(ask).case(2).to(check).case_else().to(commit).end_match()
    other.if_condition(1).to(ask).elif_condition(2).to(check).else_condition().to(commit).end_condition()
    assert other.graph.fingerprint == flow.graph.fingerprint


def test_a_match_knows_two_modes(flow: FlowDefinition) -> None:
    with pytest.raises(exceptions.DefinitionError, match="hit_first"):
        flow.match(mode="all")  # type: ignore[arg-type]


# -- collect and when


def test_a_collection_has_one_mode(flow: FlowDefinition) -> None:
    with pytest.raises(exceptions.DefinitionError, match="filled_and_update"):
        flow.collect("c", mode="latest")  # type: ignore[arg-type]
    flow.to(ask).collect("c")
    flow.to(check).collect("c", mode="filled_then_empty")
    with pytest.raises(exceptions.DefinitionError, match="declared with mode"):
        flow.to(commit).collect("c", mode="filled_and_update")


@pytest.mark.parametrize("name", ["", "x" * 201, "a\x00b", "\ud800", 5, None])
def test_names_of_collections_events_and_keys_are_texts_every_database_takes(flow: FlowDefinition, name: Any) -> None:
    for write in (
        lambda: flow.to(ask).collect(name),
        lambda: flow.when(name),
        lambda: flow.when(["A", name]),
        lambda: flow.when({"runtime_data": name}),
    ):
        with pytest.raises(exceptions.DefinitionError):
            write()
    if name is not None:
        with pytest.raises(exceptions.DefinitionError):
            flow.to(ask).collect("c", name)


@pytest.mark.parametrize("triggers", [[], {}, {"event": []}, (), set()])
def test_a_chain_needs_a_trigger(flow: FlowDefinition, triggers: Any) -> None:
    with pytest.raises(exceptions.DefinitionError, match="at least one trigger"):
        flow.when(triggers)


def test_what_is_no_trigger_is_refused(flow: FlowDefinition) -> None:
    for write in (
        lambda: flow.when("A", mode="xor"),  # type: ignore[arg-type]
        lambda: flow.when({"collect": "c"}),
        lambda: flow.when({"event": "A", "state": "b"}),
        lambda: flow.when({"runtime_data": ask}),
        lambda: flow.when(lambda data: data.input > 3),
    ):
        with pytest.raises(exceptions.DefinitionError):
            write()


def test_a_chunk_is_a_trigger_as_object_as_function_and_by_name(flow: FlowDefinition) -> None:
    chunk = flow.chunk("asked", ask)
    flow.when(chunk).to(check)
    flow.when("asked").to(commit)
    flow.when(check).to(("after", ask))
    assert listeners(flow, "done", "asked") == ["check", "commit"]
    assert listeners(flow, "done", "check") == ["after"]


def test_a_chunk_of_another_flow_triggers_by_its_copy_here(flow: FlowDefinition) -> None:
    foreign = FlowDefinition("other").chunk("asked", ask)
    flow.chunk("asked", commit)
    flow.to(foreign)
    flow.when(foreign).to(check)
    assert listeners(flow, *START) == ["asked#2"]
    assert listeners(flow, "done", "asked#2") == ["check"]
    assert listeners(flow, "done", "asked") == []
