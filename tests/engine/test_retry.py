"""Retrying failed steps: an act that is recorded, clears the failure, and moves past no interrupt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User

from tests.engine import driving
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.engine import lifecycle, retry
from triggerflow_django.models import Event, EventKind, Step

pytestmark = pytest.mark.django_db


class Repaired:
    """Chunks that fail until they are repaired."""

    def __init__(self) -> None:
        self.done = False
        self.flow = TriggerFlow(name="refund")
        self.flow.to(self.one, name="one").to(driving.nothing(), name="after-one")
        self.flow.to(self.one, name="two").to(driving.nothing(), name="after-two")

    def one(self, data: Any) -> str:
        if not self.done:
            raise ConnectionError("down")
        return f"attempt {data.attempt}"


@pytest.fixture
def repaired() -> Repaired:
    return Repaired()


def test_a_retry_clears_the_failure_and_runs_the_step_again(repaired: Repaired, clerk: User) -> None:
    pk = driving.settled(repaired.flow)
    assert driving.consistent(pk).failed_steps == 2
    assert retry.retry(pk, using="default", actor=clerk, reason="repaired", graph=repaired.flow.graph) == 2
    execution = driving.consistent(pk)
    assert (execution.status, execution.failed_steps, execution.active_steps) == ("running", 0, 2)
    step = driving.step(pk, "one")
    assert (step.status, step.failures, step.lost, step.finished_at) == ("ready", 0, 0, None)
    told = Event.objects.filter(execution_id=pk, kind=EventKind.STEP_RETRIED).order_by("sequence").first()
    assert told is not None
    assert (told.name, told.actor_label) == ("one", "clerk")
    assert told.data == {"step": step.pk, "reason": "repaired"}
    repaired.done = True
    assert driving.drain(pk, repaired.flow) == []
    assert driving.step(pk, "one").output == "attempt 2"
    assert set(driving.statuses(pk).values()) == {"done"}


def test_one_step_can_be_retried_by_itself(repaired: Repaired) -> None:
    pk = driving.settled(repaired.flow)
    assert retry.retry(pk, using="default", step_id=driving.step(pk, "two").pk) == 1
    assert driving.statuses(pk) == {"one": "failed", "two": "ready"}
    execution = driving.consistent(pk)
    assert (execution.failed_steps, execution.status) == (1, "failed")


def test_retrying_again_when_it_fails_again(repaired: Repaired) -> None:
    pk = driving.settled(repaired.flow)
    for attempt in (2, 3):
        retry.retry(pk, using="default", graph=repaired.flow.graph)
        assert len(driving.drain(pk, repaired.flow)) == 2
        assert driving.step(pk, "one").attempt == attempt
        assert driving.consistent(pk).status == "failed"


def test_retries_of_the_chunk_are_counted_anew(travel: Callable[[float], None]) -> None:
    flow = TriggerFlow(name="refund")
    flow.to(flow.chunk(retries=1, backoff=1.0)(lambda data: data.input["x"]), name="one")
    pk = driving.start(flow, {})
    running = driving.drainer(pk, flow)
    for _ in range(2):
        driving.run(running, driving.claim(pk, flow, token=running.context.token)[0])
        travel(2)
    assert driving.step(pk, "one").status == "failed"
    retry.retry(pk, using="default")
    driving.run(running, driving.claim(pk, flow, token=running.context.token)[0])
    step = driving.step(pk, "one")
    assert (step.status, step.attempt, step.failures) == ("ready", 3, 1)


@pytest.mark.parametrize("step_id", [None, 0, 10**9, -1])
def test_there_must_be_such_a_failed_step(step_id: int | None) -> None:
    flow = TriggerFlow(name="refund")
    flow.to(driving.nothing(), name="one").to(lambda data: data.pause_for(interrupt_id="gate"), name="ask")
    pk = driving.settled(flow)
    before = driving.everything(pk)
    with pytest.raises(exceptions.UnknownStepError, match="no failed step") as caught:
        retry.retry(pk, using="default", step_id=step_id)
    assert isinstance(caught.value, KeyError)
    assert driving.everything(pk) == before


def test_a_paused_step_is_not_retried_so_a_retry_moves_past_no_interrupt(repaired: Repaired) -> None:
    """Retry never resumes an interrupt and never moves past a waiting one."""
    flow = repaired.flow
    flow.to(lambda data: data.pause_for(interrupt_id="gate"), name="ask").to(driving.nothing(), name="after-gate")
    pk = driving.settled(flow)
    paused = driving.step(pk, "ask")
    with pytest.raises(exceptions.UnknownStepError):
        retry.retry(pk, using="default", step_id=paused.pk)
    retry.retry(pk, using="default")
    repaired.done = True
    driving.drain(pk, flow)
    assert driving.step(pk, "ask").status == "paused"
    assert driving.interrupt(pk, "gate").status == "waiting"
    assert "after-gate" not in driving.statuses(pk)
    assert driving.consistent(pk).status == "waiting"


def test_a_step_of_another_execution_is_not_retried(repaired: Repaired) -> None:
    mine, other = driving.settled(repaired.flow), driving.settled(repaired.flow)
    with pytest.raises(exceptions.UnknownStepError):
        retry.retry(mine, using="default", step_id=driving.step(other, "one").pk)


def test_a_sealed_execution_may_be_repaired_and_a_closed_one_not(repaired: Repaired) -> None:
    pk = driving.settled(repaired.flow)
    lifecycle.seal(pk, using="default")
    assert retry.retry(pk, using="default") == 2
    driving.drain(pk, repaired.flow)
    lifecycle.request_close(pk, using="default")
    with pytest.raises(exceptions.ExecutionNotOpenError, match=r"is closed \(failed\): retry refused"):
        retry.retry(pk, using="default")


def test_a_retry_keeps_the_limit_of_its_fan_out() -> None:
    flow = TriggerFlow(name="lines")
    flow.for_each(concurrency=1).to(lambda data: data.input["x"], name="line").end_for_each()
    pk = driving.settled(flow, [{}, {}, {}])
    assert Step.objects.filter(status="failed").count() == 3
    retry.retry(pk, using="default", graph=flow.graph)
    assert sorted(Step.objects.values_list("status", flat=True)) == ["held", "held", "ready"]
    driving.consistent(pk)
    driving.drain(pk, flow)
    assert Step.objects.filter(status="failed").count() == 3
    driving.consistent(pk)


def test_a_retry_where_exceptions_are_skipped_counts_nothing_twice() -> None:
    flow = TriggerFlow(name="refund", skip_exceptions=True)
    flow.to(lambda data: data.input["x"], name="one")
    pk = driving.settled(flow, {})
    assert retry.retry(pk, using="default") == 1
    assert driving.consistent(pk).failed_steps == 0
    driving.drain(pk, flow)
    assert driving.consistent(pk).failed_steps == 0
