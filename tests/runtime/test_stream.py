"""``data.put_into_stream``: what is taken, what is refused, and where it goes nowhere."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from tests.handles.loops import in_a_loop
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.models import StreamItem

pytestmark = pytest.mark.django_db(transaction=True)


def run(chunk: Any, **contract: Any) -> list[Any]:
    """What a flow of one chunk leaves in its stream, read from rows."""
    flow = TriggerFlow(name="one chunk")
    if contract:
        flow.set_contract(**contract)
    flow.to(chunk, name="chunk")
    flow.start_execution(auto_close=False)
    return stored()


def stored() -> list[Any]:
    return list(StreamItem.objects.filter(kind="item").order_by("sequence").values_list("item", flat=True))


@in_a_loop
async def test_every_spelling_puts() -> None:
    flow = TriggerFlow(name="spellings")

    async def work(data: Any) -> None:
        data.put(1)
        data.put_into_stream(2)
        await data.async_put(3)
        await data.async_put_into_stream(4)
        await data.async_stop_stream()

    flow.to(work)
    assert [item async for item in flow.get_async_runtime_stream(timeout=5)] == [1, 2, 3, 4]


def test_an_item_is_taken_as_it_is_at_that_moment() -> None:
    def work(data: Any) -> None:
        item = {"tokens": ["a"]}
        data.put(item)
        item["tokens"].append("b")

    assert run(work) == [{"tokens": ["a"]}]


def test_what_is_not_json_is_refused_in_the_chunk_with_its_path() -> None:
    with pytest.raises(exceptions.JsonValueError, match=r"stream item\.when: datetime"):
        run(lambda data: data.put({"when": dt.datetime(2026, 1, 1)}))  # noqa: DTZ001
    assert stored() == []


def test_what_is_larger_than_allowed_is_refused(settings: Any) -> None:
    settings.TRIGGERFLOW = {"STREAM_ITEM_BYTES": 100}
    assert run(lambda data: data.put("x" * 90)) == ["x" * 90]
    with pytest.raises(exceptions.JsonValueError, match="stream item"):
        run(lambda data: data.put("x" * 101))


def test_a_refused_item_may_be_caught_and_the_chunk_goes_on() -> None:
    def work(data: Any) -> None:
        with pytest.raises(ValueError, match="set"):
            data.put({1, 2})
        data.put("still here")

    assert run(work) == ["still here"]


def test_an_item_is_checked_against_the_contract() -> None:
    schema = {"type": "object", "required": ["token"]}
    assert run(lambda data: data.put({"token": "a"}), stream=schema) == [{"token": "a"}]
    with pytest.raises(exceptions.ContractError, match="stream item"):
        run(lambda data: data.put("a"), stream=schema)


def test_an_item_that_was_put_stays_though_its_chunk_fails() -> None:
    def work(data: Any) -> None:
        data.put("so far")
        raise LookupError

    with pytest.raises(LookupError):
        run(work)
    assert stored() == ["so far"]


def test_what_a_condition_puts_goes_nowhere() -> None:
    flow = TriggerFlow(name="condition")

    def nosy(data: Any) -> bool:
        data.put("from a condition")
        data.stop_stream()
        return True

    flow.if_condition(nosy).to(lambda data: data.put("from a chunk")).end_condition()
    flow.start_execution(auto_close=False)
    assert stored() == ["from a chunk"]


def test_a_later_chunk_that_puts_after_stop_stream_is_warned_and_ignored() -> None:
    flow = TriggerFlow(name="stopped")
    flow.to(lambda data: data.stop_stream(), name="stop")

    def late(data: Any) -> None:
        data.put("late")
        data._frame.stream().flush()
        with pytest.warns(RuntimeWarning, match="stopped"):
            data.put("later")

    flow.when("stop").to(late)
    flow.start_execution(auto_close=False)
    assert stored() == []


def test_a_chunk_that_ran_out_of_time_leaves_what_it_had_put() -> None:
    flow = TriggerFlow(name="late")

    def work(data: Any) -> None:
        data.put("in time")
        while True:
            pass

    flow.to(flow.chunk("work", timeout=0.2)(work))
    with pytest.raises(exceptions.ChunkTimeoutError):
        flow.start_execution(auto_close=False)
    assert stored() == ["in time"]
