"""What a chunk's options do: retries, backoff, timeout, queue."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import override_settings

from tests.flows import running
from tests.flows.running import Flaky
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.definition import registry
from triggerflow_django.definition.chunk import ChunkOptions
from triggerflow_django.engine import fail

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def flow() -> Iterator[TriggerFlow]:
    flow = TriggerFlow(name="options test")
    yield flow
    registry.unregister(flow.name)


# -- retries and backoff


@pytest.mark.parametrize("times", [0, 1, 3])
def test_a_chunk_is_tried_again_and_leaves_nothing_of_the_attempts_that_raised(flow: TriggerFlow, times: int) -> None:
    flaky = Flaky(times)
    flow.to(flow.chunk(flaky, retries=3, backoff=0.001)).to(running.keep())
    assert running.run(flow, 5) == {"log": [times + 1], "out": 5}
    assert flaky.attempts == list(range(1, times + 2))


def test_after_its_retries_it_fails_with_the_last_error(flow: TriggerFlow) -> None:
    flaky = Flaky(9)
    flow.to(flow.chunk(flaky, retries=2, backoff=0.001)).to(running.keep())
    execution, error = running.broken(flow, 5, LookupError)
    assert str(error) == "attempt 3"
    (failed,) = running.steps(execution)
    assert (failed.status, failed.attempt, failed.failures, failed.error["message"]) == ("failed", 3, 3, "attempt 3")


def test_without_retries_the_first_error_is_the_last(flow: TriggerFlow) -> None:
    flaky = Flaky(1)
    flow.to(flaky).to(running.keep())
    running.broken(flow, 5, LookupError)
    assert flaky.attempts == [1]


def test_a_value_that_is_refused_is_not_tried_again(flow: TriggerFlow) -> None:
    attempts: list[int] = []

    def work(data: Any) -> Any:
        attempts.append(data.attempt)
        return {1, 2}

    flow.to(flow.chunk(work, retries=5, backoff=0.001))
    running.broken(flow, None, exceptions.JsonValueError)
    assert attempts == [1]


def test_the_wait_doubles_and_is_capped_and_jittered() -> None:
    with override_settings(TRIGGERFLOW={"RETRY_BACKOFF_MAX": 100}):
        for options, failures, longest in [
            (ChunkOptions(backoff=2), 1, 2), (ChunkOptions(backoff=2), 4, 16), (ChunkOptions(), 1, 1),
            (ChunkOptions(backoff=2), 7, 100), (ChunkOptions(backoff=2), 10_000, 100),
        ]:  # fmt: skip
            waits = [fail.backoff_seconds(options, failures) for _ in range(50)]
            assert longest / 2 <= min(waits) < max(waits) <= longest


# -- timeout


@pytest.mark.parametrize("retries", [0, 1])
def test_a_sync_chunk_that_takes_too_long_is_ended(flow: TriggerFlow, retries: int) -> None:
    attempts: list[int] = []

    def slow(data: Any) -> None:
        attempts.append(data.attempt)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            pass

    flow.to(flow.chunk(slow, timeout=0.05, retries=retries, backoff=0.001)).to(running.keep())
    execution, error = running.broken(flow, None, exceptions.ChunkTimeoutError)
    assert isinstance(error, TimeoutError)
    assert "chunk slow ran longer than its timeout of 0.05 s" in str(error)
    assert attempts == list(range(1, retries + 2))
    assert execution.get_status() == "failed"


def test_an_async_chunk_that_takes_too_long_is_cancelled(flow: TriggerFlow) -> None:
    ended: list[str] = []

    async def slow(data: Any) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    flow.to(flow.chunk(slow, timeout=0.05))
    running.broken(flow, None, exceptions.ChunkTimeoutError)
    assert ended == ["cancelled"]


@override_settings(TRIGGERFLOW={"CHUNK_TIMEOUT": 0.05})
def test_a_chunk_without_a_timeout_of_its_own_has_that_of_the_settings_and_none_means_none(flow: TriggerFlow) -> None:
    def work(data: Any) -> str:
        deadline = time.monotonic() + 0.15
        while time.monotonic() < deadline:
            pass
        return "done"

    flow.to(flow.chunk("limited", work))
    running.broken(flow, None, exceptions.ChunkTimeoutError)
    other = TriggerFlow(name="options test")
    other.to(other.chunk("free", work, timeout=None)).to(running.keep())
    assert running.run(other)["out"] == "done"


def test_a_condition_has_the_timeout_of_the_chunk_before_it(flow: TriggerFlow) -> None:
    def slow(data: Any) -> bool:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            pass
        return True

    with override_settings(TRIGGERFLOW={"CHUNK_TIMEOUT": 0.05}):
        flow.to(running.same).match().case(slow).end_match().to(running.keep())
        execution, _ = running.broken(flow, 1, exceptions.ChunkTimeoutError)
    assert [(step.kind, step.status) for step in running.steps(execution)] == [("chunk", "done"), ("route", "failed")]


# -- queue


def test_a_step_goes_to_the_queue_of_its_chunk(flow: TriggerFlow) -> None:
    flow.to(flow.chunk("slow one", running.same, queue="slow"))
    flow.to(flow.chunk("usual one", running.same))
    flow.match().case(lambda data: True).end_match()
    registry.register(flow)
    with override_settings(TRIGGERFLOW={"DEFAULT_QUEUE": "usual"}):
        execution = flow.start_execution(1, runner="rq")
    queues = {step.node: step.queue for step in running.steps(execution)}
    assert queues == {"slow one": "slow", "usual one": "usual", "START/match-1": "usual"}


def test_inline_there_is_no_queue(flow: TriggerFlow) -> None:
    flow.to(flow.chunk(running.same, queue="slow"))
    assert [step.queue for step in running.steps(running.begin(flow))] == [""]
