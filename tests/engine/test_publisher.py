"""Items on their way from the chunk into the table: early, in order, and never at the chunk's cost."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError, OperationalError, ProgrammingError, connection, connections, transaction

from tests.engine import driving
from tests.engine.test_stream import items_of, kinds
from triggerflow_django import TriggerFlow
from triggerflow_django.engine import publisher, stream, stream_writer
from triggerflow_django.models import Step, StreamItem

pytestmark = pytest.mark.django_db(transaction=True)

IS_POSTGRES = connection.vendor == "postgresql"


def seen_elsewhere() -> int:
    """How many items another connection sees."""
    found: list[int] = []

    def look() -> None:
        found.append(StreamItem.objects.count())
        connections.close_all()

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return found[0]


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 20
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.005)
    return found


def one(chunk: Any, *, atomic: bool = False, retries: int = 0) -> TriggerFlow:
    flow = TriggerFlow(name="one")
    flow.to(flow.chunk("work", atomic=atomic, retries=retries, backoff=0.01)(chunk))
    return flow


# -- early


def test_the_first_item_is_seen_elsewhere_while_the_chunk_runs() -> None:
    def work(data: Any) -> None:
        data.put(1)
        until(lambda: seen_elsewhere() == 1)
        data.put(2)
        until(lambda: seen_elsewhere() == 2)
        data.set_state("seen", True)

    pk = driving.settled(one(work))
    assert driving.state(pk) == {"seen": True}


@pytest.mark.skipif(not IS_POSTGRES, reason="on SQLite an atomic chunk holds the only write lock")
def test_items_of_an_atomic_chunk_are_seen_while_it_runs_and_stay_when_it_is_undone() -> None:
    def work(data: Any) -> None:
        Group.objects.create(name="in the chunk's transaction")
        data.put(1)
        until(lambda: seen_elsewhere() == 1)
        raise LookupError

    pk = driving.settled(one(work, atomic=True))
    assert items_of(pk) == [1]
    assert Group.objects.count() == 0


@pytest.mark.skipif(IS_POSTGRES, reason="about SQLite")
def test_items_of_an_atomic_chunk_on_sqlite_come_with_its_commit() -> None:
    def work(data: Any) -> None:
        data.put(1)
        data.put(2)
        assert seen_elsewhere() == 0

    pk = driving.settled(one(work, atomic=True))
    assert items_of(pk) == [1, 2]


@pytest.mark.skipif(IS_POSTGRES, reason="about SQLite")
def test_items_of_an_atomic_chunk_on_sqlite_that_fails_come_with_its_failure() -> None:
    def work(data: Any) -> None:
        data.put(data.attempt)
        if data.attempt == 1:
            raise LookupError

    pk = driving.settled(one(work, atomic=True, retries=1))
    assert [item if isinstance(item, int) else item["action"] for item in items_of(pk)] == [1, "restart", 2]


def test_a_try_of_an_atomic_chunk_that_the_database_undid_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    def work(data: Any) -> None:
        tries.append(1)
        data.put(len(tries))
        if len(tries) == 1:
            error = OperationalError("try again")
            error.__cause__ = _Again()
            raise error

    pk = driving.settled(one(work, atomic=True))
    told = [item if isinstance(item, int) else item["action"] for item in items_of(pk)]
    assert told == ([1, "restart", 2] if IS_POSTGRES else [2])


class _Again(Exception):  # noqa: N818 - as the driver names them
    sqlstate = "40001"


def test_inside_somebodys_transaction_items_come_with_the_chunks_savepoint_and_go_with_the_transaction() -> None:
    def work(data: Any) -> None:
        data.put(1)
        data.put(2)

    with transaction.atomic():
        pk = driving.settled(one(work))
        assert items_of(pk) == [1, 2]
        transaction.set_rollback(True)
    assert StreamItem.objects.count() == 0


def test_what_is_put_is_there_before_the_commit_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def work(data: Any) -> None:
        for number in range(250):
            data.put(number)

    flow = one(work)
    flow.when("work").to(lambda data: seen.append(seen_elsewhere()), name="after")
    pk = driving.settled(flow)
    assert seen == [250]
    assert items_of(pk) == list(range(250))


def test_items_that_come_fast_are_written_together(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    real = stream.append

    def counted(root: Any, drafts: Any, **options: Any) -> bool:
        sizes.append(len(drafts))
        return real(root, drafts, **options)

    monkeypatch.setattr(stream, "append", counted)

    def work(data: Any) -> None:
        for number in range(1000):
            data.put(number)

    pk = driving.settled(one(work))
    assert sum(sizes) == 1000
    assert len(sizes) <= 30
    assert items_of(pk) == list(range(1000))


# -- trouble


def broken(error: DatabaseError) -> Callable[..., bool]:
    def append(*_arguments: Any, **_options: Any) -> bool:
        raise error

    return append


def test_a_stream_that_cannot_be_written_never_fails_the_chunk_and_the_reader_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = stream.append
    before = stream.counts.lost

    def work(data: Any) -> Any:
        data.put("before")
        data._frame.stream().flush()
        monkeypatch.setattr(stream, "append", broken(ProgrammingError("no such column")))
        data.put("lost")
        data.put("lost too")
        data._frame.stream().flush()
        monkeypatch.setattr(stream, "append", real)
        data.put("after")
        return "value"

    with caplog.at_level(logging.WARNING):
        pk = driving.settled(one(work))
    assert driving.step(pk, "work").output == "value"
    before_, gap, after = items_of(pk)
    assert (before_, after) == ("before", "after")
    assert gap == {
        "type": "stream", "action": "gap", "execution_id": pk.hex, "step": "work", "attempt": 1, "lost": 2,
    }  # fmt: skip
    assert stream.counts.lost == before + 2
    assert "triggerflow.stream.lost" in caplog.text


def test_items_lost_at_the_end_are_told_with_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    real = stream.append

    def work(data: Any) -> None:
        monkeypatch.setattr(stream, "append", broken(ProgrammingError("no such column")))
        data.put("lost")
        data._frame.stream().flush()
        monkeypatch.setattr(stream, "append", real)

    pk = driving.settled(one(work))
    assert [(item["action"], item["lost"]) for item in items_of(pk)] == [("gap", 1)]


def test_where_even_the_gap_cannot_be_told_the_chunk_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "append", broken(ProgrammingError("no such column")))

    def work(data: Any) -> str:
        data.put("lost")
        return "value"

    pk = driving.settled(one(work))
    assert driving.step(pk, "work").output == "value"
    assert kinds(pk) == []


def test_a_database_that_refuses_for_a_moment_costs_no_item(monkeypatch: pytest.MonkeyPatch) -> None:
    real, refused = stream.append, [OperationalError("database is locked"), OperationalError("gone")]

    def append(*arguments: Any, **options: Any) -> bool:
        if refused:
            raise refused.pop()
        return real(*arguments, **options)

    monkeypatch.setattr(stream, "append", append)
    pk = driving.settled(one(lambda data: [data.put(number) for number in range(5)]))
    assert items_of(pk) == [0, 1, 2, 3, 4]


def test_a_database_that_refuses_for_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    real = stream.append
    monkeypatch.setattr(stream_writer, "PATIENCE", 0.2)

    def work(data: Any) -> None:
        monkeypatch.setattr(stream, "append", broken(OperationalError("gone")))
        data.put(1)
        data._frame.stream().flush()
        monkeypatch.setattr(stream, "append", real)

    pk = driving.settled(one(work))
    assert [(item["action"], item["lost"]) for item in items_of(pk)] == [("gap", 1)]


def test_a_chunk_that_is_faster_than_the_database_waits_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = stream.append
    most: list[int] = []

    def slow(*arguments: Any, **options: Any) -> bool:
        time.sleep(0.01)
        return real(*arguments, **options)

    monkeypatch.setattr(stream, "append", slow)

    def work(data: Any) -> None:
        for number in range(1500):
            data.put(number)
            most.append(len(data._frame.stream().waiting))

    pk = driving.settled(one(work))
    assert items_of(pk) == list(range(1500))
    assert max(most) == publisher.MOST_WAITING


def test_a_chunk_waits_once_for_a_database_that_has_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_writer, "PATIENCE", 0.3)
    monkeypatch.setattr(publisher, "MOST_WAITING", 10)
    go_on = threading.Event()
    real = stream.append

    def stuck(*arguments: Any, **options: Any) -> bool:
        go_on.wait(20)
        return real(*arguments, **options)

    monkeypatch.setattr(stream, "append", stuck)

    def work(data: Any) -> None:
        began = time.monotonic()
        for number in range(200):
            data.put(number)
        assert time.monotonic() - began < 5
        go_on.set()

    pk = driving.settled(one(work))
    items = items_of(pk)
    numbers = [item for item in items if isinstance(item, int)]
    lost = sum(item["lost"] for item in items if isinstance(item, dict))
    assert numbers == sorted(numbers)
    assert len(numbers) + lost == 200
    assert lost


def test_the_writer_keeps_no_connection_without_work() -> None:
    driving.settled(one(lambda data: data.put(1)))
    until(lambda: not stream_writer.writer._is_connected)
    driving.settled(one(lambda data: data.put(2)))
    assert Step.objects.filter(status="done").count() == 2
    assert StreamItem.objects.count() == 2


def test_items_that_can_only_be_written_with_the_commit_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "MOST_KEPT", 10)

    def work(data: Any) -> None:
        for number in range(25):
            data.put(number)

    with transaction.atomic():
        pk = driving.settled(one(work))
        gap, *rest = items_of(pk)
    assert (gap["action"], gap["lost"]) == ("gap", 15)
    assert rest == list(range(15, 25))
