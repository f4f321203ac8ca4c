"""Failure: when a step is tried again, after an error and after its worker has vanished."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from tests.engine import driving
from triggerflow_django import TriggerFlow
from triggerflow_django.definition.chunk import ChunkOptions
from triggerflow_django.engine import fail
from triggerflow_django.models import Step

pytestmark = pytest.mark.django_db

Travel = Callable[[float], None]


def failing(error: Callable[[], BaseException], **options: Any) -> TriggerFlow:
    """A flow whose first chunk raises, and whose other branch works and asks."""

    def breaks(_data: Any) -> None:
        raise error()

    flow = TriggerFlow(name="refund")
    flow.to(flow.chunk(**options)(breaks)).to(driving.nothing(), name="after")
    flow.to(lambda data: data.set_state("worked", True), name="works").to(
        lambda data: data.pause_for(interrupt_id="gate"), name="asks"
    )
    return flow


# -- tried again


def test_by_default_nothing_is_tried_again() -> None:
    pk = driving.settled(failing(lambda: ConnectionError("no")))
    step = driving.step(pk, "breaks")
    assert (step.status, step.attempt, step.failures) == ("failed", 1, 1)


def test_retries_back_off_and_then_it_fails_for_good(travel: Travel) -> None:
    flow = failing(lambda: ConnectionError("no"), retries=2, backoff=100.0)
    pk = driving.start(flow)
    running = driving.drainer(pk, flow)
    waits = []
    for attempt in (1, 2, 3):
        (step,) = [step for step in driving.claim(pk, flow, token=running.context.token) if step.node == "breaks"]
        assert (step.attempt, step.failures) == (attempt, attempt - 1)
        driving.run(running, step)
        step = driving.step(pk, "breaks")
        assert step.error["message"] == "no"
        assert step.failures == attempt
        if attempt < 3:
            assert step.status == "ready"
            assert step.lease_expires_at is None
            assert not driving.row(pk).failed_steps
            waits.append((step.available_at - step.started_at).total_seconds())
            travel(waits[-1])
    assert driving.step(pk, "breaks").status == "failed"
    assert driving.row(pk).status == "failed"
    # 50 to 100 % of 100 s, then of 200 s.
    assert 49 < waits[0] < 101
    assert 99 < waits[1] < 201


def test_a_step_that_backs_off_is_not_claimed_before_its_time(travel: Travel) -> None:
    flow = TriggerFlow(name="refund")
    flow.to(flow.chunk(retries=1, backoff=100.0)(lambda data: data.input["x"]), name="breaks")
    pk = driving.start(flow, {})
    running, step = driving.claimed(pk, flow)
    driving.run(running, step)
    assert driving.claim(pk, flow) == []
    travel(101)
    assert len(driving.claim(pk, flow)) == 1


def test_a_step_that_succeeds_at_last_leaves_no_failure_behind(travel: Travel) -> None:
    def flaky(data: Any) -> str:
        if data.attempt < 3:
            raise ConnectionError("again")
        return f"{data.attempt} {data.idempotency_key}"

    flow = TriggerFlow(name="refund")
    flow.to(flow.chunk(retries=5, backoff=1.0)(flaky))
    pk = driving.start(flow)
    running = driving.drainer(pk, flow)
    for _ in range(3):
        travel(100)
        (step,) = driving.claim(pk, flow, token=running.context.token)
        driving.run(running, step)
    step = driving.step(pk, "flaky")
    assert (step.status, step.attempt, step.failures) == ("done", 3, 2)
    assert driving.consistent(pk).failed_steps == 0


def test_the_idempotency_key_is_the_same_in_every_attempt_and_in_no_other_step(travel: Travel) -> None:
    keys: list[str] = []

    def flaky(data: Any) -> None:
        keys.append(data.idempotency_key)
        if data.attempt == 1:
            raise ConnectionError("again")

    flow = TriggerFlow(name="refund")
    flow.for_each().to(flow.chunk(retries=1, backoff=1.0)(flaky)).end_for_each()
    pk = driving.start(flow, [1, 2, 3])
    for _ in range(2):
        running = driving.drainer(pk, flow)
        for step in driving.claim(pk, flow, token=running.context.token):
            driving.run(running, step)
        travel(100)
    assert len(keys) == 6
    assert len(set(keys)) == 3
    assert set(keys[:3]) == set(keys[3:])


@pytest.mark.parametrize(
    ("backoff", "failures", "least", "most"),
    [(2.0, 1, 1.0, 2.0), (2.0, 3, 4.0, 8.0), (None, 1, 0.5, 1.0), (2.0, 60, 1800.0, 3600.0), (2.0, 10**6, 1800, 3600)],
)
def test_the_backoff_doubles_is_jittered_and_capped(
    backoff: float | None, failures: int, least: float, most: float
) -> None:
    waits = [fail.backoff_seconds(ChunkOptions(backoff=backoff), failures) for _ in range(200)]
    assert least <= min(waits) <= max(waits) <= most
    assert len(set(waits)) > 100


def test_a_refusal_by_the_engine_is_not_tried_again_since_it_would_be_the_same() -> None:
    flow = TriggerFlow(name="refund")
    flow.to(flow.chunk(retries=5, backoff=0.001)(lambda data: object()), name="gives")
    pk = driving.settled(flow)
    assert driving.step(pk, "gives").attempt == 1


def test_a_fenced_attempt_s_failure_changes_nothing(travel: Travel) -> None:
    """Invariant 8."""
    flow = failing(lambda: ValueError("no"))
    pk = driving.start(flow)
    running = driving.drainer(pk, flow)
    (step,) = [step for step in driving.claim(pk, flow, token=running.context.token) if step.node == "breaks"]
    travel(1000)
    assert fail.lost(step, using="default") is True
    before = driving.everything(pk)
    driving.run(running, step)
    assert driving.everything(pk) == before


def lease(pk: uuid.UUID, flow: TriggerFlow, travel: Travel) -> Step:
    """The flow's only step, claimed by a worker that vanishes."""
    (step,) = driving.claim(pk, flow)
    travel(61)
    return step


@pytest.fixture
def single() -> TriggerFlow:
    flow = TriggerFlow(name="refund")
    flow.to(driving.nothing(), name="one").to(driving.nothing(), name="two")
    return flow


# -- lost workers


def test_a_step_whose_worker_vanished_is_ready_again(single: TriggerFlow, travel: Travel) -> None:
    pk = driving.start(single)
    step = lease(pk, single, travel)
    assert fail.lost(step, using="default") is True
    again = driving.step(pk, "one")
    assert (again.status, again.attempt, again.lost, again.lease_expires_at) == ("ready", 1, 1, None)
    assert driving.consistent(pk).active_steps == 1
    driving.drain(pk, single)
    assert driving.statuses(pk) == {"one": "done", "two": "done"}
    assert driving.step(pk, "one").attempt == 2


def test_a_step_whose_lease_is_alive_is_not_taken(single: TriggerFlow) -> None:
    pk = driving.start(single)
    (step,) = driving.claim(pk, single)
    assert fail.lost(step, using="default") is False
    assert driving.step(pk, "one").status == "running"


def test_a_step_that_kills_its_worker_every_time_ends_as_failed(single: TriggerFlow, travel: Travel) -> None:
    """Invariant 8: attempts are counted at the claim, and MAX_LOST (5) is the end."""
    pk = driving.start(single)
    for lost in range(1, 6):
        step = lease(pk, single, travel)
        assert step.attempt == lost
        assert fail.lost(step, using="default") is True
    step = driving.step(pk, "one")
    assert (step.status, step.attempt) == ("failed", 5)
    assert step.error["type"] == "triggerflow_django.exceptions.LostStepError"
    assert "died or vanished 5 times while it ran chunk 'one'" in step.error["message"]
    assert driving.consistent(pk).status == "failed"
    assert driving.claim(pk, single) == []


def test_a_lost_step_is_taken_once(single: TriggerFlow, travel: Travel) -> None:
    pk = driving.start(single)
    step = lease(pk, single, travel)
    assert fail.lost(step, using="default") is True
    before = driving.everything(pk)
    assert fail.lost(step, using="default") is False
    assert driving.everything(pk) == before
    driving.claim(pk, single)
    travel(61)
    assert fail.lost(step, using="default") is False  # another attempt's lease
