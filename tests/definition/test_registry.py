"""The flows a process knows by name."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from triggerflow_django import exceptions
from triggerflow_django import register as public_register
from triggerflow_django.definition import registry
from triggerflow_django.definition.flow import FlowDefinition

NAMES = ("registry test one", "registry test two")


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    yield
    for name in NAMES:
        registry.unregister(name)


def flow(name: str = NAMES[0]) -> FlowDefinition:
    return FlowDefinition(name)


def test_a_registered_flow_is_found_by_its_name() -> None:
    known = flow()
    assert registry.register(known) is known
    assert registry.find(NAMES[0]) is registry.get(NAMES[0]) is known
    assert registry.is_registered(known)
    assert not registry.is_registered(flow())


def test_the_public_name_registers_too() -> None:
    assert public_register is registry.register


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    registry.register(flow())
    assert registry.find("unknown") is None
    with pytest.raises(exceptions.UnknownFlowError, match=f"no flow named 'unknown' .*{NAMES[0]}.*register"):
        registry.get("unknown")


def test_the_first_flow_of_a_name_stays_and_the_second_is_noted() -> None:
    first, second = flow(), flow()
    registry.register(first, origin="shop.flows")
    registry.register(second, origin="other.flows")
    registry.register(first, origin="again.flows")
    assert registry.find(NAMES[0]) is first
    assert [entry for entry in registry.duplicates() if entry[0] == NAMES[0]] == [
        (NAMES[0], "shop.flows", "other.flows")
    ]
    registry.unregister(NAMES[0])
    assert registry.find(NAMES[0]) is None
    assert not [entry for entry in registry.duplicates() if entry[0] == NAMES[0]]


def test_flows_come_by_name() -> None:
    one, two = flow(NAMES[0]), flow(NAMES[1])
    registry.register(two)
    registry.register(one)
    assert [known for known in registry.flows() if known.name in NAMES] == [one, two]


def test_a_module_registers_what_is_bound_at_its_top_level_once() -> None:
    module: Any = ModuleType("shop.flows")
    module.refund = module.alias = flow(NAMES[0])
    module.sign_off = flow(NAMES[1])
    module.FlowDefinition = FlowDefinition
    module.unrelated = [flow("registry test hidden")]
    registry.register_module(module)
    registry.register_module(module)
    assert [known.name for known in registry.flows() if known.name.startswith("registry test")] == list(NAMES)
    assert not [entry for entry in registry.duplicates() if entry[0] in NAMES]


@pytest.mark.parametrize("name", ["", "x" * 201, "a\x00b", "\ud800"])
def test_a_flow_needs_a_name_every_database_takes(name: str) -> None:
    with pytest.raises(exceptions.DefinitionError, match="flow name"):
        FlowDefinition(name)


def test_a_flow_without_a_name_gets_one_of_its_own() -> None:
    one, two = FlowDefinition(), FlowDefinition()
    assert one.name != two.name
    assert repr(FlowDefinition("refund")) == "<FlowDefinition 'refund'>"
