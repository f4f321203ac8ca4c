"""Random flows: a description made of plain dataclasses, how Hypothesis draws one, and how it is written as a flow.

The same description is read by ``interpreter``. Every chunk is a small deterministic function of its name and its
input; it notes each of its runs in the state's ``log``.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from hypothesis import strategies as st

from triggerflow_django import TriggerFlow
from triggerflow_django.definition.process import Process

Chain = list[Any]


@dataclass
class Call:
    """A chunk: what it gives, whether it asks, fails the first time, emits an event, and what listens to its end."""

    gives: Literal["number", "list"] = "number"
    asks: Literal["", "next", "self"] = ""
    fails: bool = False
    emits: Chain | None = None
    then: Chain | None = None
    name: str = ""


@dataclass
class Batch:
    """A batch; ``joined`` follows a ``when`` over all its branches."""

    calls: list[Call]
    concurrency: int | None
    joined: Chain | None


@dataclass
class Loop:
    body: Chain
    concurrency: int | None


@dataclass
class Condition:
    """Holds for every ``modulo``-th value; a plain one for values that are ``remainder``."""

    modulo: int
    remainder: int
    plain: bool
    fails: bool


@dataclass
class Choice:
    mode: Literal["hit_first", "hit_all"]
    cases: list[tuple[Condition, Chain]]
    otherwise: Chain | None


@dataclass
class Aside:
    call: Call


@dataclass
class Description:
    """Chains from the start, and what follows a ``when`` over the first chunks of all of them."""

    roots: list[tuple[Call, Chain]]
    joined: Chain
    names: Iterator[str] = field(default_factory=lambda: (f"c{number}" for number in range(10_000)))


# -- what chunks, conditions and people say


def number(name: str, value: Any) -> int:
    """A small number that follows from a name and a value, the order of its keys included."""
    return zlib.crc32(f"{name}{json.dumps(value)}".encode()) % 7


def given(call: Call, value: Any) -> Any:
    """What a chunk gives for a value."""
    count = number(call.name, value)
    return count if call.gives == "number" else [number(f"{call.name} {index}", value) for index in range(count % 5)]


def holds(condition: Condition, value: Any) -> bool:
    """Whether a case is taken."""
    return value == condition.remainder if condition.plain else number("", value) % condition.modulo == 0


# -- drawing


def chains(depth: int) -> st.SearchStrategy[Chain]:
    """Chains of up to three parts; fan-outs and choices nest up to a depth."""
    calls = st.builds(
        Call,
        gives=st.sampled_from(["number", "list"]),
        asks=st.sampled_from(["", "", "next", "self"]),
        fails=st.sampled_from([False] * 5 + [True]),
    )
    if depth == 0:
        return st.lists(calls, max_size=2)
    inner = chains(depth - 1)
    maybe = st.none() | st.none() | inner
    noisy = st.builds(
        Call, gives=st.just("number"), asks=st.sampled_from(["", "next", "self"]), emits=maybe, then=maybe
    )
    limits = st.sampled_from([None, 1, 2, 3])
    conditions = st.builds(
        Condition, st.integers(1, 3), st.integers(0, 2), st.booleans(), st.sampled_from([False, False, True])
    )
    parts = st.one_of(
        calls,
        noisy,
        st.builds(Batch, st.lists(calls, min_size=1, max_size=3), limits, maybe),
        st.builds(Loop, inner, limits),
        st.builds(
            Choice,
            st.sampled_from(["hit_first", "hit_all"]),
            st.lists(st.tuples(conditions, inner), min_size=1, max_size=3),
            st.none() | inner,
        ),
        st.builds(Aside, calls),
    )
    return st.lists(parts, min_size=1, max_size=4)


descriptions = st.builds(
    Description,
    roots=st.lists(st.tuples(st.builds(Call, gives=st.just("list")), chains(3)), min_size=1, max_size=2),
    joined=chains(1),
)


# -- writing


def write(description: Description) -> TriggerFlow:
    """The flow of a description; names its chunks on the way."""
    flow = TriggerFlow(name="random")
    writer = _Writer(flow, description.names)
    for call, chain in description.roots:
        writer.chain(writer.call(flow, call), chain)
    writer.chain(flow.when([call.name for call, _ in description.roots]), description.joined)
    return flow


@dataclass
class _Writer:
    flow: TriggerFlow
    names: Iterator[str]

    def chain(self, process: Any, chain: Chain) -> Process:
        for part in chain:
            process = self.part(process, part)
        return process  # type: ignore[no-any-return]

    def part(self, process: Any, part: Any) -> Process:
        match part:
            case Call():
                return self.call(process, part)
            case Aside():
                return process.side_branch(self.named(part.call))
            case Batch():
                after = process.batch(*(self.named(call) for call in part.calls), concurrency=part.concurrency)
                if part.joined is not None and len(part.calls) > 1:
                    self.chain(self.flow.when([call.name for call in part.calls]), part.joined)
                return after
            case Loop():
                return self.chain(process.for_each(part.concurrency), part.body).end_for_each()
            case Choice():
                process = process.match(mode=part.mode)
                for condition, branch in part.cases:
                    process = self.chain(process.case(case_of(condition)), branch)
                if part.otherwise is not None:
                    process = self.chain(process.case_else(), part.otherwise)
                return process.end_match()
        raise TypeError(part)

    def call(self, process: Any, call: Call) -> Process:
        after = process.to(self.named(call))
        if call.then is not None:
            self.chain(self.flow.when(call.name), call.then)
        if call.emits is not None:
            self.chain(self.flow.when(f"told by {call.name}"), call.emits)
        return after

    def named(self, call: Call) -> tuple[str, Callable[[Any], Any]]:
        call.name = next(self.names)
        return call.name, chunk_of(call)


def case_of(condition: Condition) -> Any:
    """The argument of ``case``; a condition that fails does so until its step is tried again."""
    if condition.plain:
        return condition.remainder

    def case(data: Any) -> bool:
        if condition.fails and data.attempt == 1:
            raise LookupError("not yet")
        return holds(condition, data.input)

    return case


def chunk_of(call: Call) -> Callable[[Any], Any]:
    """The function of a chunk."""

    def chunk(data: Any) -> Any:
        if call.fails and data.attempt == 1:
            raise LookupError("not yet")
        data.append_state("log", [call.name, data.input])
        if call.emits is not None:
            data.emit(f"told by {call.name}", number("told", data.input))
        if data.is_resume:
            return given(call, data.resume.value)
        if call.asks:
            return data.pause_for(payload={"name": call.name, "value": data.input}, resume_to=call.asks)
        return given(call, data.input)

    return chunk
