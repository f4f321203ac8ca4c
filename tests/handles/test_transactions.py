"""Inside ``transaction.atomic()``: everything commits or rolls back with the caller's rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction

from triggerflow_django import TriggerFlow, exceptions, signals
from triggerflow_django.models import Execution, Interrupt, Step, StepStatus

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def undone() -> Iterator[None]:
    """A transaction of the caller's that rolls back."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@pytest.fixture
def observed() -> Iterator[list[str]]:
    """The Django signals that were sent."""
    seen: list[str] = []
    names = ("execution_started", "interrupt_opened", "interrupt_decided", "step_failed", "execution_closed")
    receivers = {name: lambda name=name, **_arguments: seen.append(name) for name in names}
    for name, receiver in receivers.items():
        getattr(signals, name).connect(receiver, weak=False)
    yield seen
    for name, receiver in receivers.items():
        getattr(signals, name).disconnect(receiver)


def working(*, asynchronous: bool = False) -> TriggerFlow:
    """Writes a row, asks, and writes another once it was answered."""
    flow = TriggerFlow("working")

    def write(data: Any) -> None:
        Group.objects.create(name=f"{data.execution_id}/{Group.objects.count()}")

    async def write_async(data: Any) -> None:
        await Group.objects.acreate(name=f"{data.execution_id}/{await Group.objects.acount()}")

    chunk = write_async if asynchronous else write
    flow.to(("before", chunk)).to(("ask", lambda data: data.pause_for(type="approval", interrupt_id="gate"))).to(
        ("after", chunk)
    )
    return flow


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_start_that_rolls_back_leaves_nothing_and_tells_nobody(asynchronous: bool, observed: list[str]) -> None:
    flow = working(asynchronous=asynchronous)
    with undone():
        execution = flow.start_execution(auto_close=False)
        assert execution.is_waiting()
        assert Group.objects.count() == 1
    assert not Execution.objects.exists()
    assert not Step.objects.exists()
    assert not Interrupt.objects.exists()
    assert not Group.objects.exists()
    assert observed == []
    assert execution.row() is None
    assert execution.get_status() == "created"


@pytest.mark.parametrize("asynchronous", [False, True])
def test_everything_commits_with_the_caller_and_is_told_then(asynchronous: bool, observed: list[str]) -> None:
    flow = working(asynchronous=asynchronous)
    with transaction.atomic():
        execution = flow.start_execution(auto_close=False)
        execution.continue_with("gate", "yes")
        assert execution.close() == {}
        assert observed == []
    assert Group.objects.count() == 2
    assert observed == ["execution_started", "interrupt_opened", "interrupt_decided", "execution_closed"]


def test_a_handle_whose_start_was_rolled_back_can_be_started_again() -> None:
    execution = working().create_execution(auto_close=False)
    with undone():
        execution.start(1)
    execution.start(2)
    assert execution.is_waiting()
    row = execution.row()
    assert row is not None
    assert row.input == 2


def test_an_answer_that_rolls_back_leaves_the_question_open(observed: list[str]) -> None:
    execution = working().start_execution(auto_close=False)
    observed.clear()
    with undone():
        execution.continue_with("gate", "yes")
    assert execution.is_waiting()
    assert Group.objects.count() == 1
    assert observed == []
    execution.continue_with("gate", "no")
    assert Group.objects.count() == 2


def noting(error: Exception | None = None) -> TriggerFlow:
    """Notes that it ran, or raises."""
    flow = TriggerFlow("noting")

    def note(data: Any) -> None:
        data.set_state("ran", True)
        if error is not None:
            raise error

    flow.to(note)
    return flow


def test_a_refusal_keeps_the_callers_transaction_usable() -> None:
    execution = working().start_execution(auto_close=False)
    with transaction.atomic():
        with pytest.raises(exceptions.UnknownInterruptError):
            execution.continue_with("nobody", 1)
        with pytest.raises(exceptions.PendingInterruptsError):
            execution.close()
        working().start_execution(1, key="order-7")
        with pytest.raises(exceptions.KeyConflictError):
            working().start_execution(2, key="order-7")
        Group.objects.create(name="still usable")
    assert Group.objects.filter(name="still usable").exists()


def test_flow_start_inside_a_transaction_closes_or_leaves_nothing_open() -> None:
    with transaction.atomic():
        assert noting().start() == {"ran": True}
        with pytest.raises(LookupError):
            noting(LookupError("no such order")).start()
        with pytest.raises(exceptions.NoHandleError):
            working().start()
    assert list(Execution.objects.order_by("pk").values_list("lifecycle", "status")) == [
        ("closed", "completed"),
        ("closed", "failed"),
        ("closed", "failed"),
    ]


def test_waiting_for_a_retry_inside_a_transaction_is_refused() -> None:
    flow = TriggerFlow("retrying")

    @flow.chunk(retries=3, backoff=60)
    def flaky(data: Any) -> None:
        raise LookupError("not yet")

    flow.to(flaky)
    with transaction.atomic():
        execution = flow.start_execution(auto_close=False)
        with pytest.raises(exceptions.WaitTimeoutError, match="while this transaction is open"):
            execution.wait()
        assert execution.close() is None
        assert execution.is_sealed()
    assert Step.objects.get().status == StepStatus.READY


def test_start_with_auto_close_inside_a_transaction_says_that_it_cannot_wait() -> None:
    execution = noting().create_execution()
    with transaction.atomic(), pytest.raises(exceptions.WaitTimeoutError, match="auto_close=False"):
        execution.start()
    assert execution.get_state() == {"ran": True}
    with transaction.atomic():
        assert noting().create_execution(auto_close_timeout=0.0).start() == {"ran": True}


def test_the_caller_reads_its_own_writes_and_so_do_chunks() -> None:
    flow, seen = TriggerFlow("reading"), []
    flow.to(("read", lambda data: seen.append(list(Group.objects.values_list("name", flat=True)))))
    with transaction.atomic():
        Group.objects.create(name="not committed yet")
        flow.start()
        assert connection.in_atomic_block
    assert seen == [["not committed yet"]]
