"""A chunk: in which spellings it is written, what it is called, and which options it takes."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from triggerflow_django import exceptions
from triggerflow_django.definition.chunk import UNSET, Chunk, ChunkOptions
from triggerflow_django.definition.flow import FlowDefinition


def ask(data: Any) -> Any:
    return data.input


async def fetch(data: Any) -> Any:
    return data.input


def add(amount: int, data: Any) -> Any:
    return data.input + amount


class Clerk:
    """A callable object, and one with methods."""

    def __call__(self, data: Any) -> Any:
        return data.input

    def review(self, data: Any) -> Any:
        return data.input

    async def phone(self, data: Any) -> Any:
        return data.input

    @staticmethod
    def static(data: Any) -> Any:
        return data.input

    @classmethod
    def made(cls, data: Any) -> Any:
        return data.input


class Robot:
    async def __call__(self, data: Any) -> Any:
        return data.input


class Input:
    """As much of ``data`` as these chunks look at."""

    input = 3


@pytest.fixture
def flow() -> FlowDefinition:
    return FlowDefinition("refund")


# -- spellings


def test_a_function_is_a_chunk_under_its_name(flow: FlowDefinition) -> None:
    chunk = flow.chunk(ask)
    assert isinstance(chunk, Chunk)
    assert (chunk.id, chunk.name, chunk.handler, chunk.options) == ("ask", "ask", ask, ChunkOptions())


def test_a_decorator_with_and_without_a_name_and_options(flow: FlowDefinition) -> None:
    @flow.chunk
    def plain(data: Any) -> None: ...

    @flow.chunk("given name")
    def named(data: Any) -> None: ...

    @flow.chunk(retries=2)
    def tried(data: Any) -> None: ...

    @flow.chunk("both", retries=2, backoff=0.5, timeout=None, queue="slow", atomic=True)
    def whole(data: Any) -> None: ...

    assert [chunk.name for chunk in (plain, named, tried, whole)] == ["plain", "given name", "tried", "both"]
    assert tried.options == ChunkOptions(retries=2)
    assert whole.options == ChunkOptions(retries=2, backoff=0.5, timeout=None, queue="slow", atomic=True)
    assert plain.options.timeout is UNSET
    assert all(isinstance(chunk, Chunk) for chunk in (plain, named, tried, whole))


def test_a_chunk_can_be_made_with_name_function_and_options_in_one_call(flow: FlowDefinition) -> None:
    chunk = flow.chunk("other", ask, queue="slow")
    assert (chunk.name, chunk.handler, chunk.options.queue) == ("other", ask, "slow")
    assert flow.chunk(ask, queue="slow").name == "ask"


def test_a_chunk_can_still_be_called_like_its_function(flow: FlowDefinition) -> None:
    assert flow.chunk(ask)(Input()) == 3
    assert flow.chunk(lambda data: data.input + 1)(Input()) == 4


@pytest.mark.parametrize(
    ("handler", "name"),
    [
        (ask, "ask"),
        (fetch, "fetch"),
        (functools.partial(add, 2), "add"),
        (functools.partial(functools.partial(add), 2), "add"),
        (Clerk(), "Clerk"),
        (functools.partial(Clerk()), "Clerk"),
        (Clerk().review, "review"),
        (Clerk.static, "static"),
        (Clerk.made, "made"),
        (lambda data: data, "lambda"),
        (str, "str"),
    ],
)
def test_whatever_can_be_called_has_a_name(flow: FlowDefinition, handler: Any, name: str) -> None:
    assert flow.chunk(handler).name == name


# -- which mentions are the same chunk


def test_a_function_is_one_chunk_however_often_it_is_mentioned(flow: FlowDefinition) -> None:
    first = flow.chunk(ask)
    flow.to(ask)
    flow.when("again").to("ask")
    flow.when("and again").to(first)
    assert flow.chunk(ask) is first
    assert list(flow.graph.nodes) == ["ask"]


def test_a_method_is_one_chunk_per_object(flow: FlowDefinition) -> None:
    clerk, other = Clerk(), Clerk()
    assert flow.chunk(clerk.review) is flow.chunk(clerk.review)
    assert flow.chunk(other.review) is not flow.chunk(clerk.review)
    assert flow.chunk(Clerk.made) is flow.chunk(Clerk.made)


def test_another_name_makes_another_chunk_of_the_same_function(flow: FlowDefinition) -> None:
    one, two = flow.chunk("one", ask), flow.chunk("two", ask)
    assert one is not two
    assert one.handler is two.handler
    assert flow.chunk("one", ask) is one


def test_different_functions_of_one_name_are_different_chunks(flow: FlowDefinition) -> None:
    def make() -> Any:
        def ask(data: Any) -> None: ...

        return ask

    chunks = [flow.chunk(ask), flow.chunk(make()), flow.chunk(make())]
    assert [chunk.id for chunk in chunks] == ["ask", "ask#2", "ask#3"]
    assert {chunk.name for chunk in chunks} == {"ask"}


def test_each_lambda_is_a_chunk_of_its_own_unless_it_is_named(flow: FlowDefinition) -> None:
    double = lambda data: data.input * 2  # noqa: E731
    assert flow.chunk(double) is not flow.chunk(double)
    assert flow.chunk("double", double) is flow.chunk("double", double)


def test_a_chunk_of_another_flow_is_made_anew_here_with_its_options(flow: FlowDefinition) -> None:
    foreign = FlowDefinition("other").chunk("asked", ask, retries=4)
    flow.to(foreign)
    own = flow.graph.chunk("asked")
    assert own is not None
    assert own is not foreign
    assert (own.handler, own.options.retries) == (ask, 4)
    flow.when("again").to(foreign)
    assert list(flow.graph.nodes) == ["asked"]


def test_a_chunk_can_be_given_a_second_name(flow: FlowDefinition) -> None:
    @flow.chunk(retries=3)
    def ask(data: Any) -> None: ...

    flow.to(ask).to(ask, name="again").to(("once more", ask))
    assert [node.chunk.options.retries for node in flow.graph.nodes.values() if node.chunk] == [3, 3, 3]
    assert list(flow.graph.nodes) == ["ask", "again", "once more"]
    assert flow.chunk("last", ask).handler is ask.handler


def test_other_options_for_the_same_chunk_are_refused(flow: FlowDefinition) -> None:
    first = flow.chunk(ask, retries=1)
    assert flow.chunk(ask) is first
    flow.to(ask)
    with pytest.raises(exceptions.DefinitionError, match="attached before with other options"):
        flow.chunk(ask, retries=2)


# -- refusals


@pytest.mark.parametrize("handler", [5, None, [ask], {}, object()])
def test_what_cannot_be_called_is_no_chunk(flow: FlowDefinition, handler: Any) -> None:
    with pytest.raises(exceptions.DefinitionError, match="takes one argument"):
        flow.to(handler)


@pytest.mark.parametrize(
    "handler", [lambda: 1, lambda one, two: 1, lambda *, data: 1, Clerk.review, functools.partial(add)]
)
def test_a_function_that_cannot_take_data_is_refused_where_it_is_written(flow: FlowDefinition, handler: Any) -> None:
    with pytest.raises(exceptions.DefinitionError, match="takes one argument"):
        flow.to(handler)


def test_more_parameters_are_welcome_if_they_have_defaults(flow: FlowDefinition) -> None:
    flow.to(lambda data, factor=2, *rest, **options: data.input * factor)


@pytest.mark.parametrize("name", ["", "x" * 201, "a\x00b", "\ud800"])
def test_a_name_is_a_text_every_database_takes(flow: FlowDefinition, name: str) -> None:
    with pytest.raises(exceptions.DefinitionError, match="chunk name"):
        flow.chunk(name, ask)


@pytest.mark.parametrize(
    "options",
    [
        {"retries": -1},
        {"retries": 1.5},
        {"retries": True},
        {"retries": "3"},
        {"backoff": 0},
        {"backoff": -1.0},
        {"backoff": True},
        {"backoff": float("nan")},
        {"backoff": float("inf")},
        {"timeout": 0},
        {"timeout": -3},
        {"timeout": False},
        {"timeout": "1m"},
        {"timeout": float("inf")},
        {"timeout": 1e12},
        {"queue": ""},
        {"queue": 5},
        {"queue": "q" * 101},
        {"queue": "a\x00b"},
    ],
)
def test_an_option_that_makes_no_sense_is_refused_by_name(flow: FlowDefinition, options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(exceptions.DefinitionError, match=name):
        flow.chunk(ask, **options)


@pytest.mark.parametrize("handler", [fetch, functools.partial(fetch), Robot(), Clerk().phone])
def test_an_async_function_cannot_be_atomic(flow: FlowDefinition, handler: Any) -> None:
    with pytest.raises(exceptions.DefinitionError, match="atomic=True needs a sync function"):
        flow.chunk(handler, atomic=True)
