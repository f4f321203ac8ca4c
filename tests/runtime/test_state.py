"""data.get_state and its kin, and data.state: dotted keys, own writes, copies."""

from __future__ import annotations

from typing import Any

import pytest

from tests.handles.loops import in_a_loop
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.models import State
from triggerflow_django.runtime import state
from triggerflow_django.runtime.state import MISSING, StateChange

pytestmark = pytest.mark.django_db(transaction=True)


def _in_a_chunk(chunk: Any, **before: Any) -> dict[str, Any]:
    """Run one chunk with some state before it; returns the snapshot."""
    flow = TriggerFlow("state")
    flow.to(("chunk", chunk))
    execution = flow.create_execution(auto_close=False)
    for key, value in before.items():
        execution.set_state(key, value)
    execution.start()
    snapshot: dict[str, Any] = execution.close()
    return snapshot


def test_a_chunk_reads_what_was_there_and_its_own_writes_at_once() -> None:
    def chunk(data: Any) -> None:
        assert data.get_state("order.total") == 12
        data.set_state("order.total", 13)
        data.append_state("order.lines", "a")
        data.append_state("order.lines", "b")
        data.append_state("order.total", 14)
        assert data.get_state("order") == {"total": [13, 14], "lines": ["a", "b"]}
        data.del_state("order.total")
        data.del_state("order.nothing")
        assert data.get_state("order.total") is None
        assert data.get_state("order.total", "gone") == "gone"
        assert data.get_state() == {"order": {"lines": ["a", "b"]}}

    assert _in_a_chunk(chunk, order={"total": 12}) == {"order": {"lines": ["a", "b"]}}


def test_async_spellings_do_the_same() -> None:
    async def chunk(data: Any) -> None:
        await data.async_set_state("a.b", 1)
        await data.async_append_state("list", 1)
        await data.async_set_state("gone", 1)
        await data.async_del_state("gone")
        assert await data.async_get_state("a.b") == 1
        assert await data.async_get_state("gone", "gone") == "gone"
        await data.state.async_set("view.x", await data.state.async_get("a.b"))
        await data.state.async_append("list", 2)
        await data.state.async_set("view.y", 1)
        await data.state.async_delete("view.y")

    assert _in_a_chunk(chunk) == {"a": {"b": 1}, "list": [1, 2], "view": {"x": 1}}


def test_the_view_is_a_mapping() -> None:
    def chunk(data: Any) -> None:
        view = data.state
        assert view["order.total"] == 12
        with pytest.raises(KeyError, match="missing"):
            view["missing"]
        assert "order.total" in view
        assert "order.tax" not in view
        assert 7 not in view
        assert list(view) == view.keys() == ["order", "note"]
        assert view.values() == [{"total": 12}, "x"]
        assert view.items() == [("order", {"total": 12}), ("note", "x")]
        assert len(view) == 2
        assert view.get("order.tax", "none") == "none"
        view.set("note", "y")
        view.append("log", 1)
        view.delete("order")

    assert _in_a_chunk(chunk, order={"total": 12}, note="x") == {"note": "y", "log": [1]}


def test_what_goes_in_and_what_comes_out_are_copies() -> None:
    def chunk(data: Any) -> None:
        mine = {"lines": [1]}
        data.set_state("order", mine)
        mine["lines"].append(2)
        data.get_state("order")["lines"].append(3)
        data.get_state()["order"]["lines"].append(4)
        data.state["order"]["lines"].append(5)
        data.state.values()[0]["lines"].append(6)
        data.state.items()[0][1]["lines"].append(7)
        assert data.get_state("order.lines") == [1]

    assert _in_a_chunk(chunk) == {"order": {"lines": [1]}}


def test_a_chunk_that_raises_leaves_no_write_and_no_event() -> None:
    def chunk(data: Any) -> None:
        data.set_state("half", True)
        data.emit("half")
        raise LookupError("half way")

    flow = TriggerFlow("state")
    flow.to(chunk)
    flow.when("half").to(("never", lambda data: pytest.fail("it did not happen")))
    execution = flow.create_execution(auto_close=False)
    with pytest.raises(LookupError):
        execution.start()
    assert execution.get_state() == {}
    assert not State.objects.exists()


@in_a_loop
async def test_writes_of_parallel_branches_compose() -> None:
    flow = TriggerFlow("state")

    def branch(number: int) -> Any:
        async def run(data: Any) -> None:
            data.append_state("log", number)
            await data.async_set_state(f"by.{number}", number)

        return (f"branch {number}", run)

    flow.batch(*(branch(number) for number in range(8)))
    snapshot = await flow.async_start()
    assert sorted(snapshot["log"]) == list(range(8))
    assert snapshot["by"] == {str(number): number for number in range(8)}


def test_values_that_are_not_json_are_refused_by_their_path() -> None:
    def chunk(data: Any) -> None:
        for write in (data.set_state, data.append_state):
            with pytest.raises(exceptions.JsonValueError, match=r"state\.order\.when: datetime|state\.order\.when"):
                write("order", {"when": object()})
        for key in ("", "a..b", None, "x" * 201):
            with pytest.raises(exceptions.JsonValueError):
                data.set_state(key, 1)
            with pytest.raises(exceptions.JsonValueError):
                data.state["a." if key is None else key]

    assert _in_a_chunk(chunk) == {}


@pytest.mark.once
class TestOperations:
    """The pure part, which the commit uses too."""

    def test_apply_shares_nothing_it_changes(self) -> None:
        before: dict[str, Any] = {"a": {"b": [1]}, "c": 1}
        after = state.apply(before, StateChange("append", "a.b", 2))
        assert before == {"a": {"b": [1]}, "c": 1}
        assert after == {"a": {"b": [1, 2]}, "c": 1}

    def test_a_scalar_on_the_way_is_replaced_by_an_object(self) -> None:
        assert state.apply({"a": 1}, StateChange("set", "a.b.c", 2)) == {"a": {"b": {"c": 2}}}

    def test_deleting_what_is_absent_changes_nothing(self) -> None:
        before = {"a": 1}
        for key in ("b", "a.b", "b.c"):
            assert state.apply(before, StateChange("delete", key)) is before

    def test_lookup(self) -> None:
        assert state.lookup({"a": {"b": None}}, "a.b") is None
        assert state.lookup({"a": {"b": None}}, "a.b.c") is MISSING
        assert state.lookup({}, "a") is MISSING
