"""emit and emit_nowait on the handle: what comes back, when handlers run, where their errors surface."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.handles.loops import in_a_loop, in_database_thread
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.models import Step, StepStatus

pytestmark = pytest.mark.django_db(transaction=True)


def listening() -> TriggerFlow:
    flow = TriggerFlow("listening")

    async def record(data: Any) -> None:
        await data.async_append_state("got", data.input)

    flow.when("item").to(("double", lambda data: data.input * 2)).to(record)
    flow.when("item").to(("negate", lambda data: -data.input))
    return flow


def test_emit_returns_what_the_handlers_returned_once_everything_has_settled() -> None:
    execution = listening().start_execution(auto_close=False)
    assert execution.emit("item", 4) == [8, -4]
    assert execution.get_state("got") == [8]


def test_emit_of_an_event_nobody_handles_returns_none() -> None:
    execution = listening().start_execution(auto_close=False)
    assert execution.emit("nothing", 4) is None
    assert execution.get_status() == "running"


def test_emit_before_the_start_runs_the_handlers_and_leaves_it_created() -> None:
    execution = listening().create_execution(auto_close=False)
    assert execution.emit("item", 1) == [2, -1]
    assert execution.get_status() == "created"
    execution.start()
    assert execution.get_state("got") == [2]


def test_emit_into_a_sealed_or_closed_execution_is_refused() -> None:
    execution = listening().start_execution(auto_close=False)
    execution.seal()
    for call in (execution.emit, execution.emit_nowait):
        with pytest.raises(exceptions.ExecutionNotOpenError, match="sealed"):
            call("item", 1)
    execution.unseal()
    execution.close()
    with pytest.raises(RuntimeError, match="closed"):
        execution.emit("item", 1)
    assert not Step.objects.exists()


def test_a_wrong_event_or_value_is_refused_before_anything_is_stored() -> None:
    execution = listening().create_execution()
    for event, value in (("", 1), (7, 1), ("x" * 201, 1), ("item", float("nan"))):
        with pytest.raises(exceptions.JsonValueError):
            execution.emit(event, value)  # type: ignore[arg-type]
    assert execution.emit("x" * 200) is None


def test_emit_nowait_in_a_script_leaves_the_handlers_to_the_next_call_that_waits() -> None:
    execution = listening().start_execution(auto_close=False)
    assert execution.emit_nowait("item", 3) is None  # type: ignore[func-returns-value]
    assert execution.get_state("got") is None
    assert Step.objects.filter(status=StepStatus.READY).count() == 2
    execution.wait()
    assert execution.get_state("got") == [6]


def test_close_runs_what_emit_nowait_left() -> None:
    execution = listening().start_execution(auto_close=False)
    execution.emit_nowait("item", 3)
    assert execution.close() == {"got": [6]}


@in_a_loop
async def test_emit_nowait_in_a_loop_runs_the_handlers_beside_the_caller() -> None:
    execution = await listening().async_start_execution(auto_close=False)
    await execution.async_emit_nowait("item", 3)
    execution.emit_nowait("item", 4)
    while len(await execution.async_get_state("got", [])) < 2:
        await asyncio.sleep(0.005)
    assert sorted(await execution.async_get_state("got")) == [6, 8]


@in_a_loop
async def test_an_event_comes_in_while_a_chunk_is_running() -> None:
    flow, running, go = listening(), asyncio.Event(), asyncio.Event()

    async def slow(data: Any) -> None:
        running.set()
        await go.wait()
        data.append_state("got", "slow")

    flow.to(slow)
    execution = flow.create_execution(auto_close=False)
    starting = asyncio.create_task(execution.async_start())
    await running.wait()
    assert await execution.async_emit("item", 4) == [8, -4]
    assert execution.emit("item", 5) == [10, -5]
    assert not starting.done()
    go.set()
    await starting
    assert await execution.async_get_state("got") == [8, 10, "slow"]


@in_a_loop
async def test_close_waits_for_what_emit_nowait_left_running() -> None:
    flow, go = TriggerFlow("slow"), asyncio.Event()

    async def slow(data: Any) -> None:
        await go.wait()
        data.set_state("slow", data.input)

    flow.when("item").to(slow)
    execution = await flow.async_start_execution(auto_close=False)
    await execution.async_emit_nowait("item", 1)
    closing = asyncio.create_task(execution.async_close())
    while not await execution.async_is_sealed():
        await asyncio.sleep(0.005)
    assert not closing.done()
    go.set()
    assert await closing == {"slow": 1}


@in_a_loop
async def test_an_error_of_background_work_is_raised_by_close_after_it_has_closed() -> None:
    flow, error = TriggerFlow("failing"), LookupError("in the background")

    async def fail(data: Any) -> None:
        raise error

    flow.when("item").to(fail)
    execution = await flow.async_start_execution(auto_close=False)
    await execution.async_emit_nowait("item")
    while await execution.async_get_status() != "failed":
        await asyncio.sleep(0.005)
    with pytest.raises(LookupError) as caught:
        await execution.async_close()
    assert caught.value is error
    assert await execution.async_is_closed()
    assert await execution.async_close() == {}, "told once"


@in_a_loop
async def test_a_sync_call_is_refused_while_a_background_drain_needs_the_loop() -> None:
    flow, running, go = TriggerFlow("slow"), asyncio.Event(), asyncio.Event()

    async def slow(data: Any) -> None:
        running.set()
        await go.wait()

    flow.when("item").to(slow)
    execution = await flow.async_start_execution()
    execution.emit_nowait("item", 1)
    await running.wait()
    # The times are for the case that they do wait.
    for name, arguments in (("close", {"timeout": 5}), ("wait", {"timeout": 5}), ("start", {})):
        with pytest.raises(exceptions.SyncInLoopError, match=f"async_{name}"):
            getattr(execution, name)(**arguments)
    assert execution.is_open(), "reads do not wait for chunks"
    execution.set_state("note", "nor do writes")
    go.set()
    assert await execution.async_close() == {"note": "nor do writes"}


@in_a_loop
async def test_background_work_of_a_loop_that_ended_is_given_back() -> None:
    flow, running = TriggerFlow("long"), asyncio.Event()

    async def long(data: Any) -> None:
        if data.attempt == 1:
            running.set()
            await asyncio.Event().wait()

    flow.when("item").to(long)
    execution = await flow.async_start_execution(auto_close=False)
    await execution.async_emit_nowait("item")
    await running.wait()
    [drain] = execution.background_drains
    drain.cancel()  # as asyncio.run does at its end
    await asyncio.gather(drain, return_exceptions=True)
    assert await in_database_thread(lambda: Step.objects.get().status) == StepStatus.READY
    await execution.async_wait()
    assert await in_database_thread(lambda: Step.objects.get().status) == StepStatus.DONE
