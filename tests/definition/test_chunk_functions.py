"""What the engine knows of a function before it calls it: is it async, does it look at the execution's state."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from triggerflow_django.definition.chunk import is_async, may_read_state
from triggerflow_django.definition.flow import FlowDefinition


def ask(data: Any) -> Any:
    return data.input


async def fetch(data: Any) -> Any:
    return data.input


def add(amount: int, data: Any) -> Any:
    return data.input + amount


class Clerk:
    def __call__(self, data: Any) -> Any:
        return data.input

    def review(self, data: Any) -> Any:
        return data.input

    async def phone(self, data: Any) -> Any:
        return data.input


class Robot:
    async def __call__(self, data: Any) -> Any:
        return data.input


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (ask, False),
        (fetch, True),
        (functools.partial(fetch), True),
        (functools.partial(add, 1), False),
        (Clerk(), False),
        (Robot(), True),
        (Clerk().review, False),
        (Clerk().phone, True),
        (lambda data: [fetch(data)], False),
    ],
)
def test_async_functions_are_told_from_sync_ones(handler: Any, expected: bool) -> None:
    assert is_async(handler) is expected
    assert FlowDefinition("refund").chunk("asked", handler).is_async is expected


def reads_nothing(data: Any) -> Any:
    data.emit("done", data.input)
    data.set_state("total", data.value)
    return data.pause_for(type="approval", payload=data.input)


def reads_with_get(data: Any) -> Any:
    return data.get_state("total")


def hands_it_on(data: Any) -> Any:
    return add(1, data)


def renames_it(data: Any) -> Any:
    other = data
    return other.state


def closes_over_it(data: Any) -> Any:
    return [data.state[item] for item in "ab"]


def writes_elsewhere(data: Any) -> None:
    data.own = 1


def appends(data: Any) -> None:
    data.append_state("log", 1)


class Reader:
    def look(self, data: Any) -> Any:
        return data.state["total"]

    def leave(self, data: Any) -> Any:
        return data.input


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (reads_nothing, False),
        (ask, False),
        (lambda data: data.input, False),
        (lambda data: data.state["a"], True),
        (reads_with_get, True),
        (hands_it_on, True),
        (renames_it, True),
        (closes_over_it, True),
        (writes_elsewhere, True),
        (appends, True),
        (Reader().look, True),
        (Reader().leave, False),
        (functools.partial(add, 1), True),
        (print, True),
    ],
)
def test_only_a_function_that_surely_leaves_the_state_alone_does_without_it(handler: Any, expected: bool) -> None:
    assert may_read_state(handler) is expected
