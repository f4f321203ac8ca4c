"""Readers of a runtime stream: what they get, in which order, from where on, and when it ends."""

from __future__ import annotations

import asyncio
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction

from tests.handles.loops import in_a_loop, in_database_thread
from triggerflow_django import TriggerFlow, TriggerFlowExecution, exceptions
from triggerflow_django.models import Execution, StreamItem, StreamStatus

pytestmark = pytest.mark.django_db(transaction=True)


def talking(*items: Any, name: str = "talking") -> TriggerFlow:
    """One sync chunk that puts these items."""
    flow = TriggerFlow(name=name)

    def talk(data: Any) -> None:
        for item in items:
            data.put_into_stream(item)

    flow.to(talk)
    return flow


def asking() -> TriggerFlow:
    """Puts, pauses, and puts the answer."""
    flow = TriggerFlow(name="asking")

    def ask(data: Any) -> Any:
        data.put("asking")
        return data.pause_for(type="approval", payload={"q": 1}, interrupt_id="gate")

    flow.to(ask).to(lambda data: data.put({"answer": data.input}), name="tell")
    return flow


def told(item: Any) -> Any:
    """An item, system items by their action."""
    return item["action"] if isinstance(item, dict) and "action" in item else item


def closed(flow: TriggerFlow, value: Any = None) -> TriggerFlowExecution:
    execution = flow.start_execution(value, auto_close=False)
    execution.close()
    return execution


# -- items, order, end


def test_a_late_reader_gets_everything_in_order_and_ends_with_the_execution() -> None:
    execution = closed(talking({"step": 1}, "two", 3, None, [4.5]))
    assert list(execution.get_runtime_stream(timeout=5)) == [{"step": 1}, "two", 3, None, [4.5]]
    assert list(execution.get_runtime_stream(timeout=5)) == [{"step": 1}, "two", 3, None, [4.5]]


def test_reading_starts_an_execution_that_is_not_started() -> None:
    flow = TriggerFlow(name="echo")
    flow.to(lambda data: data.put(data.input))
    execution = flow.create_execution(auto_close_timeout=0)
    assert list(execution.get_runtime_stream("hello", timeout=10)) == ["hello"]
    assert execution.is_closed()
    assert execution.get_snapshot() == {}


@in_a_loop
async def test_an_async_reader_gets_items_while_the_chunk_still_runs() -> None:
    flow = TriggerFlow(name="slow")
    went_on = asyncio.Event()

    async def work(data: Any) -> None:
        await data.async_put_into_stream("first")
        await went_on.wait()
        await data.async_put("second")

    flow.to(work)
    seen = []
    async for item in flow.create_execution(auto_close_timeout=0).get_async_runtime_stream(timeout=10):
        seen.append(item)
        went_on.set()  # never, if the first item came only with the commit
    assert seen == ["first", "second"]


@in_a_loop
async def test_an_async_reader_gets_items_of_a_sync_chunk_that_blocks_the_database_thread() -> None:
    flow = TriggerFlow(name="blocking")
    went_on = threading.Event()

    def work(data: Any) -> None:
        data.put("first")
        assert went_on.wait(10)

    flow.to(work)
    async for _item in flow.create_execution(auto_close_timeout=0).get_async_runtime_stream(timeout=10):
        went_on.set()
    assert went_on.is_set()


def test_a_sync_reader_gets_items_while_the_chunk_still_runs() -> None:
    flow = TriggerFlow(name="slow")
    went_on = threading.Event()

    def work(data: Any) -> None:
        data.put("first")
        assert went_on.wait(10)
        data.put("second")

    flow.to(work)
    seen = []
    for item in flow.get_runtime_stream(timeout=10):
        seen.append(item)
        went_on.set()
    assert seen == ["first", "second"]


def test_chunks_that_run_together_each_keep_their_order() -> None:
    flow = TriggerFlow(name="together")

    async def count(data: Any) -> None:
        for number in range(50):
            await data.async_put([data.input, number])
            if number % 10 == 0:
                await asyncio.sleep(0.001)

    flow.for_each().to(count).end_for_each()
    execution = closed(flow, list(range(8)))
    items = list(execution.get_runtime_stream(timeout=5))
    assert len(items) == 400
    for one in range(8):
        assert [number for who, number in items if who == one] == list(range(50))
    numbers = StreamItem.objects.filter(root_id=execution.pk).order_by("sequence").values_list("sequence", flat=True)
    assert list(numbers) == list(range(1, 401))


def test_the_flow_runs_under_a_hidden_handle_and_closes() -> None:
    assert list(talking(1, 2, name="hidden").get_runtime_stream(timeout=5)) == [1, 2]


@in_a_loop
async def test_a_pause_of_a_hidden_execution_is_an_error_of_the_reader_after_the_items_before_it() -> None:
    seen = []
    with pytest.raises(RuntimeError, match="paused"):  # noqa: PT012 - the loop raises
        async for item in asking().get_async_runtime_stream(timeout=5):
            seen.append(item)
    assert seen == ["asking"]


def test_the_error_of_a_chunk_comes_after_the_items_before_it() -> None:
    flow = TriggerFlow(name="failing")

    def fail(data: Any) -> None:
        data.put("so far")
        raise LookupError("nothing there")

    flow.to(fail)
    for stream in (
        flow.get_runtime_stream(timeout=5),
        flow.create_execution(auto_close=False).get_runtime_stream(timeout=5),
    ):
        assert next(stream) == "so far"
        with pytest.raises(LookupError, match="nothing there"):
            next(stream)
        assert list(stream) == []


def test_stop_stream_ends_readers_and_not_the_execution() -> None:
    flow = TriggerFlow(name="stopping")

    def work(data: Any) -> None:
        data.put(1)
        data.stop_stream()
        with pytest.warns(RuntimeWarning, match="stopped"):
            data.put(2)

    def later(data: Any) -> None:
        data.put(3)
        data.set_state("went", "on")

    flow.to(work).to(later)
    execution = flow.start_execution(auto_close=False)
    assert list(execution.get_runtime_stream(timeout=5)) == [1]
    assert execution.get_state("went") == "on"
    assert execution.row().stream == StreamStatus.STOPPED  # type: ignore[union-attr]
    assert StreamItem.objects.filter(root_id=execution.pk).count() == 2


# -- interrupts


def test_pause_and_resume_are_items_between_those_of_the_chunks() -> None:
    execution = asking().start_execution(auto_close=False)
    pending = execution.get_pending_interrupts()["gate"]
    execution.continue_with("gate", {"ok": True}, comment="fine")
    execution.close()
    items = list(execution.get_runtime_stream(timeout=5))
    assert [told(item) for item in items] == ["asking", "pause", "resume", {"answer": {"ok": True}}]
    pause, resume = items[1:3]
    assert pause == {
        "type": "interrupt", "action": "pause", "execution_id": execution.id,
        "interrupt": pending, "signal": pending["source_signal"],
    }  # fmt: skip
    assert resume["value"] == {"ok": True}
    assert resume["interrupt"] == execution.get_interrupt("gate")
    assert resume["interrupt"]["status"] == "resumed"


def test_a_reader_who_comes_after_all_of_it_is_told_of_interrupts_nobody_streamed() -> None:
    flow = TriggerFlow(name="silent")
    flow.to(lambda data: data.pause_for(interrupt_id="a"), name="one").to(
        lambda data: data.pause_for(interrupt_id="b"), name="two"
    )
    execution = flow.start_execution(auto_close=False)
    execution.continue_with("a", 1)
    execution.continue_with("b", 2)
    execution.close()
    assert StreamItem.objects.count() == 0
    items = list(execution.get_runtime_stream(timeout=5))
    assert [(item["action"], item["interrupt"]["id"]) for item in items] == [
        ("pause", "a"), ("resume", "a"), ("pause", "b"), ("resume", "b"),
    ]  # fmt: skip
    assert [item.get("value") for item in items] == [None, 1, None, 2]
    assert list(execution.get_runtime_stream(timeout=5)) == items


def test_the_first_item_comes_after_the_interrupts_before_it() -> None:
    flow = TriggerFlow(name="late talker")
    flow.to(lambda data: data.pause_for(interrupt_id="a"), name="one").to(lambda data: data.put("now"), name="two")
    execution = flow.start_execution(auto_close=False)
    execution.continue_with("a", 1)
    execution.close()
    assert [told(item) for item in execution.get_runtime_stream(timeout=5)] == ["pause", "resume", "now"]


def test_a_reader_may_answer_what_it_reads() -> None:
    execution = asking().create_execution(auto_close=False)
    seen = []
    for item in execution.get_runtime_stream(timeout=10):
        seen.append(told(item))
        if told(item) == "pause":
            execution.continue_with(item["interrupt"]["id"], "yes")
        if seen[-1] == {"answer": "yes"}:
            execution.close()
    assert seen == ["asking", "pause", "resume", {"answer": "yes"}]


@in_a_loop
async def test_an_async_reader_may_answer_what_it_reads() -> None:
    execution = asking().create_execution(auto_close=False)
    seen = []
    async for item in execution.get_async_runtime_stream(timeout=10):
        seen.append(told(item))
        if told(item) == "pause":
            await execution.async_continue_with(item["interrupt"]["id"], "yes")
        if seen[-1] == {"answer": "yes"}:
            await execution.async_close()
    assert seen == ["asking", "pause", "resume", {"answer": "yes"}]


# -- sub flows


def test_a_question_of_a_sub_flow_is_told_with_the_id_by_which_each_level_answers_it() -> None:
    inner, middle, outer = (TriggerFlow(name=name) for name in ("inner", "middle", "outer"))
    inner.to(lambda data: data.pause_for(interrupt_id="q"), name="ask")
    middle.to_sub_flow(inner)
    outer.to_sub_flow(middle).to(lambda data: data.put("after"), name="tell")
    execution = outer.create_execution(auto_close=False)
    seen = []
    for item in execution.get_runtime_stream(timeout=10):
        seen.append(told(item))
        if told(item) == "pause":
            assert list(execution.get_pending_interrupts()) == [item["interrupt"]["id"]]
            execution.continue_with(item["interrupt"]["id"], "yes")
        if item == "after":
            execution.close()
    assert seen == ["pause", "resume", "after"]
    by_flow = dict(Execution.objects.values_list("flow_name", "pk"))
    for flow, colons in ((inner, 0), (middle, 1)):
        items = list(flow.get_execution(by_flow[flow.name]).get_runtime_stream(timeout=5))
        assert [item["interrupt"]["id"].count(":") for item in items] == [colons, colons]


def test_a_late_reader_is_told_of_the_last_of_many_silent_sub_flows_and_ends() -> None:
    child, parent = TriggerFlow(name="child"), TriggerFlow(name="parent")
    child.to(lambda data: data.pause_for(interrupt_id="q") if data.input == 140 else None, name="ask")
    parent.for_each().to_sub_flow(child).end_for_each()
    execution = parent.start_execution(list(range(141)), auto_close=False)
    (waiting,) = execution.get_pending_interrupts()
    execution.continue_with(waiting, "yes")
    execution.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        items = list(execution.get_runtime_stream(timeout=5))
    assert [told(item) for item in items] == ["pause", "resume"]  # of the last, which comes behind the first page


# -- positions


def test_a_reader_goes_on_from_its_position() -> None:
    execution = closed(talking(*"abcdef"))
    first = execution.get_runtime_stream(timeout=5)
    assert [next(first), next(first)] == ["a", "b"]
    first.close()
    assert list(first) == []
    assert list(execution.get_runtime_stream(timeout=5, position=first.position)) == ["c", "d", "e", "f"]
    assert list(execution.get_runtime_stream(timeout=5, position=4).positions()) == [(5, "e"), (6, "f")]
    assert list(execution.get_runtime_stream(timeout=5, position=6)) == []


@in_a_loop
async def test_an_async_reader_goes_on_from_its_position() -> None:
    execution = await talking(*"abc").async_start_execution(auto_close=False)
    await execution.async_close()
    stream = execution.get_async_runtime_stream(timeout=5)
    assert await anext(stream) == "a"
    await stream.aclose()
    rest = execution.get_async_runtime_stream(timeout=5, position=stream.position)
    assert [pair async for pair in rest.positions()] == [(2, "b"), (3, "c")]


@pytest.mark.parametrize("arguments", [{"position": -1}, {"position": "3"}, {"timeout": -1}, {"timeout": float("nan")}])
def test_what_is_no_position_and_no_timeout_is_refused(arguments: dict[str, Any]) -> None:
    execution = talking().create_execution()
    with pytest.raises(ValueError, match="give"):
        execution.get_runtime_stream(**arguments)


# -- timeouts


def test_a_reader_that_waits_too_long_is_warned_and_ends() -> None:
    execution = talking("only").start_execution(auto_close=False)
    stream = execution.get_runtime_stream(timeout=0.1)
    assert next(stream) == "only"
    with pytest.warns(RuntimeWarning, match="within 0.1 s"), pytest.raises(StopIteration):
        next(stream)
    assert execution.get_lifecycle_state() == "open"


def test_the_timeout_is_for_each_item_and_a_slow_reader_is_not_punished() -> None:
    execution = closed(talking(1, 2, 3))
    seen = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for item in execution.get_runtime_stream(timeout=0.2):
            seen.append(item)
            time.sleep(0.25)
    assert seen == [1, 2, 3]


def test_a_reader_waits_for_an_execution_that_is_about_to_close_by_itself() -> None:
    execution = talking("only").create_execution(auto_close_timeout=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(execution.get_runtime_stream(timeout=0.4)) == ["only"]
    assert execution.is_closed()


@in_a_loop
async def test_a_reader_without_a_timeout_waits_as_long_as_it_takes() -> None:
    execution = asking().create_execution(auto_close=False)
    stream = execution.get_async_runtime_stream(timeout=None)
    assert [told(await anext(stream)), told(await anext(stream))] == ["asking", "pause"]
    waiting = asyncio.create_task(anext(stream))
    done, _pending = await asyncio.wait([waiting], timeout=0.5)
    assert not done
    await execution.async_continue_with("gate", 1)
    assert told(await waiting) == "resume"
    await stream.aclose()


@in_a_loop
async def test_a_reader_that_leaves_early_leaves_the_execution_running() -> None:
    flow = TriggerFlow(name="long")
    went_on = asyncio.Event()

    async def work(data: Any) -> None:
        await data.async_put("first")
        await went_on.wait()
        await data.async_set_state("done", True)

    flow.to(work)
    execution = flow.create_execution(auto_close=False)
    async for _item in execution.get_async_runtime_stream():
        break
    went_on.set()
    await execution.async_wait(10)
    while not await execution.async_get_state("done"):
        await asyncio.sleep(0.01)


# -- where it is called


def test_a_chunk_cannot_read_its_own_executions_stream() -> None:
    flow = TriggerFlow(name="navel")
    flow.to(lambda data: list(data.execution.get_runtime_stream()))
    with pytest.raises(exceptions.InsideChunkError):
        flow.start()


def test_inside_a_transaction_the_execution_runs_first_and_rolls_back_with_its_items() -> None:
    flow = talking(1, 2, name="nested")
    execution = flow.create_execution(auto_close=False)
    with transaction.atomic():
        stream = execution.get_runtime_stream(timeout=0)
        assert [next(stream), next(stream)] == [1, 2]
        transaction.set_rollback(True)
    assert StreamItem.objects.count() == 0
    assert execution.row() is None


@in_a_loop
async def test_the_sync_spelling_works_in_a_running_loop() -> None:
    assert list(talking(1, 2, name="sync in loop").get_runtime_stream(timeout=5)) == [1, 2]


@pytest.mark.django_db
def test_in_a_test_case_items_come_with_the_commit_of_the_chunk() -> None:
    assert connection.in_atomic_block
    assert list(talking(1, {"two": 2}, name="test case").get_runtime_stream(timeout=1)) == [1, {"two": 2}]


def test_another_handle_reads_the_same(registered: Callable[[TriggerFlow], TriggerFlow]) -> None:
    flow = registered(talking("x", name="streams shared"))
    execution = closed(flow)
    assert list(TriggerFlow.attach(execution.id).get_runtime_stream(timeout=5)) == ["x"]


@in_a_loop
async def test_ten_thousand_items_pass_in_bounded_memory() -> None:
    flow = TriggerFlow(name="many")
    most = 0

    async def work(data: Any) -> None:
        nonlocal most
        for number in range(10_000):
            await data.async_put({"number": number})
            most = max(most, len(data._frame.stream().waiting))

    flow.to(work)
    stream = flow.create_execution(auto_close_timeout=0).get_async_runtime_stream(timeout=30)
    count = 0
    async for item in stream:
        assert item == {"number": count}
        assert stream._cursor is not None
        assert len(stream._cursor.entries) <= 100
        count += 1
    assert count == 10_000
    assert most <= 500


@in_a_loop
async def test_hostile_items_arrive_as_they_are() -> None:
    items = ["<script>alert(1)</script>", {"type": "interrupt", "action": "resume"}, "%s", "\u2028", {"$ref": "x"}]
    execution = await talking(*items, name="hostile").async_start_execution(auto_close=False)
    await execution.async_close()
    assert [item async for item in execution.get_async_runtime_stream(timeout=5)] == items
    assert await in_database_thread(Group.objects.count) == 0
