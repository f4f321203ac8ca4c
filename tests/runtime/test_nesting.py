"""Chunks that start and drive executions of other flows, in every mix of sync and async."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import transaction

from tests.handles.loops import in_a_loop, in_database_thread
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.models import Execution

pytestmark = pytest.mark.django_db(transaction=True)


def inner_flow(*, asynchronous: bool) -> TriggerFlow:
    """Doubles its input, with the ORM on the way."""
    flow = TriggerFlow("inner")

    def double(data: Any) -> None:
        Group.objects.get_or_create(name="inner")
        data.set_state("double", data.input * 2)

    async def double_async(data: Any) -> None:
        await asyncio.sleep(0)
        await Group.objects.aget_or_create(name="inner")
        await data.async_set_state("double", data.input * 2)

    flow.to(("double", double_async if asynchronous else double))
    return flow


def outer_flow(inner: TriggerFlow, spelling: str) -> TriggerFlow:
    flow = TriggerFlow("outer")

    def sync_chunk(data: Any) -> int:
        Group.objects.get_or_create(name="outer")
        return int(inner.start(data.input)["double"])

    async def async_chunk(data: Any) -> int:
        return int((await inner.async_start(data.input))["double"])

    async def sync_in_async(data: Any) -> int:
        return int(inner.start(data.input)["double"])

    chunk = {"sync": sync_chunk, "async": async_chunk, "sync in async": sync_in_async}[spelling]
    flow.to(("start inner", chunk)).to(("record", lambda data: data.append_state("results", data.input)))
    return flow


_MIXES = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync inner", "async inner"])
_SPELLINGS = pytest.mark.parametrize("spelling", ["sync", "async", "sync in async"])


@_MIXES
@_SPELLINGS
def test_in_a_script(spelling: str, asynchronous: bool) -> None:
    flow = outer_flow(inner_flow(asynchronous=asynchronous), spelling)
    assert flow.start(21) == {"results": [42]}
    assert Execution.objects.filter(status="completed").count() == 2


@_MIXES
@_SPELLINGS
@in_a_loop
async def test_in_a_loop(spelling: str, asynchronous: bool) -> None:
    flow = outer_flow(inner_flow(asynchronous=asynchronous), spelling)
    assert await flow.async_start(21) == {"results": [42]}
    assert await Execution.objects.filter(status="completed").acount() == 2


@_MIXES
@pytest.mark.parametrize("spelling", ["sync", "async"])
def test_inside_a_transaction(spelling: str, asynchronous: bool) -> None:
    flow = outer_flow(inner_flow(asynchronous=asynchronous), spelling)
    with transaction.atomic():
        assert flow.start(21) == {"results": [42]}
        transaction.set_rollback(True)
    assert not Execution.objects.exists()
    assert not Group.objects.exists()


def test_inside_a_transaction_a_sync_call_from_an_async_chunk_is_refused_by_name() -> None:
    flow = outer_flow(inner_flow(asynchronous=True), "sync in async")
    with transaction.atomic(), pytest.raises(exceptions.SyncInLoopError, match="async_start"):
        flow.start(21)
    assert Execution.objects.get().flow_name == "outer"


@_MIXES
@in_a_loop
async def test_several_at_once(asynchronous: bool) -> None:
    inner = inner_flow(asynchronous=asynchronous)
    flow = TriggerFlow("fan out")

    async def run(data: Any) -> int:
        return int((await inner.async_start(data.input))["double"])

    flow.for_each().to(run).end_for_each().to(("record", lambda data: data.set_state("doubles", data.input)))
    assert await flow.async_start(list(range(8))) == {"doubles": [number * 2 for number in range(8)]}


def test_a_chunk_holds_an_execution_of_another_flow_open_and_answers_it() -> None:
    asking, outer = TriggerFlow("asking"), TriggerFlow("outer")

    async def ask(data: Any) -> Any:
        return await data.async_pause_for(type="approval", interrupt_id="gate")

    asking.to(ask).to(("record", lambda data: data.set_state("answer", data.input)))

    async def drive(data: Any) -> Any:
        execution = await asking.async_start_execution(auto_close=False)
        assert execution.is_waiting()
        await execution.async_continue_with("gate", data.input)
        return await execution.async_close()

    outer.to(drive).to(("copy", lambda data: data.set_state("inner", data.input)))
    assert outer.start("yes") == {"inner": {"answer": "yes"}}


def test_what_the_inner_chunk_raises_is_the_outer_chunks_own_error() -> None:
    inner, error = TriggerFlow("inner"), LookupError("inner")

    async def fail(data: Any) -> None:
        raise error

    inner.to(fail)
    for spelling in ("sync", "async", "sync in async"):
        with pytest.raises(LookupError) as caught:
            outer_flow(inner, spelling).start(1)
        assert caught.value is error
    assert set(Execution.objects.values_list("lifecycle", "status")) == {("closed", "failed")}


@in_a_loop
async def test_a_background_emit_of_another_execution_outlives_the_chunk_that_made_it() -> None:
    inner, outer, go = TriggerFlow("inner"), TriggerFlow("outer"), asyncio.Event()

    async def slow(data: Any) -> None:
        await go.wait()
        data.set_state("slow", data.input)

    inner.when("item").to(slow)
    handle = inner.create_execution(auto_close=False)

    async def hand_over(data: Any) -> None:
        await handle.async_emit_nowait("item", data.input)

    outer.to(hand_over)
    await outer.async_start(7)
    assert await in_database_thread(lambda: Execution.objects.get(flow_name="outer").status) == "completed"
    go.set()
    assert await handle.async_close() == {"slow": 7}
