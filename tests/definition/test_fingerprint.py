"""The fingerprint of a graph: equal where two processes route alike."""

from __future__ import annotations

import os
import subprocess
import sys
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


SHAPES: list[Write] = [
    lambda flow: None,
    lambda flow: flow.to(ask),
    lambda flow: flow.to(ask).to(check),
    lambda flow: flow.to(check).to(ask),
    lambda flow: (flow.to(ask), flow.to(check)),
    lambda flow: flow.batch(ask, check),
    lambda flow: flow.batch(check, ask),
    lambda flow: flow.batch(ask, check, concurrency=2),
    lambda flow: flow.for_each().to(ask).end_for_each(),
    lambda flow: flow.for_each(concurrency=1).to(ask).end_for_each(),
    lambda flow: flow.match().case(1).to(ask).end_match(),
    lambda flow: flow.match().case(2).to(ask).end_match(),
    lambda flow: flow.match().case("1").to(ask).end_match(),
    lambda flow: flow.match().case(lambda data: 1).to(ask).end_match(),
    lambda flow: flow.match(mode="hit_all").case(1).to(ask).end_match(),
    lambda flow: flow.match().case(1).to(ask).case_else().end_match(),
    lambda flow: flow.when("E").to(ask),
    lambda flow: flow.when({"runtime_data": "E"}).to(ask),
    lambda flow: flow.when(["E", "F"]).to(ask),
    lambda flow: flow.when(["E", "F"], mode="or").to(ask),
    lambda flow: flow.to(ask).collect("c"),
    lambda flow: flow.to(ask).collect("c", mode="filled_then_empty"),
]


def test_the_fingerprint_is_that_of_the_shape() -> None:
    fingerprints = [graph(write).fingerprint for write in SHAPES]
    assert fingerprints == [graph(write, name="another flow").fingerprint for write in SHAPES]
    assert len(set(fingerprints)) == len(SHAPES)


BUILD = """
from triggerflow_django.definition.flow import FlowDefinition
flow = FlowDefinition("refund")
def ask(data): ...
flow.when({"C", "A", "B", "D"}).to(ask)
flow.match().case({"x": 1, "a": 2}).to(ask).case(lambda data: 1).to(lambda data: 2).end_match()
print(*flow.graph.nodes, flow.graph.fingerprint)
"""


@pytest.mark.once
def test_every_process_builds_the_same_graph() -> None:
    told = {
        subprocess.run(
            [sys.executable, "-c", BUILD],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3", "4")
    }
    assert len(told) == 1
    assert "when(event:A,event:B,event:C,event:D)" in told.pop()
