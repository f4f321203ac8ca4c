"""What a chunk raises comes out of the call that ran it, unchanged; nothing is left open behind ``flow.start``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.handles.loops import in_a_loop
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.models import Execution, Interrupt, Step, StepStatus

pytestmark = pytest.mark.django_db(transaction=True)


class ShopClosedError(Exception):
    """A project's own error, with more than a message."""

    def __init__(self, hour: int) -> None:
        super().__init__(f"closed at {hour}")
        self.hour = hour


def raising(error: BaseException, *, on: str | None = None, asynchronous: bool = False) -> TriggerFlow:
    flow = TriggerFlow("raising")

    def sync_chunk(data: Any) -> None:
        raise error

    async def async_chunk(data: Any) -> None:
        raise error

    chunk = async_chunk if asynchronous else sync_chunk
    (flow if on is None else flow.when(on)).to(("raises", chunk))
    return flow


@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_very_error_comes_out_of_start(asynchronous: bool) -> None:
    error = ShopClosedError(18)
    execution = raising(error, asynchronous=asynchronous).create_execution(auto_close=False)
    with pytest.raises(ShopClosedError) as caught:
        execution.start()
    assert caught.value is error
    assert (execution.get_status(), execution.get_lifecycle_state()) == ("failed", "open")


@pytest.mark.parametrize("asynchronous", [False, True])
@in_a_loop
async def test_the_very_error_comes_out_of_every_async_call(asynchronous: bool) -> None:
    error = ShopClosedError(18)
    flow = raising(error, on="late", asynchronous=asynchronous)
    with pytest.raises(ShopClosedError) as caught:
        await raising(error, asynchronous=asynchronous).create_execution(auto_close=False).async_start()
    assert caught.value is error
    with pytest.raises(ShopClosedError) as caught:
        await raising(error, asynchronous=asynchronous).async_start_execution()
    assert caught.value is error
    execution = await flow.async_start_execution()
    with pytest.raises(ShopClosedError) as caught:
        await execution.async_emit("late")
    assert caught.value is error
    with pytest.raises(ShopClosedError) as caught:
        await execution.async_retry()
    assert caught.value is error


def test_the_very_error_comes_out_of_emit_continue_with_and_set_state() -> None:
    error = ShopClosedError(18)
    flow = TriggerFlow("calls")

    def fail(data: Any) -> None:
        raise error

    flow.to(("ask", lambda data: data.pause_for(type="approval", interrupt_id="gate"))).to(fail)
    flow.when("late").to(("late", fail))
    flow.when({"runtime_data": "total"}).to(("total", fail))
    execution = flow.start_execution(auto_close=False)
    calls: list[Callable[[], Any]] = [
        lambda: execution.emit("late"),
        lambda: execution.continue_with("gate", 1),
        lambda: execution.set_state("total", 1),
    ]
    for call in calls:
        with pytest.raises(ShopClosedError) as caught:
            call()
        assert caught.value is error
    interrupt = execution.get_interrupt("gate")
    assert interrupt is not None
    assert interrupt["status"] == "resumed", "the person decided, whatever the chunk after it did"
    assert Step.objects.filter(status=StepStatus.FAILED).count() == 3


def test_of_several_failures_the_first_is_raised_and_the_siblings_end() -> None:
    flow = TriggerFlow("several")
    ran: list[str] = []

    def branch(name: str) -> Any:
        def run(data: Any) -> None:
            ran.append(name)
            if name != "fine":
                raise LookupError(name)

        return (name, run)

    for name in ("first", "fine", "second"):
        flow.to(branch(name))
    with pytest.raises(LookupError, match="first"):
        flow.start_execution()
    assert ran == ["first", "fine", "second"]
    assert Execution.objects.get().failed_steps == 2


def test_an_error_is_raised_once_and_not_by_the_next_call() -> None:
    execution = raising(ShopClosedError(18), on="late").start_execution(auto_close=False)
    with pytest.raises(ShopClosedError):
        execution.emit("late")
    execution.set_state("note", 1)
    assert execution.wait() is execution
    assert execution.close() == {"note": 1}
    assert execution.get_status() == "failed"


def test_with_skip_exceptions_nothing_is_raised_and_the_other_chains_go_on() -> None:
    flow = TriggerFlow("skipping", skip_exceptions=True)

    def fail(data: Any) -> None:
        raise ShopClosedError(18)

    flow.to(fail).to(("never", lambda data: data.set_state("never", True)))
    flow.to(("fine", lambda data: data.set_state("fine", True)))
    assert flow.start() == {"fine": True}
    assert Execution.objects.get().status == "completed"
    with pytest.raises(ShopClosedError):
        flow.start(skip_exceptions=False)


# -- flow.start leaves nothing behind


def test_a_failed_flow_start_leaves_nothing_open() -> None:
    with pytest.raises(ShopClosedError):
        raising(ShopClosedError(18)).start()
    row = Execution.objects.get()
    assert (row.lifecycle, row.status, row.active_steps) == ("closed", "failed", 0)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_flow_start_that_meets_a_pause_raises_and_leaves_nothing_in_an_inbox(asynchronous: bool) -> None:
    flow = TriggerFlow("pausing")

    async def ask_async(data: Any) -> Any:
        return await data.async_pause_for(type="approval")

    flow.to(("ask", ask_async if asynchronous else lambda data: data.pause_for(type="approval")))
    flow.to(("beside", lambda data: data.set_state("beside", True)))
    with pytest.raises(exceptions.NoHandleError, match="start_execution"):
        flow.start()
    assert issubclass(exceptions.NoHandleError, RuntimeError)
    assert not Interrupt.objects.exists()
    row = Execution.objects.get()
    assert (row.lifecycle, row.active_steps, row.pending_interrupts) == ("closed", 0, 0)


@in_a_loop
async def test_a_cancelled_flow_start_leaves_nothing_open() -> None:
    import asyncio

    flow, running = TriggerFlow("long"), asyncio.Event()

    async def long(data: Any) -> None:
        running.set()
        await asyncio.Event().wait()

    flow.to(long)
    starting = asyncio.create_task(flow.async_start())
    await running.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    row = await Execution.objects.aget()
    assert (row.lifecycle, row.status, row.active_steps) == ("closed", "cancelled", 0)


@in_a_loop
async def test_a_cancelled_start_gives_its_step_back() -> None:
    import asyncio

    flow, running = TriggerFlow("long"), asyncio.Event()

    async def long(data: Any) -> None:
        running.set()
        if data.attempt == 1:
            await asyncio.Event().wait()
        data.set_state("attempt", data.attempt)

    flow.to(long)
    execution = flow.create_execution(auto_close=False)
    starting = asyncio.create_task(execution.async_start())
    await running.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    step = await Step.objects.aget()
    assert (step.status, step.lease_expires_at) == ("ready", None)
    await execution.async_wait()
    assert await execution.async_get_state() == {"attempt": 2}
