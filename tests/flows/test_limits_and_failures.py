"""Limits when steps fail, are retried or cancelled, and in a saved copy."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.flows import running
from tests.flows.asking import answered_in_any_order, asks_if
from tests.flows.stepping import Stepper
from triggerflow_django import TriggerFlow
from triggerflow_django.engine import retry
from triggerflow_django.models import StepStatus

pytestmark = pytest.mark.django_db


@pytest.fixture
def flow() -> TriggerFlow:
    return TriggerFlow(name="limits")


@pytest.mark.parametrize("concurrency", [1, 2])
def test_failed_items_give_their_places_back_and_take_them_again_when_retried(
    flow: TriggerFlow, concurrency: int
) -> None:
    broken = [True]

    def work(data: Any) -> Any:
        if data.input % 2 and broken:
            raise LookupError(data.input)
        return data.input

    body = flow.for_each(concurrency).to(work).to(asks_if(lambda n: n % 3 == 0)).to(running.same, name="last")
    body.end_for_each().to(running.keep())
    execution, _ = running.broken(flow, list(range(10)), LookupError)
    assert running.pending(execution) == ["q0", "q6"]
    running.answer(execution, "q6", 6)
    broken.clear()
    assert execution.retry() == 5
    running.balanced(execution)
    assert running.pending(execution) == ["q0", "q3", "q9"]
    answered_in_any_order(execution, 1)
    assert execution.get_state("out") == list(range(10))
    running.nothing_is_left(execution)


def test_retried_steps_that_find_no_place_are_held(flow: TriggerFlow) -> None:
    def fail(data: Any) -> Any:
        raise LookupError

    flow.for_each(concurrency=2).to(fail).end_for_each()
    execution, _ = running.broken(flow, [1, 2, 3, 4], LookupError)
    assert retry.retry(execution.pk, using="default", graph=flow.graph) == 4
    running.balanced(execution)
    assert [step.status for step in running.steps(execution)] == ["ready", "ready", "held", "held"]


def test_a_cancel_in_between_leaves_nothing_that_could_go_on(flow: TriggerFlow) -> None:
    body = flow.for_each(concurrency=2).for_each(concurrency=1).to(asks_if(lambda n: n % 2 == 0)).to(running.append())
    body.end_for_each().end_for_each().to(running.keep())
    execution = running.begin(flow, [[0, 1, 2], [3, 4, 5], [6]])
    running.answer(execution, "q2", 2)
    before = running.log(execution)
    assert execution.cancel(reason="enough") == {"log": before}
    assert {step.status for step in running.steps(execution)} == {StepStatus.DONE, StepStatus.CANCELLED}
    with pytest.raises(RuntimeError, match="closed"):
        execution.continue_with("q4", 4)
    assert running.log(execution) == before


def test_a_saved_copy_keeps_limits_and_windows(flow: TriggerFlow) -> None:
    body = flow.for_each(concurrency=2).to(asks_if(lambda n: n % 2 == 0)).to(running.append()).end_for_each()
    body.to(running.keep())
    execution = running.begin(flow, list(range(9)))
    copy = flow.create_execution(auto_close=False).load(execution.save(), as_new=True)
    for each in (execution, copy):
        running.balanced(each)
        answered_in_any_order(each, 3)
        assert each.get_state("out") == list(range(9))


def test_a_copy_saved_while_steps_are_held_below_a_joined_batch_goes_on(flow: TriggerFlow) -> None:
    flow.batch(("a", running.same), ("b", running.same), concurrency=1).to(running.keep())
    for index in range(3):
        flow.when("b").to(running.append(), name=f"after b {index}")
    stepper = Stepper(flow, 1, random.Random(1))  # noqa: S311 - an order, not a secret
    while not (running.joins(stepper.execution, status="fired") and running.steps(stepper.execution, "held")):
        assert stepper.act()
    copy = flow.create_execution(auto_close=False).load(stepper.execution.save(), as_new=True)
    copy.wait()
    assert running.log(copy) == [1, 1, 1]
    running.balanced(copy)
    stepper.run()
    assert running.log(stepper.execution) == [1, 1, 1]
