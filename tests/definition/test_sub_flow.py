"""``to_sub_flow`` where it is written: what it takes, what it refuses, and what it leaves in the graph."""

from __future__ import annotations

from typing import Any

import pytest

from triggerflow_django import exceptions
from triggerflow_django.definition import mapping
from triggerflow_django.definition.flow import FlowDefinition


def one(data: Any) -> Any:
    return data.input


async def later(data: Any) -> Any:
    return data.input


@pytest.fixture
def child() -> FlowDefinition:
    child = FlowDefinition("child")
    child.to(one)
    return child


@pytest.fixture
def flow() -> FlowDefinition:
    return FlowDefinition("parent")


def sub_flows(flow: FlowDefinition) -> dict[str, str]:
    nodes = flow.graph.nodes.values()
    return {node.id: node.sub_flow.name for node in nodes if node.sub_flow is not None}


def test_a_sub_flow_is_a_node_of_its_own_kind_that_what_follows_listens_to(
    flow: FlowDefinition, child: FlowDefinition
) -> None:
    flow.to_sub_flow(child, name="work").to(one, name="after")
    assert flow.graph.nodes["work"].kind == "sub_flow"
    assert [edge.node for edge in flow.graph.listeners(("done", "work"))] == ["after"]


def test_to_takes_a_flow_and_so_does_a_batch(flow: FlowDefinition, child: FlowDefinition) -> None:
    flow.to(child).batch(("a", child), ("b", child), one)
    assert sorted(sub_flows(flow).values()) == ["a", "b", "child"]
    assert next(node for node in flow.graph.nodes.values() if node.kind == "batch").slots == ("a", "b", "one")


def test_each_attachment_is_a_node_of_its_own(flow: FlowDefinition, child: FlowDefinition) -> None:
    flow.to(child).to(child).to(child, name="third")
    assert len(sub_flows(flow)) == 3


def test_a_side_branch_stays_where_it_was(flow: FlowDefinition, child: FlowDefinition) -> None:
    flow.to(one).to_sub_flow(child, side_branch=True, name="aside").to(one, name="after")
    assert {edge.node for edge in flow.graph.listeners(("done", "one"))} == {"aside", "after"}


def test_the_name_of_the_child_is_no_part_of_the_shape(child: FlowDefinition) -> None:
    shapes = set()
    for inner in (child, FlowDefinition("other")):
        flow = FlowDefinition("parent")
        flow.to(one).to(inner)
        shapes.add(flow.graph.fingerprint)
    assert len(shapes) == 1


def test_async_code_of_a_child_counts_however_deep(flow: FlowDefinition, child: FlowDefinition) -> None:
    middle = FlowDefinition("middle")
    middle.to(child)
    flow.to(middle)
    assert not flow.graph.has_async_code
    child.to(later)
    assert flow.graph.has_async_code


def test_a_flow_may_contain_itself(flow: FlowDefinition) -> None:
    flow.to(one).if_condition(lambda data: data.input > 0).to(flow).end_condition()
    assert flow.graph.has_sub_flows
    assert len(list(flow.graph.with_sub_flows())) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"capture": {"nowhere": {"a": "value"}}},
        {"capture": {"input": "elsewhere.a"}},
        {"capture": {"input": ""}},
        {"capture": {"input": "value..a"}},
        {"capture": {"input": {"a b": "value"}}},
        {"capture": {"input": {"": "value"}}},
        {"capture": {"runtime_data": {"a": "value", "a.b": "value"}}},
        {"write_back": {"input": "result"}},
        {"write_back": {"value": "value"}},
        {"write_back": {"runtime_data": {"a": "state.a"}}},
        {"concurrency": 0},
        {"concurrency": True},
        {"name": ""},
    ],
)
def test_a_scope_or_path_there_is_none_of_is_refused(
    flow: FlowDefinition, child: FlowDefinition, options: dict[str, Any]
) -> None:
    with pytest.raises(exceptions.DefinitionError) as caught:
        flow.to_sub_flow(child, **options)
    assert isinstance(caught.value, ValueError)
    assert sub_flows(flow) == {}


@pytest.mark.parametrize(
    "options",
    [
        {"capture": "value"},
        {"capture": {1: "value"}},
        {"capture": {"runtime_data": "value"}},
        {"capture": {"input": 3}},
        {"capture": {"input": {1: "value"}}},
        {"capture": {"input": {"a": None}}},
        {"write_back": ["result"]},
        {"write_back": {"runtime_data": "result"}},
    ],
)
def test_something_of_another_type_is_a_type_error(
    flow: FlowDefinition, child: FlowDefinition, options: dict[str, Any]
) -> None:
    with pytest.raises(exceptions.MappingTypeError) as caught:
        flow.to_sub_flow(child, **options)
    assert isinstance(caught.value, TypeError)


def test_what_is_no_flow_is_a_type_error(flow: FlowDefinition) -> None:
    with pytest.raises(TypeError, match="takes a flow, not function"):
        flow.to_sub_flow(one)  # type: ignore[arg-type]


def test_a_place_is_looked_up_and_what_is_missing_is_named() -> None:
    assert mapping.look_up({"a": {"b": 1}}, ("a", "b"), scope="value") == 1
    with pytest.raises(KeyError, match=r"nothing at value\.a\.c"):
        mapping.look_up({"a": {"b": 1}}, ("a", "c"), scope="value")


def test_the_final_result_is_looked_at_before_the_snapshot() -> None:
    snapshot = {"$final_result": {"a": 1}, "a": 2, "b": 3}
    assert mapping.look_up_result(snapshot, (), final="$final_result") == {"a": 1}
    assert mapping.look_up_result(snapshot, ("a",), final="$final_result") == 1
    assert mapping.look_up_result(snapshot, ("b",), final="$final_result") == 3
    assert mapping.look_up_result({"a": 2}, (), final="$final_result") == {"a": 2}


def test_a_value_is_put_at_a_place_without_changing_the_old_one() -> None:
    old = {"a": {"b": 1}, "c": 2}
    assert mapping.put(old, ("a", "d"), 3) == {"a": {"b": 1, "d": 3}, "c": 2}
    assert old == {"a": {"b": 1}, "c": 2}
    assert mapping.put("text", ("a",), 3) == {"a": 3}
    assert mapping.put("text", (), 3) == 3
