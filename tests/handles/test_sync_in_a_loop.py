"""Sync spellings called inside a running loop: they block it, they never hang it."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import Group
from django.db import connection, transaction

from tests.handles.loops import in_a_loop
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.models import Execution

pytestmark = pytest.mark.django_db(transaction=True)


def mixed() -> TriggerFlow:
    """One sync and one async chunk; each notes its thread."""
    flow = TriggerFlow("mixed")
    flow.update_runtime_resources(threads=[])

    def first(data: Any) -> int:
        data.require_resource("threads").append(threading.get_ident())
        Group.objects.create(name=f"group {data.input}")
        return int(data.input) + 1

    async def second(data: Any) -> None:
        await asyncio.sleep(0)
        data.require_resource("threads").append(threading.get_ident())
        await data.async_set_state("sum", data.input)

    flow.to(first).to(second)
    return flow


@in_a_loop
async def test_a_sync_start_runs_sync_and_async_chunks_on_other_threads() -> None:
    flow = mixed()
    assert flow.start(1) == {"sum": 2}
    assert threading.get_ident() not in flow.runtime_resources["threads"]
    assert await Group.objects.acount() == 1


@in_a_loop
async def test_every_draining_call_can_be_spelt_sync() -> None:
    flow = TriggerFlow("every call")

    async def fail(data: Any) -> None:
        raise LookupError("not yet")

    async def double(data: Any) -> int:
        return int(data.input) * 2

    flow.to(("ask", lambda data: data.pause_for(type="approval", interrupt_id="gate")))
    flow.when("double").to(double)
    flow.when("fail").to(fail)
    execution = flow.create_execution(auto_close=False)
    assert execution.start(1) is execution
    assert execution.emit("double", 4) == [8]
    assert execution.wait() is execution
    assert execution.continue_with("gate", "yes")["status"] == "resumed"
    execution.set_state("note", "x")
    execution.append_state("notes", "x")
    execution.del_state("note")
    with pytest.raises(LookupError, match="not yet"):
        execution.emit("fail")
    with pytest.raises(LookupError, match="not yet"):
        execution.retry()
    assert execution.close() == {"notes": ["x"]}


@in_a_loop
async def test_a_sync_call_sees_the_context_it_was_made_in() -> None:
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")
    flow = TriggerFlow("context")
    flow.to(("sync", lambda data: who.get())).to(("async", _async_reader(who)))
    who.set("a request")
    assert flow.start() == {"seen": ["a request", "a request"]}


def _async_reader(variable: contextvars.ContextVar[str]) -> Any:
    async def read(data: Any) -> None:
        data.set_state("seen", [data.input, variable.get()])

    return read


@in_a_loop
async def test_a_sync_call_that_would_wait_for_chunks_of_its_own_loop_is_refused() -> None:
    flow, running, go = TriggerFlow("slow"), asyncio.Event(), asyncio.Event()

    async def slow(data: Any) -> None:
        running.set()
        await go.wait()

    flow.to(slow)
    starting = asyncio.create_task(flow.async_start(1, key="order-7"))
    await running.wait()
    row = await Execution.objects.aget()
    execution = flow.get_execution(row.pk)  # another handle of the same execution
    # The times are for the case that they do wait.
    calls = [
        lambda: execution.wait(5),
        lambda: execution.close(timeout=5),
        lambda: flow.start(1, key="order-7"),
    ]
    for call in calls:
        with pytest.raises(exceptions.SyncInLoopError, match="would block the event loop in which chunks"):
            call()
    outer = TriggerFlow("by way of another")
    outer.to(("wait", lambda data: execution.wait(5)))
    with pytest.raises(exceptions.SyncInLoopError):
        outer.start()
    go.set()
    assert await starting == {}
    assert execution.wait() is execution


def _under_a_transaction(call: Any) -> Any:
    """What sync code does in a request under ATOMIC_REQUESTS that calls async code: its connection is the loop's."""
    with transaction.atomic():
        return async_to_sync(call)()


def test_a_draining_sync_call_under_an_open_transaction_is_refused_by_name() -> None:
    execution = mixed().create_execution(auto_close=False)

    async def call() -> None:
        assert await sync_to_async(lambda: connection.in_atomic_block)()
        for name, arguments in (
            ("start", (1,)),
            ("wait", ()),
            ("emit", ("x",)),
            ("continue_with", ("gate", 1)),
            ("set_state", ("x", 1)),
            ("append_state", ("x", 1)),
            ("del_state", ("x",)),
            ("close", ()),
            ("retry", ()),
        ):
            with pytest.raises(exceptions.SyncInLoopError, match=f"async_{name}"):
                getattr(execution, name)(*arguments)
        with pytest.raises(exceptions.SyncInLoopError, match="async_start"):
            mixed().start(1)
        with pytest.raises(exceptions.SyncInLoopError, match="async_start_execution"):
            mixed().start_execution(1)

    _under_a_transaction(call)
    assert not Execution.objects.exists(), "a refused call has done nothing"


def test_under_an_open_transaction_reads_work_and_the_async_form_runs_chunks_in_it() -> None:
    execution = mixed().create_execution(auto_close=False)

    async def call() -> None:
        await execution.async_start(1)
        assert execution.get_state() == {"sum": 2}
        assert execution.is_open()
        execution.seal()
        raise LookupError

    with pytest.raises(LookupError):
        _under_a_transaction(call)
    assert not Execution.objects.exists()
    assert not Group.objects.exists()
