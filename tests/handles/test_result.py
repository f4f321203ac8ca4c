"""``execution.result``, and the deprecated ways to a final result."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from tests.handles import loops
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.definition import deprecated

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def quiet() -> Iterator[None]:
    """Deprecations are what some of these tests are about, not all."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def started(flow: TriggerFlow, value: Any = None) -> Any:
    execution = flow.create_execution(auto_close=False)
    execution.start(value)
    return execution


def test_the_final_result_is_the_snapshot_where_no_chunk_gave_another() -> None:
    flow = TriggerFlow(name="result")
    flow.to(lambda data: data.set_state("only", data.input), name="keep")
    execution = started(flow, 1)
    with pytest.raises(exceptions.WaitTimeoutError, match="no final result and is not closed"):
        execution.result.get_final_result(timeout=0)
    execution.close()
    assert execution.result.get_final_result(timeout=2) == {"only": 1}


def test_waiting_for_the_result_lets_an_execution_close_by_itself() -> None:
    flow = TriggerFlow(name="result")
    flow.to(lambda data: data.set_state("only", data.input), name="keep")
    execution = flow.start_execution(1, auto_close_timeout=0.0)
    assert execution.result.get_final_result(timeout=10) == {"only": 1}
    assert execution.is_closed()


@pytest.mark.usefixtures("quiet")
def test_set_result_shows_in_the_snapshot_and_not_in_the_state() -> None:
    flow = TriggerFlow(name="result")

    def give(data: Any) -> None:
        data.set_state("s", 1)
        data.set_result({"answer": data.input})
        data.set_state("seen", [data.get_state(), sorted(data.state), len(data.state), data.get_result()])

    flow.to(give)
    execution = started(flow, 5)
    assert execution.result.get_final_result(timeout=2) == {"answer": 5}
    assert execution.get_result() == {"answer": 5}
    assert execution.get_state() == {"s": 1, "seen": [{"s": 1}, ["s"], 1, {"answer": 5}]}
    assert execution.result.get_state("s") == 1
    assert execution.close() == {**execution.get_state(), "$final_result": {"answer": 5}}


@pytest.mark.usefixtures("quiet")
def test_end_gives_the_result_and_set_result_wins_over_it() -> None:
    plain = TriggerFlow(name="result")
    plain.to(lambda data: data.input * 2, name="double").end()
    assert plain.start(4) == {"$final_result": 8}

    both = TriggerFlow(name="result")
    both.to(lambda data: data.set_result("mine"), name="give").to(lambda data: "ends", name="go").end()
    assert both.start() == {"$final_result": "mine"}

    later = TriggerFlow(name="result")
    later.end().to(lambda data: data.set_result("mine"), name="give")
    assert later.start("ends") == {"$final_result": "mine"}


@pytest.mark.usefixtures("quiet")
def test_several_ends_are_one_sink() -> None:
    flow = TriggerFlow(name="result")
    flow.to(lambda data: data.input, name="one").end()
    flow.when("other").end()
    assert [node for node in flow.graph.nodes if node.startswith("end")] == ["end"]


@pytest.mark.parametrize("use", ["set_result", "end", "get_result", "wait_for_result"])
def test_each_deprecated_way_warns_once_a_process(use: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deprecated, "_told", set())
    flow = TriggerFlow(name="result")
    flow.to(lambda data: data.input, name="nothing")

    def once() -> None:
        match use:
            case "set_result":
                flow_of_one = TriggerFlow(name="r")
                flow_of_one.to(lambda data: data.set_result(1), name="give")
                flow_of_one.start()
            case "end":
                flow.end()
            case "get_result":
                execution = started(flow)
                execution.close()
                execution.get_result()
            case _:
                flow.create_execution(auto_close=False).start(wait_for_result=True)

    with pytest.warns(DeprecationWarning, match="is deprecated"):
        once()
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        once()


def test_keys_of_the_package_cannot_be_written_by_chunks() -> None:
    flow = TriggerFlow(name="result")
    flow.to(lambda data: data.set_state("$final_result", 1), name="write")
    with pytest.raises(exceptions.JsonValueError, match="keys that begin with"):
        flow.start()


def test_meta_tells_how_it_stands() -> None:
    flow = TriggerFlow(name="result")
    flow.to(lambda data: data.set_state("a", 1), name="keep")
    execution = flow.create_execution(auto_close=False)
    before = execution.result.get_meta()
    assert (before["status"], before["lifecycle_state"], before["started_at"]) == ("created", "open", None)
    execution.start()
    execution.close(reason="enough")
    meta = execution.result.get_meta()
    assert (meta["execution_id"], meta["run_id"], meta["flow_name"]) == (execution.id, execution.id, "result")
    assert (meta["status"], meta["lifecycle_state"], meta["close_reason"]) == ("completed", "closed", "enough")
    assert meta["created_at"] <= meta["started_at"] <= meta["closed_at"]
    assert meta["state_version"] == 1


def test_everything_is_there_in_a_loop_too() -> None:
    loops.run(in_one())


async def in_one() -> None:
    flow = TriggerFlow(name="result")

    async def keep(data: Any) -> None:
        await data.async_set_state("a", data.input)

    flow.to(keep)
    execution = flow.create_execution(auto_close=False)
    await execution.async_start(3)
    waiting = asyncio.ensure_future(execution.result.async_get_final_result(timeout=20))
    await execution.async_close()
    assert await waiting == {"a": 3}
    assert await execution.result.async_get_state("a") == 3
    assert (await execution.result.async_get_meta())["status"] == "completed"


def test_meta_tells_of_a_waiting_sub_flow_what_the_handle_tells() -> None:
    child = TriggerFlow(name="child of result")
    child.to(lambda data: data.pause_for(interrupt_id="gate"), name="ask")
    flow = TriggerFlow(name="result")
    flow.to_sub_flow(child)
    execution = started(flow)
    assert execution.get_status() == execution.result.get_meta()["status"] == "waiting"
