"""Rows of runtime streams: opened when somebody streams, told of interrupts, restarted, bounded, deleted in time."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from tests.engine import driving
from triggerflow_django import TriggerFlow
from triggerflow_django.engine import emit, stream
from triggerflow_django.engine.stream import Draft
from triggerflow_django.engine.stream_reading import Cursor
from triggerflow_django.engine.sweep import sweep
from triggerflow_django.models import Execution, Step, StreamItem, StreamItemKind, StreamStatus

pytestmark = pytest.mark.django_db(transaction=True)


def items_of(pk: uuid.UUID, position: int = 0) -> list[Any]:
    """What a reader gets now."""
    cursor = Cursor(pk, position=position, using="default")
    found: list[Any] = []
    while not cursor.is_ended:
        cursor.look()
        if not cursor.entries:
            break
        found += [entry.item for entry in cursor.entries]
        cursor.entries.clear()
    return found + [entry.item for entry in cursor.entries]


def kinds(pk: uuid.UUID) -> list[str]:
    rows = StreamItem.objects.filter(root_id=pk).order_by("sequence")
    return [str(kind) for kind in rows.values_list("kind", flat=True)]


def put(pk: uuid.UUID, *items: Any) -> None:
    """Append items as if a chunk had put them."""
    stream.open_stream(pk, using="default")
    for item in items:
        draft = Draft(StreamItemKind.ITEM, item)
        look = stream.looking(pk, "default")
        assert stream.append(pk, [draft], source=pk, using="default", look=look)


def waiting(name: str = "waiting") -> TriggerFlow:
    flow = TriggerFlow(name=name)
    flow.to(lambda data: data.pause_for(interrupt_id="gate"), name="ask")
    return flow


def flaky(retries: int = 1, *, puts_again: bool = True) -> TriggerFlow:
    """Puts, and raises in its first attempt."""
    flow = TriggerFlow(name="flaky")

    def work(data: Any) -> None:
        if data.attempt == 1 or puts_again:
            data.put(f"attempt {data.attempt}")
        if data.attempt == 1:
            raise LookupError

    flow.to(flow.chunk("work", retries=retries, backoff=0.01)(work))
    return flow


# -- cost


def test_who_does_not_stream_pays_nothing() -> None:
    pk = driving.settled(waiting(), 1)
    with CaptureQueriesContext(connection) as captured:
        driving.decide(pk, "gate", 1, flow=waiting())
    assert not [query["sql"] for query in captured.captured_queries if "streamitem" in query["sql"]]
    assert StreamItem.objects.count() == 0
    assert driving.row(pk).stream == StreamStatus.NONE


# -- opening and telling


def test_a_stream_is_opened_once_and_by_one_of_two_at_once() -> None:
    pk = driving.settled(waiting(), 1)
    ready = threading.Barrier(4)

    def open_it() -> None:
        ready.wait()
        stream.open_stream(pk, using="default")
        connections.close_all()

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kinds(pk) == ["interrupt"]


def test_an_interrupt_is_told_in_the_transaction_of_its_change() -> None:
    flow = waiting()
    pk = driving.settled(flow, 1)
    put(pk, "before")
    assert kinds(pk) == ["interrupt", "item"]
    with pytest.raises(KeyError):
        driving.decide(pk, "other", 1, flow=flow)
    assert len(kinds(pk)) == 2
    driving.decide(pk, "gate", 1, flow=flow)
    assert [item["action"] for item in items_of(pk) if item != "before"] == ["pause", "resume"]


def test_a_question_answered_by_an_earlier_event_is_told_with_its_answer() -> None:
    flow = TriggerFlow(name="early")

    def work(data: Any) -> Any:
        data.put("working")
        emit.emit(uuid.UUID(data.execution_id), "paid", 5, using="default", graph=flow.graph)
        return data.pause_for(resume_event="paid", interrupt_id="payment")

    flow.to(work)
    pk = driving.settled(flow, 1)
    items = items_of(pk)
    assert [item if isinstance(item, str) else item["action"] for item in items] == ["working", "pause", "resume"]
    assert items[2]["value"] == 5


def test_trouble_with_the_stream_does_not_keep_a_person_from_deciding(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = waiting()
    pk = driving.settled(flow, 1)
    put(pk, "x")

    def broken(*_arguments: Any, **_options: Any) -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT nonsense FROM triggerflow_streamitem, triggerflow_step WHERE syntax error")
        raise AssertionError("unreachable")

    real = stream.append
    monkeypatch.setattr(stream, "append", broken)
    monkeypatch.setattr(stream, "OperationalError", ZeroDivisionError)  # SQLite calls this one operational
    assert driving.decide(pk, "gate", 1, flow=flow)["status"] == "resumed"
    monkeypatch.setattr(stream, "append", real)
    assert kinds(pk) == ["interrupt", "item"]


def test_a_copy_of_a_saved_execution_tells_of_its_interrupts_anew() -> None:
    flow = waiting()
    execution = flow.start_execution(auto_close=False)
    put(execution.pk, "x")
    copy = flow.create_execution()
    copy.load(execution.save(), as_new=True)
    assert driving.row(copy.pk).stream == StreamStatus.NONE
    assert [item["interrupt"]["id"] for item in items_of(copy.pk)] == ["gate"]


# -- attempts


def test_a_further_attempt_is_told_where_the_first_had_put() -> None:
    pk = driving.settled(flaky(), 1)
    first, again, second = items_of(pk)
    assert (first, second) == ("attempt 1", "attempt 2")
    assert again == {"type": "stream", "action": "restart", "execution_id": pk.hex, "step": "work", "attempt": 2}


def test_a_further_attempt_that_puts_nothing_is_told_too() -> None:
    pk = driving.settled(flaky(puts_again=False), 1)
    assert kinds(pk) == ["item", "restart"]


def test_a_restart_is_told_once_however_many_attempts_put_nothing() -> None:
    flow = TriggerFlow(name="hopeless")

    def work(data: Any) -> None:
        if data.attempt == 1:
            data.put(1)
        raise LookupError

    flow.to(flow.chunk("work", retries=4, backoff=0.01)(work))
    pk = driving.settled(flow, 1)
    assert kinds(pk) == ["item", "restart"]


def test_attempts_of_a_chunk_that_never_put_are_not_told() -> None:
    flow = TriggerFlow(name="silent")
    flow.to(lambda data: data.put("from another"), name="other")

    def work(data: Any) -> None:
        if data.attempt == 1:
            raise LookupError

    flow.to(flow.chunk("work", retries=1, backoff=0.01)(work))
    pk = driving.settled(flow, 1)
    assert kinds(pk) == ["item"]


def test_a_stale_run_puts_nothing_more() -> None:
    flow = TriggerFlow(name="stale")
    seen: list[int] = []

    def work(data: Any) -> None:
        data.put(f"attempt {data.attempt}")
        data._frame.stream().flush()
        if data.attempt == 1:
            Step.objects.filter(execution_id=pk).update(lease_token=uuid.uuid4(), attempt=2)
            data.put("stale")
            data._frame.stream().flush()
            data.put("still stale")
            seen.append(len(data._frame.stream().waiting))

    flow.to(work)
    pk = driving.start(flow, 1)
    driving.drain(pk, flow)
    assert items_of(pk) == ["attempt 1"]
    assert seen == [0]


# -- bounds


def test_the_oldest_items_go_and_a_reader_is_told_what_it_missed(settings: Any) -> None:
    settings.TRIGGERFLOW = {"STREAM_MAX_ITEMS": 10}
    pk = driving.settled(waiting("bounded"), 1)
    put(pk, *range(30))
    left = StreamItem.objects.filter(root_id=pk).count()
    assert 10 <= left <= 11
    gap, *rest = items_of(pk)
    assert gap == {"type": "stream", "action": "gap", "execution_id": pk.hex, "lost": 31 - left}
    assert rest == list(range(30 - left, 30))
    gap, *rest = items_of(pk, position=5)
    assert (gap["lost"], rest) == (31 - left - 5, list(range(30 - left, 30)))
    assert items_of(pk, position=29) == [28, 29]


def test_after_a_gap_a_reader_goes_on_behind_it(settings: Any) -> None:
    settings.TRIGGERFLOW = {"STREAM_MAX_ITEMS": 10}
    pk = driving.settled(waiting("bounded"), 1)
    put(pk, *range(30))
    cursor = Cursor(pk, position=0, using="default")
    cursor.look()
    cursor.look()
    gap, first = cursor.entries[0], cursor.entries[1]
    assert gap.position == first.position - 1
    assert items_of(pk, position=gap.position)[0] == first.item


def test_streams_of_executions_closed_long_ago_are_deleted_and_readers_told(
    settings: Any, travel: Callable[[float], None]
) -> None:
    settings.TRIGGERFLOW = {"STREAM_RETENTION_SECONDS": 3600}
    old, open_ = driving.settled(TriggerFlow(name="old")), driving.settled(waiting("open"))
    put(old, 1, 2)
    put(open_, 1)
    TriggerFlow(name="old").get_execution(old).close()
    sweep(using="default")
    assert len(kinds(old)) == 2
    travel(3700)
    assert sweep(using="default").streams == 1
    assert kinds(old) == []
    assert len(kinds(open_)) == 2
    assert items_of(old) == [{"type": "stream", "action": "gap", "execution_id": old.hex, "lost": None}]
    assert items_of(old, position=2)[0]["action"] == "gap"
    assert sweep(using="default").streams == 0
    assert driving.row(old).stream == StreamStatus.EXPIRED


def test_a_large_stream_is_deleted_a_part_at_a_time() -> None:
    pk = driving.settled(TriggerFlow(name="large"))
    put(pk, *range(25))
    for left in (15, 5):
        assert stream.expire(pk, using="default", most=10)
        assert len(kinds(pk)) == left
    assert driving.row(pk).stream == StreamStatus.KEPT
    assert stream.expire(pk, using="default", most=10)
    assert kinds(pk) == []
    assert driving.row(pk).stream == StreamStatus.EXPIRED


def test_none_keeps_streams_for_good(settings: Any, travel: Callable[[float], None]) -> None:
    settings.TRIGGERFLOW = {"STREAM_RETENTION_SECONDS": None}
    pk = driving.settled(TriggerFlow(name="old"))
    put(pk, 1)
    TriggerFlow(name="old").get_execution(pk).close()
    travel(10 * 365 * 86_400)
    assert sweep(using="default").streams == 0
    assert len(kinds(pk)) == 1


# -- order


def test_writers_at_once_leave_no_hole_and_lose_nothing() -> None:
    pk = driving.settled(TriggerFlow(name="crowd"))
    stream.open_stream(pk, using="default")
    ready = threading.Barrier(4)
    seen: list[int] = []

    def write(who: int) -> None:
        ready.wait()
        for number in range(25):
            drafts = [Draft(StreamItemKind.ITEM, [who, number, part]) for part in range(3)]
            stream.append(pk, drafts, source=pk, using="default", look=stream.looking(pk, "default"))
        connections.close_all()

    threads = [threading.Thread(target=write, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    cursor = Cursor(pk, position=0, using="default")
    while any(thread.is_alive() for thread in threads):  # a reader meanwhile misses nothing
        cursor.look()
        seen += [entry.position for entry in cursor.entries]
        cursor.entries.clear()
    for thread in threads:
        thread.join()
    while True:
        cursor.look()
        if not cursor.entries:
            break
        seen += [entry.position for entry in cursor.entries]
        cursor.entries.clear()
    assert seen == list(range(1, 301))
    rows = StreamItem.objects.filter(root_id=pk).order_by("sequence").values_list("item", flat=True)
    for who in range(4):
        assert [item[1:] for item in rows if item[0] == who] == [[n, part] for n in range(25) for part in range(3)]


# -- sub flows


def test_items_of_sub_flows_are_in_the_stream_of_the_outermost_and_each_reads_its_own() -> None:
    root = driving.settled(TriggerFlow(name="root"))
    parent_step = Step.objects.create(
        execution_id=root, kind="chunk", node="sub", source="event:x", input=None, scope=[], path="p", status="done",
        created_at=driving.row(root).created_at, available_at=driving.row(root).created_at,
    )  # fmt: skip
    child = driving.settled(waiting("child"))
    Execution.objects.filter(pk=child).update(root_id=root, parent_step_id=parent_step.pk)
    child_step = driving.step(child, "ask")
    grandchild = driving.settled(TriggerFlow(name="grandchild"))
    Execution.objects.filter(pk=grandchild).update(root_id=root, parent_step_id=child_step.pk)
    stranger = driving.settled(TriggerFlow(name="stranger"))
    put(stranger, "stranger")
    for source, item in ((root, "r1"), (grandchild, "g1"), (root, "r2")):
        stream.open_stream(source, using="default")
        draft = Draft(StreamItemKind.ITEM, item)
        stream.append(root, [draft], source=source, using="default", look=stream.looking(root, "default"))

    def shown(pk: uuid.UUID) -> list[Any]:
        return [item if isinstance(item, str) else item["execution_id"] for item in items_of(pk)]

    # The reader opened the child's, which had asked something and put nothing.
    assert shown(root) == ["r1", "g1", "r2", child.hex]
    assert shown(child) == ["g1", child.hex]
    assert shown(grandchild) == ["g1"]


def test_what_is_put_and_closed_between_two_looks_of_a_reader_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    pk = driving.settled(TriggerFlow(name="closing"))
    put(pk, "first")
    cursor = Cursor(pk, position=0, using="default")
    cursor.look()
    cursor.entries.clear()
    real = Cursor._stands

    def stands(self: Cursor) -> Execution | None:
        """Just after the reader found nothing, and before it looks how the execution stands."""
        monkeypatch.setattr(Cursor, "_stands", real)
        put(pk, "last")
        TriggerFlow(name="closing").get_execution(pk).close()
        return real(self)

    monkeypatch.setattr(Cursor, "_stands", stands)
    cursor.look()
    assert [entry.item for entry in cursor.entries] == ["last"]
