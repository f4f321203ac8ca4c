"""The execution's handle inside its own chunks: looking, answering, and no call that would wait for the caller."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.handles.loops import in_a_loop
from triggerflow_django import TriggerFlow, exceptions

pytestmark = pytest.mark.django_db(transaction=True)

#: The times are for the case that they do wait.
_WAITING_CALLS: dict[str, dict[str, float]] = {"close": {"timeout": 5}, "wait": {"timeout": 5}, "start": {}}


def _refusals(data: Any) -> list[str]:
    """What the sync spellings of the calls that wait say in a chunk."""
    found = []
    for name, arguments in _WAITING_CALLS.items():
        with pytest.raises(exceptions.InsideChunkError) as caught:
            getattr(data.execution, name)(**arguments)
        found.append(str(caught.value).partition("(")[0])
    return found


async def _async_refusals(data: Any) -> list[str]:
    found = []
    for name, arguments in _WAITING_CALLS.items():
        with pytest.raises(exceptions.InsideChunkError) as caught:
            await getattr(data.execution, f"async_{name}")(**arguments)
        found.append(str(caught.value).partition("(")[0])
    return found


def test_a_sync_chunk_cannot_wait_for_itself() -> None:
    flow, seen = TriggerFlow("inside"), []
    flow.to(("chunk", lambda data: seen.append(_refusals(data))))
    flow.start_execution()
    assert seen == [list(_WAITING_CALLS)]


def test_an_async_chunk_cannot_wait_for_itself_in_either_spelling() -> None:
    flow, seen = TriggerFlow("inside"), []

    async def chunk(data: Any) -> None:
        seen.append(await asyncio.wait_for(_async_refusals(data), 30))
        seen.append(_refusals(data))

    flow.to(chunk)
    flow.start_execution()
    assert seen == [list(_WAITING_CALLS)] * 2


@in_a_loop
async def test_nor_in_a_callers_loop_nor_in_a_background_drain() -> None:
    flow, seen = TriggerFlow("inside"), []

    async def chunk(data: Any) -> None:
        seen.append(await _async_refusals(data))
        seen.append(_refusals(data))

    flow.to(chunk)
    flow.when("go").to(("beside", chunk))
    execution = flow.create_execution()
    await execution.async_start(timeout=0.0)
    assert seen == [list(_WAITING_CALLS)] * 2
    execution = await flow.async_start_execution()
    await execution.async_emit_nowait("go")
    await execution.async_close()
    assert seen == [list(_WAITING_CALLS)] * 6


def test_not_even_by_way_of_another_execution() -> None:
    outer, inner, seen = TriggerFlow("outer"), TriggerFlow("inner"), []

    async def call_back(data: Any) -> None:
        handle = outer.get_execution(data.input)
        for name in ("close", "wait"):
            with pytest.raises(exceptions.InsideChunkError):
                getattr(handle, name)(timeout=5)
            seen.append(name)

    async def call_sync(data: Any) -> None:
        inner.start(data.execution_id)

    async def call_async(data: Any) -> None:
        await inner.async_start(data.execution_id)

    inner.to(call_back)
    outer.to(call_sync).to(call_async)
    outer.start()
    assert seen == ["close", "wait"] * 2


def two_questions() -> TriggerFlow:
    flow = TriggerFlow("inside")
    for name in ("first", "second"):
        flow.to((name, _ask(name))).to((f"after {name}", lambda data: data.append_state("log", data.input)))
    return flow


def _ask(name: str) -> Any:
    return lambda data: data.pause_for(type="approval", interrupt_id=name)


def test_a_sync_chunk_looks_at_and_answers_other_questions() -> None:
    flow, log = two_questions(), []

    def answer(data: Any) -> str:
        assert sorted(data.get_pending_interrupts()) == ["first", "second"]
        assert data.get_interrupt("nobody") is None
        record = data.continue_with("first", "from a chunk", comment="by rule")
        assert (record["status"], record["door"]) == ("resumed", "code")
        # Committed already, and left to whoever runs this chunk.
        assert sorted(data.get_pending_interrupts()) == ["second"]
        log.append(data.execution.get_state("log"))
        return "answered"

    flow.when("go").to(answer).to(("after", lambda data: data.append_state("log", data.input)))
    execution = flow.start_execution(auto_close=False)
    execution.emit("go")
    assert log == [None]
    assert sorted(execution.get_state("log")) == ["answered", "from a chunk"]
    assert list(execution.get_pending_interrupts()) == ["second"]


@pytest.mark.parametrize("spelling", ["sync", "async"])
def test_an_async_chunk_does_so_in_both_spellings(spelling: str) -> None:
    flow = two_questions()

    async def answer(data: Any) -> None:
        assert data.get_pending_interrupts() == await data.async_get_pending_interrupts()
        assert data.get_interrupt("first") == await data.async_get_interrupt("first")
        if spelling == "sync":
            data.continue_with("first", "sync")
        else:
            await data.async_continue_with("first", "async")
        assert data.execution.get_state("log") is None

    flow.when("go").to(answer)
    execution = flow.start_execution(auto_close=False)
    execution.emit("go")
    assert execution.get_state("log") == [spelling]


def test_a_refused_answer_can_be_handled_in_the_chunk() -> None:
    flow, seen = two_questions(), []

    def answer(data: Any) -> None:
        for interrupt_id in ("first", "first", "nobody"):
            try:
                data.continue_with(interrupt_id, 1)
            except exceptions.TriggerFlowError as error:
                seen.append(error.code)

    flow.when("go").to(answer)
    flow.start_execution(auto_close=False).emit("go")
    assert seen == ["interrupt_not_waiting", "unknown_interrupt"]


def test_a_chunk_writes_through_its_handle_at_once() -> None:
    flow = TriggerFlow("inside")

    def chunk(data: Any) -> None:
        data.set_state("mine", 1)
        data.execution.set_state("theirs", 2)
        data.execution.emit("other", 3)
        assert data.execution.get_state() == {"theirs": 2}, "this chunk has not committed"
        assert data.get_state() == {"mine": 1}, "it sees what was there when it began, and its own writes"

    flow.to(chunk)
    flow.when("other").to(("other", lambda data: data.set_state("other", data.input)))
    assert flow.start() == {"theirs": 2, "mine": 1, "other": 3}


def test_a_chunk_may_cancel_its_own_execution() -> None:
    flow = TriggerFlow("inside")

    def chunk(data: Any) -> None:
        data.set_state("too late", True)
        assert data.execution.cancel(reason="changed my mind") == {}
        assert data.is_cancelled()

    flow.to(chunk).to(("never", lambda data: pytest.fail("it was cancelled")))
    execution = flow.start_execution(auto_close=False)
    assert (execution.get_status(), execution.get_snapshot()) == ("cancelled", {})
