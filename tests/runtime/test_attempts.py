"""data.attempt, data.idempotency_key and data.is_cancelled: what a chunk tells systems outside."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from django.db import connections

from tests.handles.loops import in_a_loop
from triggerflow_django import TriggerFlow
from triggerflow_django.models import Execution, Step

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_key_is_the_same_in_every_attempt_and_the_attempts_count() -> None:
    flow, seen = TriggerFlow("attempts"), []

    @flow.chunk(retries=2, backoff=0.001)
    def flaky(data: Any) -> None:
        seen.append((data.attempt, data.idempotency_key))
        if data.attempt < 3:
            raise LookupError("not yet")

    flow.to(flaky)
    flow.start()
    assert [attempt for attempt, _key in seen] == [1, 2, 3]
    assert len({key for _attempt, key in seen}) == 1


def test_the_key_stays_when_an_operator_retries() -> None:
    flow, keys = TriggerFlow("attempts"), []

    def failing(data: Any) -> None:
        keys.append(data.idempotency_key)
        raise LookupError("never")

    flow.to(failing)
    execution = flow.create_execution(auto_close=False)
    for call in (execution.start, execution.retry):
        with pytest.raises(LookupError):
            call()
    assert len(keys) == 2
    assert keys[0] == keys[1]


def test_no_two_steps_share_a_key() -> None:
    flow, keys = TriggerFlow("attempts"), []

    def note(data: Any) -> Any:
        keys.append(data.idempotency_key)
        return data.input

    def ask(data: Any) -> Any:
        note(data)
        return None if data.resume.value == "enough" else data.pause_for(resume_to="self", max_resumes=None)

    flow.to(("first", note)).to(("second", note)).for_each().to(("item", note)).end_for_each().to(("joined", note))
    flow.when("again").to(("again", note))
    flow.when("ask").to(("ask", ask))
    first, second = (flow.start_execution([1, 1, 1], auto_close=False) for _time in range(2))
    for execution in (first, second):
        for _time in range(3):
            execution.emit("again", "same value")
        execution.emit("ask")
        for answer in ("again", "again", "enough"):
            [interrupt_id] = execution.get_pending_interrupts()
            execution.continue_with(interrupt_id, answer)
    assert len(keys) == len(set(keys)) == Step.objects.count() == 2 * (6 + 3 + 4)
    assert all(key.startswith((first.id, second.id)) for key in keys)


def test_a_step_lost_by_its_worker_keeps_its_key() -> None:
    flow, seen = TriggerFlow("attempts"), []
    flow.when("go").to(("step", lambda data: seen.append((data.attempt, data.idempotency_key))))
    execution = flow.start_execution(auto_close=False)
    execution.emit("go")
    Step.objects.update(status="ready", lost=1)  # as if its worker had vanished before the commit
    Execution.objects.update(active_steps=1)
    execution.set_state("nothing", 1)
    (one, key), (two, again) = seen
    assert (one, two) == (1, 2)
    assert key == again


def _in_a_thread(function: Any) -> None:
    def run() -> None:
        try:
            function()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()


def test_a_long_sync_chunk_sees_that_its_execution_was_cancelled() -> None:
    flow, seen = TriggerFlow("long"), []

    def long(data: Any) -> None:
        seen.append(data.is_cancelled())
        _in_a_thread(lambda: flow.get_execution(data.execution_id).cancel(reason="withdrawn"))
        seen.append(data.is_cancelled())
        data.set_state("too late", True)

    flow.to(long)
    execution = flow.start_execution(auto_close=False)
    assert seen == [False, True]
    assert (execution.get_status(), execution.get_snapshot()) == ("cancelled", {})


@in_a_loop
async def test_a_long_async_chunk_sees_it_in_both_spellings() -> None:
    flow, running, go, seen = TriggerFlow("long"), asyncio.Event(), asyncio.Event(), []

    async def long(data: Any) -> None:
        seen.append((data.is_cancelled(), await data.async_is_cancelled()))
        running.set()
        await go.wait()
        seen.append((data.is_cancelled(), await data.async_is_cancelled()))

    flow.to(long)
    execution = flow.create_execution(auto_close=False)
    starting = asyncio.create_task(execution.async_start())
    await running.wait()
    await execution.async_cancel()
    go.set()
    await starting
    assert seen == [(False, False), (True, True)]


def test_a_step_taken_over_by_another_process_is_cancelled_here() -> None:
    flow, seen = TriggerFlow("long"), []

    def long(data: Any) -> None:
        if data.attempt == 1:
            _in_a_thread(lambda: Step.objects.update(attempt=2))
        seen.append(data.is_cancelled())

    flow.to(long)
    flow.start_execution(auto_close=False)
    assert seen == [True]
