"""What may be passed on: JSON, and the path of whatever is not; a refused value leaves nothing behind."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import uuid
from typing import Any

import pytest
from django.test import override_settings

from tests.flows import running
from triggerflow_django import TriggerFlow, exceptions

pytestmark = pytest.mark.django_db

NOT_JSON = [
    (dt.datetime(2026, 3, 1, tzinfo=dt.UTC), "datetime is not JSON"),
    ({1, 2}, "set is not JSON"),
    (decimal.Decimal("1.5"), "Decimal is not JSON"),
    (uuid.UUID(int=1), "UUID is not JSON"),
    (b"bytes", "bytes is not JSON"),
    (object(), "object is not JSON"),
    (float("nan"), "NaN is not a finite number"),
    (float("inf"), "Infinity is not a finite number"),
    ("a\x00b", "NUL"),
    ("\ud800", "lone surrogate"),
    (2**63, "does not fit 64 bits"),
    ({1: "one"}, "JSON keys are strings"),
]


@pytest.fixture
def flow() -> TriggerFlow:
    return TriggerFlow(name="values")


def refused(flow: TriggerFlow, path: str, why: str) -> None:
    """The flow fails with this path and reason; nothing of the chunk is left."""
    flow.when("E").to(running.append())
    execution, error = running.broken(flow, None, exceptions.JsonValueError)
    assert isinstance(error, ValueError)
    assert path in str(error)
    assert why in str(error)
    assert execution.get_state() == {}
    assert running.nodes(execution) == ["work"]


@pytest.mark.parametrize(("value", "why"), NOT_JSON)
def test_what_a_chunk_returns_is_json(flow: TriggerFlow, value: Any, why: str) -> None:
    def work(data: Any) -> Any:
        data.set_state("key", 1)
        data.emit("E", 1)
        return {"order": {"when": [1, value]}}

    flow.to(work).to(running.keep())
    refused(flow, "return value of work.order.when[1]", why)


@pytest.mark.parametrize(("value", "why"), NOT_JSON)
@pytest.mark.parametrize("write", ["set", "append"])
def test_what_a_chunk_writes_is_json(flow: TriggerFlow, value: Any, why: str, write: str) -> None:
    def work(data: Any) -> None:
        data.emit("E", 1)
        getattr(data, f"{write}_state")("order.lines", {"when": value})

    flow.to(work).to(running.keep())
    refused(flow, "state.order.lines.when", why)


@pytest.mark.parametrize(("value", "why"), NOT_JSON)
def test_what_a_chunk_emits_is_json(flow: TriggerFlow, value: Any, why: str) -> None:
    def work(data: Any) -> None:
        data.set_state("key", 1)
        data.emit("E", [value])

    flow.to(work).to(running.keep())
    refused(flow, "event E[0]", why)


@pytest.mark.parametrize(("value", "why"), NOT_JSON)
def test_what_comes_from_outside_is_json(flow: TriggerFlow, value: Any, why: str) -> None:
    flow.to(running.keep())
    flow.when("E").to(running.keep())
    execution = flow.create_execution(auto_close=False)
    for act, path in (
        (lambda: execution.start({"when": value}), "input.when"),
        (lambda: execution.emit("E", {"when": value}), "event E.when"),
        (lambda: execution.set_state("a.b", {"when": value}), "state.a.b.when"),
    ):
        with pytest.raises(exceptions.JsonValueError) as caught:
            act()
        assert path in str(caught.value)
        assert why in str(caught.value)
    assert execution.row() is None or execution.get_state() == {}


def test_a_chunk_may_catch_the_refusal_and_go_on(flow: TriggerFlow) -> None:
    def work(data: Any) -> str:
        try:
            data.set_state("key", {1, 2})
        except ValueError:
            data.set_state("key", sorted({2, 1}))
        return "went on"

    flow.to(work).to(running.keep())
    assert running.run(flow) == {"key": [1, 2], "out": "went on"}


def test_tuples_become_lists_and_subclasses_the_plain_kind(flow: TriggerFlow) -> None:
    class Color(enum.StrEnum):
        RED = "red"

    flow.to(lambda data: {"pair": (1, (2,)), "color": Color.RED, "count": True}).to(running.keep())
    assert running.run(flow)["out"] == {"pair": [1, [2]], "color": "red", "count": True}


def test_values_are_copies_and_what_is_done_to_them_later_changes_nothing(flow: TriggerFlow) -> None:
    shared: dict[str, Any] = {"lines": [1]}

    def work(data: Any) -> Any:
        data.set_state("key", shared)
        data.emit("E", shared)
        data.input["lines"].append("changed by one")
        return shared

    def late(data: Any) -> Any:
        shared["lines"].append(2)
        return data.input

    flow.to(work).to(late).to(running.keep())
    flow.to(running.keep("start"))
    flow.when("E").to(running.keep("event"))
    expected = {"lines": [1]}
    assert running.run(flow, {"lines": [0]}) == {
        "key": expected,
        "out": expected,
        "event": expected,
        "start": {"lines": [0]},
    }


@pytest.mark.parametrize(
    "value", ["ключ", "🙂", "", " ", "a\tb\n", {"ключ": {"": None}}, [[[]]], {}, 0, -1.5e-300, 2**63 - 1, "x" * 100_000]
)
def test_whatever_is_json_comes_back_as_it_was(flow: TriggerFlow, value: Any) -> None:
    flow.to(lambda data: value).to(lambda data: [data.input, {"again": data.input}]).to(running.keep())
    assert running.run(flow)["out"] == [value, {"again": value}]


def test_the_order_of_keys_is_kept(flow: TriggerFlow) -> None:
    flow.to(lambda data: {"z": 1, "a": 2, "m": 3}).to(lambda data: list(data.input)).to(running.keep())
    assert running.run(flow)["out"] == ["z", "a", "m"]


@pytest.mark.parametrize("name", ["", "x" * 201, "a\x00b", "\ud800", 5, None])
def test_events_and_keys_have_usable_names(flow: TriggerFlow, name: Any) -> None:
    def work(data: Any) -> None:
        with pytest.raises(exceptions.JsonValueError, match="event name"):
            data.emit(name)
        with pytest.raises(exceptions.JsonValueError, match="state key"):
            data.set_state(name, 1)

    flow.to(work)
    execution = running.begin(flow)
    with pytest.raises(exceptions.JsonValueError, match="event name"):
        execution.emit(name)
    with pytest.raises(exceptions.JsonValueError, match="state key"):
        execution.set_state(name, 1)
    running.nothing_is_left(execution)


# -- sizes


@override_settings(TRIGGERFLOW={"VALUE_MAX_BYTES": 1000, "FANOUT_MAX_BYTES": 3000})
def test_only_lists_to_fan_out_over_and_joined_results_may_be_larger(flow: TriggerFlow) -> None:
    large = ["x" * 100] * 20
    flow.to(lambda data: large).for_each().to(running.same).end_for_each().to(lambda data: len(data.input)).to(
        running.keep()
    )
    assert running.run(flow)["out"] == 20
    other = TriggerFlow(name="values")
    other.to(lambda data: large, name="work").to(running.keep())
    refused(other, "return value of work", "more than the 1000 allowed")


@override_settings(TRIGGERFLOW={"VALUE_MAX_BYTES": 1000, "FANOUT_MAX_BYTES": 1500})
def test_a_join_whose_result_is_too_large_fails_the_step_that_filled_it(flow: TriggerFlow) -> None:
    flow.batch(*((f"b{index}", lambda data: "x" * 900) for index in range(2))).to(running.keep())
    execution, error = running.broken(flow, None, exceptions.JsonValueError)
    assert "result of START/batch-1/end" in str(error)
    assert running.nodes(execution, "failed") == ["b1"]


@override_settings(TRIGGERFLOW={"VALUE_MAX_BYTES": 1000})
def test_a_state_that_grows_too_large_together_fails_the_last_write(flow: TriggerFlow) -> None:
    flow.batch(*((f"b{index}", lambda data: data.append_state("log", "x" * 400)) for index in range(3)))
    execution, error = running.broken(flow, None, exceptions.JsonValueError)
    assert "state: " in str(error)
    assert len(running.log(execution)) == 2
    assert running.nodes(execution, "failed") == ["b2"]
