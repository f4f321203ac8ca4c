"""``when({"runtime_data": key})``: a written state key starts a chain; exactly that key, unless told not to."""

from __future__ import annotations

from typing import Any

import pytest

from tests.flows import running
from triggerflow_django import TriggerFlow

pytestmark = pytest.mark.django_db


@pytest.fixture
def flow() -> TriggerFlow:
    return TriggerFlow(name="state")


def listen(flow: TriggerFlow, *keys: str) -> None:
    """Log each write of these keys as [key, value]."""
    for key in keys:
        flow.when({"runtime_data": key}).to(
            lambda data: data.append_state("log", [data.trigger_type, data.trigger_event, data.input], emit=False)
        )


def test_each_write_of_the_key_starts_the_chain_with_the_new_value(flow: TriggerFlow) -> None:
    def write(data: Any) -> None:
        data.set_state("user", "Ann")
        data.set_state("other", 1)
        data.set_state("user", {"name": "Bob"})
        data.state.set("user", None)

    flow.to(write)
    listen(flow, "user")
    assert running.run(flow)["log"] == [["runtime_data", "user", value] for value in ("Ann", {"name": "Bob"}, None)]


def test_an_append_passes_the_whole_list_as_the_chunk_sees_it(flow: TriggerFlow) -> None:
    def write(data: Any) -> None:
        data.append_state("items", 1)
        data.append_state("items", 2)
        data.set_state("single", "a")
        data.append_state("single", "b")

    flow.to(write)
    listen(flow, "items", "single")
    state = running.run(flow)
    assert [value for _, _, value in state.pop("log")] == [[1], [1, 2], "a", ["a", "b"]]
    assert state == {"items": [1, 2], "single": ["a", "b"]}


def test_a_deletion_passes_none_and_that_of_an_absent_key_nothing(flow: TriggerFlow) -> None:
    def write(data: Any) -> None:
        data.del_state("user")
        data.set_state("user", 1, emit=False)
        data.del_state("user")
        data.state.delete("user")

    flow.to(write)
    listen(flow, "user")
    assert running.run(flow) == {"log": [["runtime_data", "user", None]]}


def test_only_the_very_key_counts(flow: TriggerFlow) -> None:
    def write(data: Any) -> None:
        data.set_state("user.name", "Ann")
        data.set_state("user", {"name": "Bob"})
        data.set_state("users", 1)

    flow.to(write)
    listen(flow, "user", "user.name")
    assert running.run(flow)["log"] == [["runtime_data", "user.name", "Ann"], ["runtime_data", "user", {"name": "Bob"}]]


def test_a_write_may_be_kept_quiet(flow: TriggerFlow) -> None:
    async def write(data: Any) -> None:
        await data.async_set_state("user", 1, emit=False)
        await data.async_append_state("user", 2, emit=False)
        await data.state.async_set("user", 3, emit=False)
        await data.state.async_delete("user", emit=False)

    flow.to(write)
    listen(flow, "user")
    assert running.run(flow) == {}


def test_writes_from_outside_start_it_too(flow: TriggerFlow) -> None:
    listen(flow, "user")
    execution = running.begin(flow)
    execution.set_state("user", 1)
    execution.append_state("user", 2)
    execution.set_state("user", 3, emit=False)
    execution.del_state("user")
    execution.del_state("user")
    execution.set_state("user.name", 4)
    assert [value for _, _, value in running.log(execution)] == [1, [1, 2], None]


def test_state_may_be_written_before_the_start(flow: TriggerFlow) -> None:
    listen(flow, "limit")
    flow.to(lambda data: data.set_state("out", data.get_state("limit")))
    execution = flow.create_execution(auto_close=False)
    execution.set_state("limit", 10)
    assert running.log(execution) == [["runtime_data", "limit", 10]]
    execution.start()
    assert execution.get_state("out") == 10


def test_a_chain_of_writes_goes_round(flow: TriggerFlow) -> None:
    def count(data: Any) -> None:
        if data.input < 5:
            data.set_state("count", data.input + 1)

    flow.to(lambda data: data.set_state("count", 1))
    flow.when({"runtime_data": "count"}).to(count)
    assert running.run(flow) == {"count": 5}


def test_keys_join_with_events_and_with_one_another(flow: TriggerFlow) -> None:
    flow.when({"runtime_data": ["a", "b"]}).to(running.append(), name="keys")
    flow.when({"event": "E", "runtime_data": "a"}, mode="simple_or").to(running.append("either"), name="either")
    execution = running.begin(flow)
    execution.set_state("b", 2)
    execution.set_state("a", 1)
    execution.emit("E", 3)
    assert running.log(execution) == [{"runtime_data": {"a": 1, "b": 2}}]
    assert running.log(execution, "either") == [1, 3]


def test_a_key_written_in_an_item_joins_within_that_item(flow: TriggerFlow) -> None:
    def write(data: Any) -> None:
        data.set_state("a", data.input)
        data.emit("E", data.input)

    flow.for_each().to(write).end_for_each()
    flow.when({"event": "E", "runtime_data": "a"}).to(running.append())
    assert running.run(flow, [1, 2])["log"] == [{"event": {"E": n}, "runtime_data": {"a": n}} for n in (1, 2)]


def test_parallel_branches_write_into_one_state(flow: TriggerFlow) -> None:
    flow.batch(
        ("a", lambda data: data.set_state("order.a", 1)),
        ("b", lambda data: data.set_state("order.b", 2)),
        ("c", lambda data: data.append_state("log", "c")),
        ("d", lambda data: data.append_state("log", "d")),
    )
    assert running.run(flow) == {"order": {"a": 1, "b": 2}, "log": ["c", "d"]}
