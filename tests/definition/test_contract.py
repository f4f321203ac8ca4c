"""Contracts: what may be declared, what a value is held against, and how it is exported."""

from __future__ import annotations

import datetime as dt
import sys
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from triggerflow_django import exceptions
from triggerflow_django.definition.contract import NOTHING
from triggerflow_django.definition.flow import FlowDefinition

pytestmark = pytest.mark.once


class Refund(BaseModel):
    amount: int = Field(gt=0)
    currency: Literal["EUR", "USD"] = "EUR"
    when: dt.date | None = None


def declared(**parts: Any) -> Any:
    return FlowDefinition("contract").set_contract(**parts).contract


def test_a_flow_that_declares_nothing_takes_anything() -> None:
    contract = FlowDefinition("contract").contract
    assert contract is NOTHING
    assert contract.checked("initial_input", {"a": [1]}) == {"a": [1]}
    assert contract.json_schemas() == {"initial_input": None, "stream": None, "result": None, "meta": {}}


def test_a_type_checks_coerces_and_fills_in_defaults() -> None:
    contract = declared(initial_input=Refund)
    made = contract.checked("initial_input", {"amount": "120", "when": "2026-11-25"})
    assert made == {"amount": 120, "currency": "EUR", "when": "2026-11-25"}


@pytest.mark.parametrize(
    ("given", "value", "paths"),
    [
        (Refund, {"amount": 0, "currency": "CHF"}, ["$.amount", "$.currency"]),
        (dict[str, int], "nope", ["$"]),
        (list[int], [1, "x", "y"], ["$[1]", "$[2]"]),
        ({"type": "object", "required": ["amount"]}, {}, ["$"]),
        ({"properties": {"a": {"items": {"type": "integer"}}}}, {"a": [1, "b"]}, ["$.a[1]"]),
        (False, None, ["$"]),
    ],
)
def test_what_does_not_match_is_told_with_every_path(given: Any, value: Any, paths: list[str]) -> None:
    with pytest.raises(exceptions.ContractError, match="the input does not match the flow's contract") as raised:
        declared(initial_input=given).checked("initial_input", value)
    assert [error["path"] for error in raised.value.errors] == paths
    assert isinstance(raised.value, ValueError)


def test_each_part_is_checked_by_its_own_shape() -> None:
    contract = declared(initial_input=int, stream=str, result={"type": "object"})
    assert contract.checked("initial_input", "1") == 1
    for part, value in (("stream", 1), ("result", [])):
        with pytest.raises(exceptions.ContractError):
            contract.checked(part, value)


def test_a_validator_that_raises_a_value_error_of_its_own_is_told() -> None:
    class Odd(BaseModel):
        number: int

        def model_post_init(self, _context: Any) -> None:
            raise ValueError("not today")

    with pytest.raises(exceptions.ContractError, match="not today"):
        declared(initial_input=Odd).checked("initial_input", {"number": 1})


def test_it_is_exported_as_json_schema() -> None:
    schemas = declared(initial_input=Refund, stream={"type": "string"}, meta={"owner": "finance"}).json_schemas()
    assert schemas["initial_input"]["properties"]["amount"] == {
        "exclusiveMinimum": 0, "title": "Amount", "type": "integer",
    }  # fmt: skip
    assert schemas["stream"] == {"type": "string"}
    assert schemas["result"] is None
    assert schemas["meta"] == {"owner": "finance"}


@pytest.mark.parametrize(
    "given",
    [{"type": "no such type"}, {"$ref": "#/nowhere"}, {"minimum": float("nan")}, 12, lambda: 1, "int or so"],
)
def test_what_is_neither_a_type_nor_a_schema_is_refused_where_it_is_written(given: Any) -> None:
    with pytest.raises(ValueError, match="initial_input"):
        declared(initial_input=given)


def test_without_pydantic_a_type_is_refused_and_a_schema_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic", None)
    with pytest.raises(exceptions.DefinitionError, match=r"pip install 'triggerflow-django\[pydantic\]'"):
        declared(initial_input=int)
    assert declared(initial_input={"type": "integer"}).checked("initial_input", 1) == 1


def test_a_contract_is_no_part_of_the_flows_shape() -> None:
    """Executions that wait must not be stranded by a stricter contract."""
    flow = FlowDefinition("contract")
    flow.to(lambda data: data.input)
    before = flow.graph.fingerprint
    flow.set_contract(initial_input=int)
    assert flow.graph.contract.checked("initial_input", "1") == 1
    assert flow.graph.fingerprint == before


def test_the_last_contract_counts() -> None:
    flow = FlowDefinition("contract").set_contract(initial_input=int)
    flow.set_contract(result=str)
    assert set(flow.contract.shapes) == {"result"}
