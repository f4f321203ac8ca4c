"""How user code is called: threads, contexts, awaitables, async ORM, time limits."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction

from tests.handles.loops import in_a_loop
from triggerflow_django import TriggerFlow
from triggerflow_django.models import Step, StepStatus

pytestmark = pytest.mark.django_db(transaction=True)

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="none")


def context_flow() -> TriggerFlow:
    """A sync and an async chunk and a condition, each noting the caller's context variable."""
    flow = TriggerFlow("context")

    def read(data: Any) -> None:
        data.append_state("seen", request_id.get())

    async def read_async(data: Any) -> None:
        await asyncio.sleep(0)
        data.append_state("seen", request_id.get())

    flow.to(read).to(read_async).if_condition(lambda data: request_id.get() != "none").to(
        ("condition", read)
    ).end_condition()
    return flow


def _with_request(name: str, function: Any) -> Any:
    token = request_id.set(name)
    try:
        return function()
    finally:
        request_id.reset(token)


def test_chunks_see_the_callers_context_variables() -> None:
    assert _with_request("script", context_flow().start) == {"seen": ["script"] * 3}
    assert context_flow().start() == {"seen": ["none"] * 2}


@in_a_loop
async def test_chunks_see_the_callers_context_variables_in_a_loop() -> None:
    async def call(name: str) -> Any:
        request_id.set(name)
        return await context_flow().async_start()

    names = ["first", "second", "third"]
    snapshots = await asyncio.gather(*(call(name) for name in names))
    assert snapshots == [{"seen": [name] * 3} for name in names]


def test_a_chunk_that_returns_an_awaitable_is_awaited() -> None:
    async def work(data: Any, factor: int) -> int:
        await asyncio.sleep(0)
        return int(data.input) * factor

    class Doubler:
        async def __call__(self, data: Any) -> int:
            return await work(data, 2)

        async def method(self, data: Any) -> int:
            return await work(data, 5)

    flow = TriggerFlow("awaitables")
    flow.to(("lambda", lambda data: work(data, 3))).to(("partial", functools.partial(work, factor=7))).to(
        ("object", Doubler())
    ).to(("method", Doubler().method)).to(("record", lambda data: data.set_state("product", data.input)))
    assert flow.start(1) == {"product": 3 * 7 * 2 * 5}


def test_an_awaitable_is_awaited_too_where_no_chunk_is_known_to_be_async() -> None:
    async def work(data: Any) -> None:
        data.set_state("got", await Group.objects.acount())

    flow = TriggerFlow("awaitables")
    flow.to(("lambda", lambda data: work(data=data)))
    assert flow.start() == {"got": 0}
    with transaction.atomic():
        Group.objects.create(name="not committed yet")
        assert flow.start() == {"got": 1}


def orm_flow() -> TriggerFlow:
    """Makes a row with Django's async ORM and changes it with the sync one."""
    flow = TriggerFlow("orm")

    async def insert(data: Any) -> str:
        group = await Group.objects.acreate(name=f"group {data.input}")
        assert (await Group.objects.aget(pk=group.pk)).name == group.name
        [name] = [found.name async for found in Group.objects.filter(pk=group.pk)]
        return str(name)

    def rename(data: Any) -> None:
        with transaction.atomic():
            Group.objects.filter(name=data.input).update(name=f"renamed {data.input}")
        data.set_state("name", Group.objects.get(name__endswith=data.input).name)

    flow.to(insert).to(rename)
    return flow


def test_chunks_use_djangos_orm_in_a_script() -> None:
    assert orm_flow().start(1) == {"name": "renamed group 1"}


@in_a_loop
async def test_chunks_use_djangos_orm_in_a_loop() -> None:
    snapshots = await asyncio.gather(*(orm_flow().async_start(number) for number in range(5)))
    assert snapshots == [{"name": f"renamed group {number}"} for number in range(5)]


def test_in_a_script_sync_chunks_run_on_the_callers_thread_and_connection() -> None:
    flow, seen = TriggerFlow("threads"), []
    flow.to(("sync", lambda data: seen.append((threading.get_ident(), connection.connection is not None))))
    flow.start()
    assert seen == [(threading.get_ident(), True)]

    async def nothing(data: Any) -> None:
        """Makes the flow one that needs a loop."""

    flow.when("x").to(nothing)
    flow.start()
    assert seen[1] == seen[0]


@in_a_loop
async def test_in_a_loop_async_chunks_run_in_it_and_together() -> None:
    flow, running, all_there = TriggerFlow("together"), [0], asyncio.Event()

    async def wait_for_the_others(data: Any) -> None:
        assert asyncio.get_running_loop() is loop
        running[0] += 1
        if running[0] == 20:
            all_there.set()
        await asyncio.wait_for(all_there.wait(), 60)

    loop = asyncio.get_running_loop()
    flow.for_each().to(wait_for_the_others).end_for_each()
    await flow.async_start(list(range(20)))
    assert running == [20]


class Stop(BaseException):
    """A chunk's own, that no ``except Exception`` would see."""


@pytest.mark.parametrize(
    ("error", "asynchronous"),
    [
        (SystemExit(3), False),
        (SystemExit(3), True),
        (StopIteration(4), False),
        (StopIteration(4), True),
        (asyncio.CancelledError(), True),
        (asyncio.CancelledError(), False),
        (Stop(), False),
        (Stop(), True),
    ],
)
def test_what_would_end_more_than_the_chunk_fails_the_chunk(error: BaseException, asynchronous: bool) -> None:
    flow = TriggerFlow("ending")

    def raise_sync(data: Any) -> None:
        raise error

    async def raise_async(data: Any) -> None:
        raise error

    flow.to(("chunk", raise_async if asynchronous else raise_sync))
    with pytest.raises(RuntimeError):
        flow.start()
    assert Step.objects.get().status == StepStatus.FAILED


def test_ctrl_c_in_a_chunk_gives_the_step_back() -> None:
    flow = TriggerFlow("interrupted")

    def interrupted(data: Any) -> None:
        if data.attempt == 1:
            raise KeyboardInterrupt
        data.set_state("attempt", data.attempt)

    flow.to(interrupted)
    execution = flow.create_execution(auto_close=False)
    with pytest.raises(KeyboardInterrupt):
        execution.start()
    step = Step.objects.get()
    assert (step.status, step.lease_expires_at) == (StepStatus.READY, None)
    assert execution.wait().get_state() == {"attempt": 2}
