"""State from outside: dotted keys, copies, what fires, until when."""

from __future__ import annotations

from typing import Any

import pytest

from tests.handles.loops import in_a_loop
from triggerflow_django import TriggerFlow, exceptions

pytestmark = pytest.mark.django_db(transaction=True)


def watching() -> TriggerFlow:
    flow = TriggerFlow("watching")

    def note(data: Any) -> None:
        data.append_state("log", [data.trigger_event, data.input], emit=False)

    flow.when({"runtime_data": "user.name"}).to(note)
    flow.when({"runtime_data": "items"}).to(("note items", note))
    return flow


def test_dotted_keys_reach_into_nested_objects() -> None:
    execution = TriggerFlow("empty").create_execution()
    execution.set_state("order.lines", [1])
    execution.set_state("order.total", 12)
    execution.append_state("order.lines", 2)
    execution.append_state("order.notes", "first")
    execution.append_state("order.total", 13)
    assert execution.get_state() == {"order": {"lines": [1, 2], "total": [12, 13], "notes": ["first"]}}
    execution.del_state("order.total")
    execution.del_state("order.nothing")
    execution.del_state("nothing.at.all")
    assert execution.get_state("order") == {"lines": [1, 2], "notes": ["first"]}
    execution.set_state("order", {"new": True})
    assert execution.get_state("order.lines") is None
    assert execution.get_state("order.lines", []) == []


@in_a_loop
async def test_async_spellings_do_the_same() -> None:
    execution = TriggerFlow("empty").create_execution()
    await execution.async_set_state("order.lines", [1])
    await execution.async_append_state("order.lines", 2)
    await execution.async_set_state("order.total", 12)
    await execution.async_del_state("order.total")
    assert await execution.async_get_state() == {"order": {"lines": [1, 2]}}
    assert await execution.async_get_state("order.total", "none") == "none"


def test_what_was_written_is_a_copy() -> None:
    execution, lines = TriggerFlow("empty").create_execution(), [1]
    execution.set_state("lines", lines)
    lines.append(2)
    assert execution.get_state("lines") == [1]


def test_writes_fire_what_listens_to_exactly_that_key() -> None:
    execution = watching().start_execution(auto_close=False)
    execution.set_state("user", {"name": "not listened to"})
    execution.set_state("user.name", "ann")
    execution.append_state("items", 1)
    execution.append_state("items", 2)
    execution.set_state("user.name", "quiet", emit=False)
    execution.del_state("user.name")
    execution.del_state("user.name")
    assert execution.get_state("log") == [
        ["user.name", "ann"],
        ["items", [1]],
        ["items", [1, 2]],
        ["user.name", None],
    ]


@pytest.mark.parametrize("key", ["", ".", "a.", ".a", "a..b", None, 7, "x" * 201, "a\x00"])
def test_a_key_that_is_none_is_refused(key: Any) -> None:
    execution = TriggerFlow("empty").create_execution()
    for write in (execution.set_state, execution.append_state):
        with pytest.raises(exceptions.JsonValueError):
            write(key, 1)
    with pytest.raises(exceptions.JsonValueError):
        execution.del_state(key)
    if key is not None:  # no key: the whole state
        with pytest.raises(exceptions.JsonValueError):
            execution.get_state(key)
    assert execution.row() is None


def test_a_value_that_is_not_json_is_refused_by_its_path() -> None:
    execution = TriggerFlow("empty").create_execution()
    with pytest.raises(exceptions.JsonValueError, match=r"state\.order\.when"):
        execution.set_state("order", {"when": object()})
    assert execution.get_state() == {}


def test_the_state_is_frozen_by_the_close() -> None:
    execution = TriggerFlow("empty").create_execution()
    execution.set_state("total", 1)
    execution.close()
    with pytest.raises(exceptions.ExecutionNotOpenError, match="closed"):
        execution.set_state("total", 2)
    assert execution.get_state() == execution.get_snapshot() == {"total": 1}
