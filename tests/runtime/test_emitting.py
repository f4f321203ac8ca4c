"""Events and state writes of a chunk take effect with its commit, in the order of the calls."""

from __future__ import annotations

from typing import Any

import pytest

from tests.handles.loops import in_a_loop
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.models import Step, StepStatus

pytestmark = pytest.mark.django_db(transaction=True)


def logging_flow(chunk: Any) -> TriggerFlow:
    """``chunk``, then a log of what it caused, in order."""
    flow = TriggerFlow("emitting")

    def log(data: Any) -> None:
        data.append_state("log", [data.type, data.event, data.input], emit=False)

    flow.to(("chunk", chunk)).to(("done", log))
    flow.when("one").to(("one", log))
    flow.when("two").to(("two", log))
    flow.when({"runtime_data": "key"}).to(("key", log))
    return flow


def test_everything_happens_in_the_order_of_the_calls_the_completion_last() -> None:
    def chunk(data: Any) -> str:
        data.emit("one", 1)
        data.set_state("key", "set")
        data.emit_nowait("two", 2)
        data.append_state("key", "more")
        data.del_state("key")
        data.del_state("key")
        data.set_state("key", "quiet", emit=False)
        data.emit("one", {"again": True})
        return "returned"

    assert logging_flow(chunk).start()["log"] == [
        ["event", "one", 1],
        ["runtime_data", "key", "set"],
        ["event", "two", 2],
        ["runtime_data", "key", ["set", "more"]],
        ["runtime_data", "key", None],
        ["event", "one", {"again": True}],
        ["event", "chunk", "returned"],
    ]


@in_a_loop
async def test_async_spellings_do_the_same() -> None:
    async def chunk(data: Any) -> None:
        await data.async_emit("one", 1)
        await data.async_set_state("key", "set")
        await data.async_emit_nowait("two", 2)

    log = (await logging_flow(chunk).async_start())["log"]
    assert sorted(log) == [  # in a loop handlers run side by side
        ["event", "chunk", None],
        ["event", "one", 1],
        ["event", "two", 2],
        ["runtime_data", "key", "set"],
    ]


def test_handlers_run_after_the_commit_and_emit_returns_at_once() -> None:
    order: list[str] = []

    def chunk(data: Any) -> None:
        order.append("before")
        assert data.emit("one") is None
        assert not Step.objects.filter(node="one").exists()
        order.append("after")

    flow = TriggerFlow("emitting")
    flow.to(chunk)
    flow.when("one").to(("one", lambda data: order.append("handler")))
    flow.start()
    assert order == ["before", "after", "handler"]


def test_each_emit_is_an_event_of_its_own() -> None:
    def chunk(data: Any) -> None:
        for _time in range(3):
            data.emit("one", "same")

    assert logging_flow(chunk).start()["log"][:3] == [["event", "one", "same"]] * 3


def test_what_was_emitted_is_a_copy() -> None:
    def chunk(data: Any) -> None:
        value = [1]
        data.emit("one", value)
        value.append(2)

    assert logging_flow(chunk).start()["log"][0] == ["event", "one", [1]]


def test_a_wrong_name_or_value_fails_in_the_chunk() -> None:
    def chunk(data: Any) -> None:
        for event, value in (("", 1), (None, 1), ("x" * 201, 1), ("one", {1, 2}), ("one", float("inf"))):
            with pytest.raises(exceptions.JsonValueError):
                data.emit(event, value)

    assert logging_flow(chunk).start()["log"] == [["event", "chunk", None]]


def test_a_pausing_chunk_emits_and_writes_but_is_not_done() -> None:
    def chunk(data: Any) -> Any:
        data.emit("one", 1)
        data.set_state("key", 2)
        data.pause_for(type="approval", interrupt_id="gate")
        return "not sent on"

    execution = logging_flow(chunk).start_execution(auto_close=False)
    assert execution.get_state("log") == [["event", "one", 1], ["runtime_data", "key", 2]]
    assert execution.is_waiting()
    execution.continue_with("gate", "answer")
    assert execution.get_state("log")[-1] == ["event", "chunk", "answer"]


def test_a_chunk_pauses_once() -> None:
    def chunk(data: Any) -> None:
        data.pause_for(type="approval")
        data.pause_for(type="approval")

    with pytest.raises(exceptions.PauseError, match="paused already"):
        logging_flow(chunk).start_execution()
    assert Step.objects.get().status == StepStatus.FAILED


def test_pause_for_returns_a_marker_that_may_be_returned() -> None:
    markers: list[Any] = []

    async def chunk(data: Any) -> Any:
        markers.append(await data.async_pause_for(type="approval", payload={"a": 1}, interrupt_id="gate"))
        return markers[0]

    execution = logging_flow(chunk).start_execution()
    assert execution.is_waiting()
    assert markers == [{"type": "approval", "payload": {"a": 1}, "interrupt_id": "gate", "status": "waiting"}]
