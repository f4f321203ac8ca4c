"""Random flows, answered and run in random order, do what a recursive interpreter of the same description does."""

from __future__ import annotations

import json
import os
import random
from typing import Any

import hypothesis
import pytest
from django.test import override_settings
from hypothesis import strategies as st

from tests.flows import random_flows, running
from tests.flows.interpreter import Interpreter
from tests.flows.random_flows import Batch, Call, Choice, Condition, Description, Loop
from tests.flows.stepping import Stepper
from triggerflow_django.models import JoinStatus

pytestmark = pytest.mark.django_db

#: More of them: RANDOM_FLOWS=2000 pytest tests/flows/test_random_graphs.py
EXAMPLES = int(os.environ.get("RANDOM_FLOWS", "20"))
#: More steps than that tell nothing new.
LARGEST = 80


def check(description: Description, seed: int, window: int = 2) -> None:
    """Run it both ways and compare."""
    flow = random_flows.write(description)
    expected = Interpreter()
    expected.run(description, seed)
    if not 0 < len(expected.log) <= LARGEST:
        raise hypothesis.errors.UnsatisfiedAssumption
    with override_settings(TRIGGERFLOW={"FOR_EACH_WINDOW": window}):
        stepper = Stepper(flow, seed, random.Random(seed))  # noqa: S311 - an order, not a secret
        stepper.run()
    execution = stepper.execution
    running.nothing_is_left(execution)
    fired = running.joins(execution, status=JoinStatus.FIRED)
    assert len(fired) == expected.fan_outs
    assert all(join.filled == join.expected for join in fired)
    snapshot = execution.close()
    assert in_any_order(snapshot.pop("log", [])) == in_any_order(expected.log)
    assert snapshot == {}
    assert execution.get_status() == "completed"


def in_any_order(log: list[Any]) -> list[str]:
    """What parallel chunks noted, sorted; the order of keys in values still counts."""
    return sorted(json.dumps(entry) for entry in log)


@hypothesis.given(random_flows.descriptions, st.integers(0, 2**32))
@hypothesis.settings(max_examples=EXAMPLES, suppress_health_check=list(hypothesis.HealthCheck))
def test_a_random_flow_does_what_the_interpreter_says(description: Description, seed: int) -> None:
    check(description, seed)


def asking(how: Any = "next", **options: Any) -> Call:
    return Call(asks=how, **options)


#: Shapes that were broken once, or look as if they could be.
SHAPES: dict[str, Any] = {
    "limits inside limits": [Loop([Call(gives="list"), Loop([asking(), Call()], 1), Call()], 2)],
    "a batch of questions in a limited loop": [Loop([Batch([asking(), asking("self"), Call()], 1, [Call()])], 2)],
    "items that pass without a step": [
        Loop([Choice("hit_first", [(Condition(3, 0, False, False), [Call()])], None)], 1)
    ],
    "an empty body": [Loop([], 1), Loop([Loop([], 1)], 1)],
    "loops in loops in loops": [Loop([Call(gives="list"), Loop([Call(gives="list"), Loop([asking()], 1)], 2)], 3)],
    "conditions that fail in a loop": [
        Loop(
            [Choice("hit_all", [(Condition(1, 0, False, True), [asking()]), (Condition(2, 0, False, True), [])], [])], 1
        )
    ],
    "chunks that fail in a loop": [Loop([Call(fails=True), asking("self", fails=True), Call(fails=True)], 1)],
    "chunks that tell and then ask": [
        Loop([asking(emits=[Batch([asking()], 1, None)]), Batch([asking("self"), Call()], 1, None)], 2)
    ],
    "events of items": [Loop([Call(emits=[Loop([asking()], 1)], then=[Batch([Call(), asking()], 1, None)])], 1)],
}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_that_is_hard_does_what_the_interpreter_says(shape: str, seed: int) -> None:
    check(
        Description([(Call(gives="list"), SHAPES[shape]), (Call(gives="list"), [])], [Call()]),
        seed,
        window=1 + seed % 3,
    )
