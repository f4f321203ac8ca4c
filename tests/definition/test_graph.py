"""The frozen graph: node ids that outlive edits, a fingerprint of the shape, and what is unfinished in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from triggerflow_django.definition.flow import FlowDefinition
from triggerflow_django.definition.graph import Graph

Write = Callable[[FlowDefinition], Any]

ROOT = Path(__file__).resolve().parent.parent.parent


def ask(data: Any) -> Any:
    return data.input


def check(data: Any) -> Any:
    return data.input


def commit(data: Any) -> Any:
    return data.input


def graph(write: Write, name: str = "refund") -> Graph:
    flow = FlowDefinition(name)
    write(flow)
    return flow.graph


def everything(flow: FlowDefinition) -> None:
    """One of each construct."""
    place = flow.to(ask).to(lambda data: data.input)
    place.batch(check, ("other", check), concurrency=2).for_each().to(commit).to(lambda data: 1).end_for_each()
    place.match().case(1).to(lambda data: 2).case(lambda data: True).to(check, name="checked").end_match()
    flow.when(["A", "B"]).to(("both", ask)).collect("c", "both")
    flow.when({"event": "A", "runtime_data": "key"}, mode="or").to(("either", ask))


# -- ids


def test_ids_come_from_names_and_from_the_place_of_what_has_none() -> None:
    ids = list(graph(everything).nodes)
    assert ids == [
        "ask",
        "ask/lambda-1",
        "ask/lambda-1/batch-1",
        "ask/lambda-1/batch-1/end",
        "check",
        "other",
        "ask/lambda-1/batch-1/end/for_each-1",
        "ask/lambda-1/batch-1/end/for_each-1/end",
        "commit",
        "commit/lambda-1",
        "ask/lambda-1/match-1",
        "ask/lambda-1/match-1/end",
        "ask/lambda-1/match-1/0/lambda-1",
        "checked",
        "when(event:A,event:B)",
        "both",
        "when(event:A,event:B)/collect(c)",
        "when(or:event:A,runtime_data:key)",
        "either",
    ]


def test_an_unrelated_edit_changes_no_id_of_what_was_there() -> None:
    before = graph(everything)

    def edited(flow: FlowDefinition) -> None:
        flow.when("new event").to(lambda data: data.input).batch(("x", ask), ("y", ask))
        flow.to(("welcome", ask)).match().case(1).to(lambda data: data.input).end_match()
        everything(flow)
        flow.to(("farewell", ask)).for_each().to(lambda data: data.input).end_for_each()

    after = graph(edited)
    assert set(before.nodes) <= set(after.nodes)
    for node_id, node in before.nodes.items():
        assert dataclasses.replace(after.nodes[node_id], chunk=None, conditions=()) == dataclasses.replace(
            node, chunk=None, conditions=()
        )
    for source, edges in before.edges.items():
        assert set(edges) <= set(after.edges[source])


def test_lines_inserted_above_a_handler_change_nothing() -> None:
    source = "def ask(data):\n    return data.input\n\nflow.to(ask).to(lambda data: data.input)\n"
    shapes = []
    for text in (source, "# a comment\n\n\n" + source, source.replace("return", "x = 1\n    return")):
        flow = FlowDefinition("refund")
        exec(compile(text, "flows.py", "exec"), {"flow": flow})  # noqa: S102 - the source is above
        shapes.append((list(flow.graph.nodes), flow.graph.fingerprint))
    assert shapes[0] == shapes[1] == shapes[2]


def test_lambdas_on_one_line_are_told_apart() -> None:
    nodes = graph(lambda flow: flow.to(lambda data: 1).to(lambda data: 2)).nodes
    assert list(nodes) == ["START/lambda-1", "START/lambda-1/lambda-1"]
    conditions = graph(lambda flow: flow.match().case(lambda data: 1).case(lambda data: 2).end_match()).nodes
    one, two = conditions["START/match-1"].conditions
    assert one is not two


def test_ids_stay_short_and_different_however_deep_the_flow() -> None:
    def deep(flow: FlowDefinition) -> None:
        process: Any = flow.to(("x" * 150, ask))
        for _ in range(40):
            process = process.to(lambda data: data.input).batch(lambda data: 1, ("b" * 190, check), side_branch=True)

    def deep_twice(flow: FlowDefinition) -> None:
        deep(flow)
        flow.when("E").to(lambda data: data.input)

    nodes = graph(deep).nodes
    assert len(nodes) > 100
    assert max(map(len, nodes)) <= 210
    assert set(nodes) <= set(graph(deep_twice).nodes)


def test_a_collection_is_one_node_however_long_its_root_and_name() -> None:
    def write(flow: FlowDefinition) -> None:
        start = flow.when("E" * 200)
        start.to(ask).collect("c" * 200, "one")
        start.to(check).collect("c" * 200, "two")

    collections = [node for node in graph(write).nodes.values() if node.kind == "collect"]
    assert [node.slots for node in collections] == [("one", "two")]


def test_a_chunk_called_like_a_collection_is_not_taken_for_it() -> None:
    def write(flow: FlowDefinition) -> None:
        flow.chunk("collect(c)", ask)
        flow.to(check).collect("c", "one")

    assert [node.kind for node in graph(write).nodes.values()] == ["chunk", "chunk", "collect"]


def test_collections_of_different_roots_are_different() -> None:
    def write(flow: FlowDefinition) -> None:
        flow.to(ask).collect("c", "one")
        flow.when("E").to(check).collect("c", "two")
        flow.when("E").to(commit).collect("c", "three")

    slots = {node.id: node.slots for node in graph(write).nodes.values() if node.kind == "collect"}
    assert slots == {
        "collect(c)": ("one",),
        "when(event:E)/collect(c)": ("two",),
        "when(event:E)#2/collect(c)": ("three",),
    }


# -- the graph itself


def test_the_graph_is_frozen_and_the_flow_goes_on() -> None:
    flow = FlowDefinition("refund")
    place = flow.to(ask)
    before = flow.graph
    assert flow.graph is before
    place.to(check)
    assert list(before.nodes) == ["ask"]
    assert before.listeners(("done", "ask")) == ()
    assert list(flow.graph.nodes) == ["ask", "check"]
    block = flow.match()
    graphs = [flow.graph]
    block = block.case(1)
    graphs.append(flow.graph)
    block.case_else().end_match()
    graphs.append(flow.graph)
    choices = [known.nodes["START/match-1"] for known in graphs]
    assert [(choice.conditions, choice.has_else) for choice in choices] == [((), False), ((1,), False), ((1,), True)]


def test_a_connection_is_made_once_however_often_it_is_written() -> None:
    flow = FlowDefinition("refund")
    for _ in range(3):
        flow.to(ask).to(check)
    choice = flow.match().case(1).to(ask).case(2).to(ask).case_else().to(ask)
    choice.end_match()
    assert [edge.node for edge in flow.graph.listeners(("done", "ask"))] == ["check", "START/match-1/end"]


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (lambda flow: flow.for_each().to(ask), ["START/for_each-1 is opened and never closed: add end_for_each()"]),
        (lambda flow: flow.match().case(1).to(ask), ["START/match-1 is opened and never closed: add end_match()"]),
        (lambda flow: flow.match(), ["START/match-1 is opened and never closed: add end_match()"]),
        (
            lambda flow: flow.match().case(1).for_each().to(ask),
            [
                "START/match-1 is opened and never closed: add end_match()",
                "START/match-1/0/for_each-1 is opened and never closed: add end_for_each()",
            ],
        ),
        (lambda flow: flow.match().case(1).to(ask).case_else().end_match(), []),
        (lambda flow: flow.for_each().end_for_each(), []),
        (everything, []),
    ],
)
def test_a_block_nobody_closed_is_told(write: Write, told: list[str]) -> None:
    assert graph(write).problems() == told


def test_async_code_is_known_from_chunks_and_conditions() -> None:
    async def later(data: Any) -> bool:
        return True

    assert not graph(everything).has_async_code
    assert graph(lambda flow: flow.to(later)).has_async_code
    assert graph(lambda flow: flow.match().case(later).end_match()).has_async_code
