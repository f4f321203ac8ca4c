"""The JSON gate stands at every door: no value is stored that some database, or some reader, would not take."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from tests.engine import driving
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.engine import emit

pytestmark = pytest.mark.django_db

#: Values no door lets in, and what is said of them.
REFUSED: dict[str, tuple[Any, str]] = {
    "an object": ({"a": [object()]}, "object is not JSON"),
    "a set": ({"a": [{1}]}, "set is not JSON"),
    "bytes": ({"a": [b"x"]}, "bytes is not JSON"),
    "NaN": ({"a": [float("nan")]}, "NaN is not a finite number"),
    "infinity": ({"a": [float("-inf")]}, "-Infinity is not a finite number"),
    "NUL": ({"a": ["\x00"]}, "contains NUL"),
    "NUL in a key": ({"a": [{"\x00": 1}]}, "contains NUL"),
    "a lone surrogate": ({"a": ["\ud800"]}, "contains a lone surrogate"),
    "a lone surrogate in a key": ({"a": [{"\udfff": 1}]}, "contains a lone surrogate"),
    "a number of 65 bits": ({"a": [2**63]}, "does not fit 64 bits"),
    "a key that is a number": ({"a": [{1: 1}]}, "JSON keys are strings"),
}


def chunk(function: Callable[[Any, Any], Any]) -> Callable[[Any], None]:
    """A door inside a chunk: it gets data and value; what the step failed by is raised."""

    def door(value: Any) -> None:
        flow = TriggerFlow(name="doors")
        flow.to(lambda data: function(data, value), name="chunk")
        pk = driving.start(flow)
        failures = driving.drain(pk, flow)
        driving.consistent(pk)
        if failures:
            assert driving.step(pk, "chunk").status == "failed"
            assert driving.state(pk) == {}
            raise failures[0]

    return door


def idle() -> tuple[TriggerFlow, uuid.UUID]:
    """An execution that waits for an answer."""
    flow = TriggerFlow(name="doors")
    flow.to(lambda data: data.pause_for(interrupt_id="gate"), name="ask")
    return flow, driving.settled(flow)


def by_handle(name: str) -> Callable[[Any], None]:
    """A door of the handle: ``set_state`` or ``append_state``."""

    def door(value: Any) -> None:
        flow, pk = idle()
        before = driving.everything(pk)
        try:
            getattr(flow.get_execution(pk), name)("key", value)
        except ValueError:
            assert driving.everything(pk) == before
            raise

    return door


def answered(value: Any) -> None:
    flow, pk = idle()
    driving.decide(pk, "gate", value, flow=flow)


def emitted(value: Any) -> None:
    flow, pk = idle()
    emit.emit(pk, "event", value, using="default", graph=flow.graph)


def returned(data: Any, value: Any) -> Any:
    return value


def written(data: Any, value: Any) -> None:
    data.set_state("key", value)


def appended(data: Any, value: Any) -> None:
    data.append_state("key", value)


def emitted_inside(data: Any, value: Any) -> None:
    data.emit("event", value)


def asked(data: Any, value: Any) -> None:
    data.pause_for(payload=value)


def schema(data: Any, value: Any) -> None:
    data.pause_for(response_schema={"const": value})


def default_answer(data: Any, value: Any) -> None:
    data.pause_for(due_in=1, on_due={"answer": value})


def late_event(data: Any, value: Any) -> None:
    data.pause_for(due_in=1, on_due={"event": "late", "value": value})


#: Every way a value gets into the database, and the name by which the door calls it.
DOORS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "start": (lambda value: driving.start(TriggerFlow(name="doors"), value), "input"),
    "an answer": (answered, "answer"),
    "an event from outside": (emitted, "event event"),
    "a state write from outside": (by_handle("set_state"), "state.key"),
    "an append from outside": (by_handle("append_state"), "state.key"),
    "a chunk's return value": (chunk(returned), "return value of chunk"),
    "a chunk's state write": (chunk(written), "state.key"),
    "a chunk's append": (chunk(appended), "state.key"),
    "a chunk's event": (chunk(emitted_inside), "event event"),
    "a payload": (chunk(asked), "payload"),
    "a response schema": (chunk(schema), "response_schema.const"),
    "a default answer": (chunk(default_answer), "on_due.answer"),
    "a deadline's event": (chunk(late_event), "on_due.value"),
}
#: What people and other systems send, which has less room.
OUTER = {"start", "an answer", "an event from outside", "a response schema", "a default answer", "a deadline's event"}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("value", REFUSED)
def test_no_door_lets_in_what_cannot_be_stored(door: str, value: str) -> None:
    enter, root = DOORS[door]
    given, said = REFUSED[value]
    with pytest.raises(exceptions.JsonValueError) as caught:
        enter(given)
    assert str(caught.value).startswith(f"{root}.a[0]")
    assert said in str(caught.value)


@pytest.mark.parametrize("door", DOORS)
def test_every_door_lets_in_what_is_json(door: str) -> None:
    enter, _ = DOORS[door]
    for given in (None, True, -(2**63), 2**63 - 1, 1.5e300, "", "\u2028 \U0001f600", [], {}, {"a": [{"b": ("t",)}]}):
        enter(given)


@pytest.mark.parametrize("door", DOORS)
def test_every_door_has_a_limit_of_depth(door: str) -> None:
    enter, root = DOORS[door]
    deep: Any = 1
    for _ in range(33):
        deep = [deep]
    with pytest.raises(exceptions.JsonValueError, match=f"^{root}.*: nested deeper than the 32 levels"):
        enter(deep)


@pytest.mark.parametrize("door", DOORS)
def test_every_door_has_a_limit_of_size(door: str, settings: Any) -> None:
    enter, root = DOORS[door]
    settings.TRIGGERFLOW = {"ANSWER_MAX_BYTES": 2000, "VALUE_MAX_BYTES": 10_000}
    most = 2000 if door in OUTER else 10_000
    enter("x" * (most - 100))
    with pytest.raises(exceptions.JsonValueError, match=rf"^{root.split('.const')[0]}.*more than the {most} allowed"):
        enter("x" * (most + 1))


def test_a_list_to_fan_out_over_may_be_larger_than_a_value_and_has_its_own_limit(settings: Any) -> None:
    settings.TRIGGERFLOW = {"VALUE_MAX_BYTES": 1000, "FANOUT_MAX_BYTES": 5000}
    flow = TriggerFlow(name="lines")
    flow.to(lambda data: ["x" * 100] * data.input, name="list").for_each().to(
        lambda data: len(data.input), name="line"
    ).end_for_each().to(lambda data: data.set_state("end", sum(data.input)), name="end")
    pk = driving.settled(flow, 40)
    assert driving.state(pk) == {"end": 4000}
    pk = driving.start(flow, 60)
    (failure,) = driving.drain(pk, flow)
    assert isinstance(failure, exceptions.JsonValueError)
    assert "return value of list" in str(failure)
    assert driving.consistent(pk).status == "failed"


def test_a_join_s_result_has_a_limit_and_the_step_that_would_have_filled_it_fails(settings: Any) -> None:
    settings.TRIGGERFLOW = {"VALUE_MAX_BYTES": 1000, "FANOUT_MAX_BYTES": 2000}
    flow = TriggerFlow(name="lines")
    flow.for_each().to(lambda data: "x" * 900, name="line").end_for_each().to(driving.nothing(), name="end")
    pk = driving.start(flow, [1, 2, 3])
    (failure,) = driving.drain(pk, flow)
    assert isinstance(failure, exceptions.JsonValueError)
    assert "result of START/for_each-1/end" in str(failure)
    execution = driving.consistent(pk)
    assert (execution.failed_steps, execution.active_steps) == (1, 0)


def test_the_composed_state_of_parallel_branches_has_a_limit_and_one_of_them_fails(settings: Any) -> None:
    settings.TRIGGERFLOW = {"VALUE_MAX_BYTES": 1000}
    flow = TriggerFlow(name="two")
    for name in ("one", "two"):
        flow.to(lambda data, name=name: data.set_state(name, "x" * 600), name=name).to(
            driving.nothing(), name=f"after-{name}"
        )
    pk = driving.start(flow)
    (failure,) = driving.drain(pk, flow)
    assert isinstance(failure, exceptions.JsonValueError)
    assert str(failure).startswith("state: ")
    assert driving.state(pk) == {"one": "x" * 600}
    assert driving.statuses(pk) == {"one": "done", "two": "failed", "after-one": "done"}
    driving.consistent(pk)
