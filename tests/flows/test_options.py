"""What a chunk's options do: retries, backoff, timeout, queue, atomic; and a flow's ``skip_exceptions``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import override_settings

from tests.flows import running
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.definition import registry
from triggerflow_django.definition.chunk import ChunkOptions
from triggerflow_django.engine import fail
from triggerflow_django.models import Lifecycle, StepKind

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def flow() -> Iterator[TriggerFlow]:
    flow = TriggerFlow(name="options test")
    yield flow
    registry.unregister(flow.name)


class Flaky:
    """A chunk that raises a number of times before it gives its input."""

    def __init__(self, times: int) -> None:
        self.left = times
        self.attempts: list[int] = []

    def __call__(self, data: Any) -> Any:
        self.attempts.append(data.attempt)
        data.append_state("log", data.attempt)
        if self.left:
            self.left -= 1
            raise LookupError(f"attempt {data.attempt}")
        return data.input


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


# -- atomic


def writes(data: Any) -> Any:
    Group.objects.create(name=f"attempt {data.attempt}")
    return data.input


def names() -> list[str]:
    return sorted(Group.objects.values_list("name", flat=True))


def test_what_an_atomic_chunk_wrote_commits_with_its_step(flow: TriggerFlow) -> None:
    flow.to(flow.chunk(writes, atomic=True)).to(running.keep())
    assert running.run(flow, 5) == {"out": 5}
    assert names() == ["attempt 1"]


def test_what_an_atomic_chunk_wrote_is_undone_when_it_raises(flow: TriggerFlow) -> None:
    def fail_once(data: Any) -> Any:
        writes(data)
        if data.attempt == 1:
            raise LookupError
        return data.input

    flow.to(flow.chunk(fail_once, atomic=True, retries=1, backoff=0.001)).to(running.keep())
    assert running.run(flow, 5) == {"out": 5}
    assert names() == ["attempt 2"]


def refused_value(data: Any) -> Any:
    writes(data)
    return {1, 2}


def refused_pause(data: Any) -> Any:
    writes(data)
    return data.pause_for(interrupt_id="q", approvers=["user:nobody here"])


@pytest.mark.parametrize("chunk", [refused_value, refused_pause])
def test_what_an_atomic_chunk_wrote_is_undone_when_its_outcome_is_refused(flow: TriggerFlow, chunk: Any) -> None:
    flow.to(flow.chunk(chunk, atomic=True))
    running.broken(flow, None, ValueError)
    assert names() == []


def test_an_atomic_chunk_may_pause_emit_and_write_state(flow: TriggerFlow) -> None:
    def ask(data: Any) -> Any:
        writes(data)
        data.set_state("key", 1)
        data.emit("E", 2)
        return data.pause_for(interrupt_id="q")

    flow.to(flow.chunk(ask, atomic=True)).to(running.keep())
    flow.when("E").to(running.append())
    execution = running.begin(flow)
    assert execution.get_state() == {"key": 1, "log": [2]}
    running.answer(execution, "q", "yes")
    assert execution.get_state("out") == "yes"
    assert names() == ["attempt 1"]


def test_conditions_after_an_atomic_chunk_are_asked_outside_of_its_transaction(flow: TriggerFlow) -> None:
    def check(data: Any) -> bool:
        assert names() == ["attempt 1"]
        return data.get_state("key") == 1

    def note(data: Any) -> Any:
        data.set_state("key", 1)
        return writes(data)

    flow.to(flow.chunk(note, atomic=True)).match().case(check).to(running.keep()).end_match()
    execution = running.begin(flow, 5)
    assert execution.get_state("out") == 5
    assert [step.kind for step in running.steps(execution)] == [StepKind.CHUNK, StepKind.ROUTE, StepKind.CHUNK]


# -- skip_exceptions


@pytest.mark.parametrize("place", ["flow", "execution"])
def test_a_skipped_exception_ends_its_own_chain_and_nothing_else(place: str) -> None:
    flow = TriggerFlow(name="skipping", skip_exceptions=place == "flow")
    start = flow.to(running.same)
    start.to(Flaky(1)).to(running.keep("never"))
    start.to(running.keep()).to(running.append())
    flow.when("E").to(running.append())
    execution = running.begin(flow, 5, skip_exceptions=None if place == "flow" else True)
    execution.emit("E", 6)
    assert execution.get_state() == {"out": 5, "log": [5, 6]}
    assert execution.get_status() == "running"
    assert running.nodes(execution, "failed") == ["Flaky"]
    assert execution.close() == {"out": 5, "log": [5, 6]}
    assert (execution.get_status(), execution.row().lifecycle) == ("completed", Lifecycle.CLOSED)


def test_an_execution_may_insist_on_exceptions_its_flow_skips() -> None:
    flow = TriggerFlow(name="skipping", skip_exceptions=True)
    flow.to(Flaky(1))
    with pytest.raises(LookupError):
        running.begin(flow, 5, skip_exceptions=False)


def test_a_skipped_failure_in_a_limited_loop_lets_the_next_item_in() -> None:
    flow = TriggerFlow(name="skipping", skip_exceptions=True)
    flow.for_each(concurrency=1).to(Flaky(2)).to(running.append()).end_for_each().to(running.keep())
    execution = running.begin(flow, [1, 2, 3])
    assert running.log(execution) == [1, 3]
    assert execution.close() == {"log": [1, 3]}


def test_a_skipped_failure_can_still_be_retried() -> None:
    flow = TriggerFlow(name="skipping", skip_exceptions=True)
    flow.batch(Flaky(1), ("b", running.same)).to(running.keep())
    execution = running.begin(flow, 5)
    assert execution.retry() == 1
    assert execution.get_state("out") == {"Flaky": 5, "b": 5}
    running.nothing_is_left(execution)
