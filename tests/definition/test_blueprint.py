"""A flow becomes data and a flow again: the same nodes, the same fingerprint, the same behaviour."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.flows import random_flows
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.definition.blueprint import Blueprint
from triggerflow_django.definition.flow import FlowDefinition

pytestmark = pytest.mark.once


def ask(data: Any) -> Any:
    return data.pause_for()


def commit(data: Any) -> None:
    data.set_state("d", data.input)


async def tell(data: Any) -> None:
    """Tell somebody."""


def is_small(data: Any) -> bool:
    return bool(data.input < 3)


def everything(name: str = "everything") -> FlowDefinition:
    """A flow with a node of every kind and every option."""
    flow = FlowDefinition(name, skip_exceptions=True)
    pay = flow.chunk("pay out", commit)
    retried = flow.chunk("retried", retries=3, backoff=0.5, timeout=None, queue="slow")(commit)  # type: ignore[call-overload]
    atomic = flow.chunk(atomic=True, timeout=9)(commit)
    flow.set_contract(initial_input={"type": "object"}, meta={"owner": "desk"})
    chain = flow.to(ask).side_branch(("aside", tell)).to(atomic).batch(("a", tell), ("b", ask), concurrency=2)
    chain = chain.for_each(3).to(("each", commit)).match(mode="hit_all").case({"x": [1, None]}).to(("m", tell))
    chain = chain.case(is_small).to(("n", tell)).case_else().to(("o", tell)).end_match().end_for_each()
    chain = chain.if_condition("yes").to(pay).else_condition().to(retried).end_condition()
    chain.intervention_point("point", "desk").collect("both", "one", mode="filled_then_empty")
    flow.when(["A", "B"], mode="or").collect("both", "two").to(("p", tell))
    flow.when({"event": "A", "runtime_data": ["user.name"], "flow_data": "limit"}).to(("q", tell))
    flow.when("A").to(("r", tell)).collect("c", "x")
    flow.when("A").to(("s", tell)).collect("c", "x").to("ask")
    return flow


def register(flow: FlowDefinition) -> FlowDefinition:
    """The same functions for a flow that is loaded."""
    for handler in (ask, commit, tell):
        flow.register_chunk_handler(handler)
    return flow.register_condition_handler(is_small)


def assert_same(one: FlowDefinition, other: FlowDefinition) -> None:
    """Two flows with the same nodes, edges and options."""
    assert one.graph.fingerprint == other.graph.fingerprint
    assert list(one.graph.nodes) == list(other.graph.nodes)
    assert one.graph.edges == other.graph.edges
    assert one.contract.json_schemas() == other.contract.json_schemas()
    for mine, theirs in zip(one.graph.nodes.values(), other.graph.nodes.values(), strict=True):
        assert (mine.kind, mine.mode, mine.slots, mine.partner) == (
            theirs.kind,
            theirs.mode,
            theirs.slots,
            theirs.partner,
        )
        assert mine.concurrency == theirs.concurrency
        if mine.chunk is not None and theirs.chunk is not None:
            assert (mine.chunk.id, mine.chunk.name) == (theirs.chunk.id, theirs.chunk.name)
            assert mine.chunk.options == theirs.chunk.options
            assert mine.chunk.is_async == theirs.chunk.is_async


@pytest.mark.parametrize("way", ["config", "json", "yaml", "blueprint", "stored blueprint"])
def test_a_flow_with_everything_comes_back_the_same(way: str) -> None:
    flow = everything()
    copy = register(FlowDefinition())
    match way:
        case "config":
            copy.load_flow_config(flow.get_flow_config())
        case "json":
            copy.load_json_flow(flow.get_json_flow())
        case "yaml":
            copy.load_yaml_flow(flow.get_yaml_flow())
        case "blueprint":
            copy.load_blueprint(flow.save_blueprint())
        case _:
            copy.load_blueprint(json.loads(json.dumps(flow.save_blueprint())))
    assert_same(flow, copy)
    assert copy.skip_exceptions
    assert copy.get_flow_config() == {**flow.get_flow_config(), "name": copy.name}


def test_what_is_written_after_loading_gets_the_ids_it_would_have_got() -> None:
    flow, copy = everything(), register(FlowDefinition("everything"))
    copy.load_flow_config(flow.get_flow_config())
    for each in (flow, copy):
        each.when("A").to(("t", commit)).collect("c", "x").to("pay out").to(lambda data: data)
        each.to(ask).batch(("u", tell), ("v", tell))
    assert_same(flow, copy)


@given(random_flows.descriptions)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_flow_comes_back_the_same(description: random_flows.Description) -> None:
    flow = random_flows.write(description)
    copy = TriggerFlow(name="random")
    for node in flow.graph.nodes.values():
        if node.chunk is not None:
            flow.register_chunk_handler(node.chunk.handler, name=f"run {node.chunk.name}")
            copy.register_chunk_handler(node.chunk.handler, name=f"run {node.chunk.name}")
        for number, condition in enumerate(node.conditions):
            if callable(condition):
                flow.register_condition_handler(condition, name=f"{node.id} {number}")
                copy.register_condition_handler(condition, name=f"{node.id} {number}")
    copy.load_json_flow(flow.get_json_flow())
    assert_same(flow, copy)
    again = TriggerFlow(name="random").load_blueprint(flow.save_blueprint())
    assert_same(flow, again)


def test_a_loaded_flow_keeps_its_name_and_a_nameless_one_takes_it() -> None:
    config = FlowDefinition("source").to(ask) and everything("source").get_flow_config()
    assert register(FlowDefinition("mine")).load_flow_config(config).name == "mine"
    assert register(FlowDefinition()).load_flow_config(config).name == "source"


def test_a_document_is_not_merged_into_a_flow_with_chunks() -> None:
    text = everything().get_json_flow()
    assert_same(register(FlowDefinition("f")).load_json_flow(text, replace=False), everything())
    with pytest.raises(ValueError, match="merged"):
        everything().load_json_flow(text, replace=False)


# -- functions


def test_everything_without_a_name_is_told_at_once_with_its_place() -> None:
    def other() -> Any:
        def ask(data: Any) -> None: ...

        return ask

    flow = FlowDefinition("f")
    flow.to(lambda data: data).match().case(lambda data: True).to(ask).case({1, 2}).to(("second", other())).end_match()
    flow.when("E").match().case((1, 2)).to(commit).end_match()
    with pytest.raises(exceptions.UnboundHandlerError) as refused:
        flow.get_flow_config()
    assert isinstance(refused.value, ValueError)
    told = "\n".join(refused.value.missing)
    assert len(refused.value.missing) == 5
    for part in (
        "$.nodes[0]: chunk START/lambda-1 is a lambda",
        "a case of START/lambda-1/match-1 is a lambda",
        "set is not JSON",
        "chunk second is another function called 'ask'",
        "(1, 2) is not JSON",
    ):
        assert part in told
    assert flow.get_flow_config(validate_serializable=False)["nodes"]


def test_a_blueprint_needs_no_names_in_its_own_process() -> None:
    flow = FlowDefinition("f")
    flow.to(lambda data: data).if_condition(lambda data: True).to(ask).end_condition()
    blueprint = flow.save_blueprint()
    assert isinstance(blueprint, Blueprint)
    copy = FlowDefinition("g").load_blueprint(blueprint)
    assert_same(flow, copy)
    assert FlowDefinition("h", blueprint=blueprint).graph.fingerprint == flow.graph.fingerprint
    with pytest.raises(exceptions.UnboundHandlerError):
        FlowDefinition("g").load_blueprint(json.loads(json.dumps(blueprint)))


def test_every_missing_function_is_told_at_once() -> None:
    config = everything().get_flow_config()
    flow = FlowDefinition("f").register_chunk_handler(commit)
    before = flow.graph
    with pytest.raises(exceptions.UnboundHandlerError) as refused:
        flow.load_flow_config(config)
    told = "\n".join(refused.value.missing)
    assert "'ask' (chunk ask)" in told
    assert "'tell' (chunk aside)" in told
    assert "condition handler is registered as 'is_small'" in told
    assert "commit" not in told
    assert flow.graph is before


def test_a_lambda_is_not_registered_without_a_name_and_a_name_not_for_two() -> None:
    flow = FlowDefinition("f")
    with pytest.raises(ValueError, match="lambda"):
        flow.register_chunk_handler(lambda data: data)
    flow.register_chunk_handler(lambda data: data, name="l")
    with pytest.raises(ValueError, match="another chunk handler"):
        flow.register_chunk_handler(ask, name="l")
    with pytest.raises(ValueError, match="does not start"):
        flow.register_chunk_handler(ask, name="<x>")
    with pytest.raises(ValueError, match="give a function"):
        flow.register_condition_handler("ask")


def test_a_registered_lambda_travels_by_its_name() -> None:
    double = lambda data: data.input * 2  # noqa: E731
    flow = FlowDefinition("f").register_chunk_handler(double, name="double")
    flow.to(double)
    copy = FlowDefinition("f").register_chunk_handler(double, name="double").load_flow_config(flow.get_flow_config())
    assert_same(flow, copy)


# -- sub flows


def test_sub_flows_travel_inside_also_one_that_contains_itself() -> None:
    inner = FlowDefinition("inner")
    outer = FlowDefinition("outer")
    inner.to(ask).if_condition("again").to_sub_flow(inner, name="again").to_sub_flow(outer, name="all").end_condition()
    outer.to(commit).to_sub_flow(
        inner,
        capture={"input": {"a": "value.x.y"}, "runtime_data": {"k": "value"}},
        write_back={"value": "result.z", "runtime_data": {"r": "result"}},
        concurrency=2,
    ).to(inner, side_branch=True)
    copy = register(FlowDefinition("outer")).load_json_flow(outer.get_json_flow())
    assert_same(outer, copy)
    pairs = [
        (mine.sub_flow, theirs.sub_flow)
        for mine, theirs in zip(outer.graph.nodes.values(), copy.graph.nodes.values(), strict=True)
        if mine.sub_flow is not None
    ]
    assert len(pairs) == 2
    for mine, theirs in pairs:
        assert theirs is not None
        assert (mine.id, mine.name, mine.capture) == (theirs.id, theirs.name, theirs.capture)
        assert (mine.write_back, mine.concurrency) == (theirs.write_back, theirs.concurrency)
        assert_same(mine.flow, theirs.flow)
        again, whole = theirs.flow.graph.nodes["again"].sub_flow, theirs.flow.graph.nodes["all"].sub_flow
        assert again is not None
        assert whole is not None
        assert again.flow is theirs.flow
        assert whole.flow is copy


# -- text and files


def test_json_and_yaml_go_to_files_and_come_from_files(tmp_path: Path) -> None:
    flow = everything()
    for write, load, name in (
        (flow.get_json_flow, "load_json_flow", "f.json"),
        (flow.get_yaml_flow, "load_yaml_flow", "f.yaml"),
    ):
        write(tmp_path / "new" / name)
        for given_as in (tmp_path / "new" / name, str(tmp_path / "new" / name)):
            assert_same(flow, getattr(register(FlowDefinition()), load)(given_as))


def test_without_pyyaml_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(exceptions.DefinitionError, match=r"triggerflow-django\[yaml\]"):
        everything().get_yaml_flow()
    with pytest.raises(exceptions.DefinitionError, match=r"triggerflow-django\[yaml\]"):
        FlowDefinition("f").load_yaml_flow("a: 1\nb: 2")


def test_types_of_a_contract_stay_types_in_the_same_process_and_become_schemas_elsewhere() -> None:
    flow = FlowDefinition("f").set_contract(initial_input=int)
    flow.to(ask)
    assert FlowDefinition("g").load_blueprint(flow.save_blueprint()).contract.checked("initial_input", "5") == 5
    elsewhere = register(FlowDefinition("g")).load_flow_config(flow.get_flow_config())
    with pytest.raises(exceptions.ContractError):
        elsewhere.contract.checked("initial_input", "5")
