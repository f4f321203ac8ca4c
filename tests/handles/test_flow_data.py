"""Flow data: shared by all executions of a flow, stored, safe when many write at once, and warned about."""

from __future__ import annotations

import json
import threading
import warnings
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext

from tests.handles import loops
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.engine import flow_data
from triggerflow_django.models import Execution, FlowData

pytestmark = pytest.mark.django_db(transaction=True)
quiet = {"no_warning": True}


def listening() -> TriggerFlow:
    """A chunk that stores its input for all, and one that notes what it hears."""
    flow = TriggerFlow(name="shared")
    flow.to(lambda data: data.set_flow_data("last", data.input, **quiet), name="share")
    flow.when({"flow_data": "last"}).to(lambda data: data.append_state("heard", [data.type, data.input]), name="hear")
    return flow


def test_it_outlives_the_execution_that_wrote_it_and_is_in_no_snapshot() -> None:
    flow = listening()
    assert flow.start("one") == {"heard": [["flow_data", "one"]]}
    assert flow.start("two") == {"heard": [["flow_data", "two"]]}
    assert flow.get_flow_data("last", **quiet) == "two"
    assert FlowData.objects.get().revision == 2


def test_a_chunk_reads_its_own_writes_and_others_read_them_after_its_commit() -> None:
    flow = TriggerFlow(name="shared")
    flow.set_flow_data("n", 1, **quiet)

    def write(data: Any) -> None:
        data.set_flow_data("n", 2, emit=False, **quiet)
        data.append_flow_data("list", "a", **quiet)
        data.append_flow_data("list", "b", **quiet)
        data.del_flow_data("absent", **quiet)
        data.set_state("inside", data.get_flow_data(**quiet))
        data.set_state("outside", flow.get_flow_data(**quiet))

    flow.to(write)
    assert flow.start() == {"inside": {"n": 2, "list": ["a", "b"]}, "outside": {"n": 1}}
    assert flow.get_flow_data(**quiet) == {"n": 2, "list": ["a", "b"]}
    assert flow.get_flow_data("absent", "default", **quiet) == "default"


def test_a_chunk_that_raises_leaves_nothing() -> None:
    flow = TriggerFlow(name="shared")

    def write(data: Any) -> None:
        data.set_flow_data("n", 1, **quiet)
        raise LookupError

    flow.to(write)
    with pytest.raises(LookupError):
        flow.start()
    assert flow.get_flow_data(**quiet) == {}


def test_a_write_from_outside_is_heard_by_every_open_execution_of_the_flow() -> None:
    flow = TriggerFlow(name="shared")
    flow.when({"flow_data": "price"}).to(lambda data: data.set_state("price", data.input), name="hear")
    first, second, closed = (flow.start_execution(auto_close=False) for _ in range(3))
    closed.close()
    other = TriggerFlow(name="another")
    other.when({"flow_data": "price"}).to(lambda data: data.set_state("price", data.input), name="hear")
    stranger = other.start_execution(auto_close=False)
    flow.set_flow_data("price", 12, **quiet)
    for execution in (first, second, stranger):
        execution.wait()
    assert (first.get_state("price"), second.get_state("price")) == (12, 12)
    assert stranger.get_state("price") is None
    assert closed.get_snapshot() == {}
    flow.set_flow_data("price", 13, emit=False, **quiet)
    first.wait()
    assert first.get_state("price") == 12


def test_it_lives_in_the_callers_transaction() -> None:
    flow = TriggerFlow(name="shared")
    flow.when({"flow_data": "price"}).to(lambda data: data.set_state("price", data.input), name="hear")
    execution = flow.start_execution(auto_close=False)
    with transaction.atomic():
        flow.set_flow_data("price", 1, **quiet)
        transaction.set_rollback(True)
    execution.wait()
    assert flow.get_flow_data(**quiet) == {}
    assert execution.get_state() == {}
    with transaction.atomic():
        flow.set_flow_data("price", 2, **quiet)
        assert execution.row().active_steps == 0
    execution.wait()
    assert execution.get_state() == {"price": 2}


@pytest.mark.parametrize("first_ever", [True, False])
def test_writers_at_the_same_time_lose_nothing(first_ever: bool) -> None:
    flow = TriggerFlow(name="shared")
    flow.to(lambda data: data.append_flow_data("list", data.input, **quiet), name="add")
    if not first_ever:
        flow.append_flow_data("list", "begin", **quiet)
    problems: list[BaseException] = []

    def run(number: int) -> None:
        try:
            for _ in range(5):
                flow.start(number)
        except BaseException as error:
            problems.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    found = flow.get_flow_data("list", **quiet)
    assert sorted(entry for entry in found if entry != "begin") == sorted(list(range(4)) * 5)


def test_every_call_warns_unless_told_not_to() -> None:
    flow = TriggerFlow(name="shared")

    def use(data: Any) -> None:
        with pytest.warns(RuntimeWarning, match="shared by all executions"):
            data.set_flow_data("a", 1)
        with pytest.warns(RuntimeWarning):
            data.get_flow_data("a")
        with pytest.warns(RuntimeWarning):
            data.append_flow_data("b", 1)
        with pytest.warns(RuntimeWarning):
            data.del_flow_data("a")

    flow.to(use)
    flow.start()
    for call in (
        flow.get_flow_data,
        lambda: flow.set_flow_data("a", 1),
        lambda: flow.append_flow_data("b", 2),
        lambda: flow.del_flow_data("a"),
    ):
        with pytest.warns(RuntimeWarning, match="no_warning=True") as caught:
            call()
        assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert flow.get_flow_data(**quiet) == {"b": [1, 2]}


def test_what_is_no_json_or_too_large_is_refused_and_changes_nothing(settings: Any) -> None:
    flow = TriggerFlow(name="shared")
    with pytest.raises(exceptions.JsonValueError, match=r"flow_data\.a"):
        flow.set_flow_data("a", object(), **quiet)
    with pytest.raises(exceptions.JsonValueError, match="state key"):
        flow.set_flow_data("a..b", 1, **quiet)
    settings.TRIGGERFLOW = {"VALUE_MAX_BYTES": 1000}
    flow.set_flow_data("a", "x" * 600, **quiet)
    with pytest.raises(exceptions.JsonValueError, match="flow data"):
        flow.set_flow_data("b", "x" * 600, **quiet)
    assert sorted(flow.get_flow_data(**quiet)) == ["a"]


def test_a_saved_execution_brings_it_along_and_replaces_nothing() -> None:
    flow = TriggerFlow(name="shared")
    flow.to(lambda data: data.pause_for(interrupt_id="gate"), name="ask")
    flow.set_flow_data("a.b", 1, **quiet)
    execution = flow.start_execution(auto_close=False)
    document = json.loads(json.dumps(execution.save()))
    assert document["flow_data"] == {"a": {"b": 1}}
    flow.set_flow_data("a.b", 2, **quiet)
    flow.create_execution(auto_close=False).load(document, as_new=True)
    assert flow.get_flow_data("a.b", **quiet) == 2
    FlowData.objects.all().delete()
    Execution.objects.all().delete()
    flow.create_execution(auto_close=False).load(document)
    assert flow.get_flow_data(**quiet) == {"a": {"b": 1}}
    with pytest.raises(exceptions.SnapshotTypeError, match="flow_data"):
        flow.create_execution().load({**document, "flow_data": []})


def test_a_chunk_that_uses_none_costs_nothing() -> None:
    """Three statements a step, as ever; see tests/engine/test_cost.py. Here: none is about flow data."""
    flow = TriggerFlow(name="shared")
    flow.to(lambda data: data.set_state("a", 1), name="one")
    with CaptureQueriesContext(connection) as captured:
        flow.start()
    assert not [query for query in captured.captured_queries if "flowdata" in query["sql"].lower()]


def test_it_is_there_in_a_loop_too() -> None:
    async def walk() -> dict[str, Any]:
        flow = TriggerFlow(name="shared")

        async def write(data: Any) -> None:
            await data.async_set_flow_data("a", data.input, **quiet)
            await data.async_append_flow_data("l", 1, **quiet)
            await data.async_del_flow_data("gone", **quiet)
            assert await data.async_get_flow_data("a", **quiet) == data.input

        flow.to(write)
        await flow.async_set_flow_data("gone", 1, **quiet)
        await flow.async_start(7)
        await flow.async_append_flow_data("l", 2, **quiet)
        await flow.async_del_flow_data("absent", **quiet)
        return await flow.async_get_flow_data(**quiet)

    assert loops.run(walk()) == {"a": 7, "l": [1, 2]}


def test_a_flow_that_listens_to_no_key_signals_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = TriggerFlow(name="shared")
    flow.to(lambda data: data.input, name="nothing")
    flow.start_execution(auto_close=False)
    monkeypatch.setattr(flow_data, "_signal", lambda *_arguments: pytest.fail("signalled"))
    flow.set_flow_data("price", 1, **quiet)


def test_deleting_what_is_absent_changes_nothing_and_is_heard_by_nobody() -> None:
    flow = TriggerFlow(name="shared")
    flow.when({"flow_data": "price"}).to(lambda data: data.append_state("heard", data.input), name="hear")
    execution = flow.start_execution(auto_close=False)
    flow.set_flow_data("price", 1, **quiet)
    flow.del_flow_data("absent", **quiet)
    flow.del_flow_data("price.deeper", **quiet)
    assert FlowData.objects.get().revision == 1
    flow.del_flow_data("price", **quiet)
    flow.del_flow_data("price", **quiet)
    assert FlowData.objects.get().revision == 2
    execution.wait()
    assert execution.get_state("heard") == [1, None]


def test_an_execution_that_cannot_be_told_keeps_no_other_from_hearing(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = TriggerFlow(name="shared")
    flow.when({"flow_data": "price"}).to(lambda data: data.set_state("price", data.input), name="hear")
    first, second = (flow.start_execution(auto_close=False) for _ in range(2))
    tell = flow_data._signal

    def trouble(pk: Any, *arguments: Any) -> None:
        if pk == first.pk:
            raise OperationalError("says a test")
        tell(pk, *arguments)

    monkeypatch.setattr(flow_data, "_signal", trouble)
    flow.set_flow_data("price", 1, **quiet)  # whoever writes cannot do anything about it
    for execution in (first, second):
        execution.wait()
    assert (first.get_state(), second.get_state()) == ({}, {"price": 1})
