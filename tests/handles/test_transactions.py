"""Inside ``transaction.atomic()``: everything commits or rolls back with the caller's rows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import Group
from django.db import DatabaseError, IntegrityError, connection, transaction

from triggerflow_django import TriggerFlow, exceptions, signals
from triggerflow_django.engine import heartbeat
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


def failing(fail: Callable[[], Any], *, asynchronous: bool = False) -> TriggerFlow:
    flow = TriggerFlow("failing")

    def chunk(data: Any) -> None:
        Group.objects.create(name=f"chunk of {data.execution_id}")
        fail()

    async def async_chunk(data: Any) -> None:
        await Group.objects.acreate(name=f"chunk of {data.execution_id}")
        await sync_to_async(fail)()

    flow.to(("chunk", async_chunk if asynchronous else chunk))
    flow.to(("beside", lambda data: data.set_state("beside", True)))
    return flow


def _plain() -> None:
    raise LookupError("no such order")


def _same_key_twice() -> None:
    Group.objects.create(pk=Group.objects.latest("pk").pk, name="same key")


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(("fail", "error"), [(_plain, LookupError), (_same_key_twice, IntegrityError)])
def test_a_chunk_that_raises_is_undone_and_the_callers_transaction_goes_on(
    fail: Callable[[], Any], error: type[Exception], asynchronous: bool
) -> None:
    execution = failing(fail, asynchronous=asynchronous).create_execution(auto_close=False)
    with transaction.atomic():
        Group.objects.create(name="written by the caller")
        with pytest.raises(error):
            execution.start()
        assert Group.objects.get().name == "written by the caller"
        Group.objects.create(name="written later")
    assert execution.get_status() == "failed"
    assert execution.get_state() == {"beside": True}
    assert Group.objects.count() == 2


def _swallowed() -> None:
    try:
        _same_key_twice()
    except IntegrityError:
        """As if nothing had happened; but the transaction is spoilt up to the last savepoint."""


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_chunk_that_swallows_a_database_error_fails_alone(asynchronous: bool) -> None:
    execution = failing(_swallowed, asynchronous=asynchronous).create_execution(auto_close=False)
    with transaction.atomic():
        Group.objects.create(name="written by the caller")
        with pytest.raises(DatabaseError):
            execution.start()
        assert Group.objects.get().name == "written by the caller"
    assert Step.objects.get(node="chunk").status == StepStatus.FAILED
    assert execution.get_state() == {"beside": True}


def test_a_chunk_cancelled_inside_a_transaction_is_undone_and_its_step_given_back() -> None:
    flow = TriggerFlow("endless")

    async def endless(data: Any) -> None:
        await Group.objects.acreate(name="half done")
        if data.attempt == 1:
            await asyncio.Event().wait()

    flow.to(endless)
    execution = flow.create_execution(auto_close=False)

    async def start_impatiently() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(execution.async_start(), 0.5)

    with transaction.atomic():
        async_to_sync(start_impatiently)()
        assert not Group.objects.exists()
        assert Step.objects.get().status == StepStatus.READY
        execution.wait()
    assert Group.objects.get().name == "half done"
    assert Step.objects.get().attempt == 2


def test_ctrl_c_inside_a_transaction_that_goes_on_undoes_the_chunk() -> None:
    flow = TriggerFlow("interrupted")

    def interrupted(data: Any) -> None:
        Group.objects.create(name="half done")
        if data.attempt == 1:
            raise KeyboardInterrupt

    flow.to(interrupted)
    execution = flow.create_execution(auto_close=False)
    with transaction.atomic():
        with pytest.raises(KeyboardInterrupt):
            execution.start()
        assert not Group.objects.exists()
        execution.wait()
    assert Group.objects.get().name == "half done"


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
        assert failing(lambda: None).start() == {"beside": True}
        with pytest.raises(LookupError):
            failing(_plain).start()
        with pytest.raises(exceptions.NoHandleError):
            working().start()
    assert list(Execution.objects.order_by("pk").values_list("lifecycle", "status")) == [
        ("closed", "completed"),
        ("closed", "failed"),
        ("closed", "failed"),
    ]


def test_inside_a_transaction_chunks_run_one_at_a_time_and_without_a_heartbeat() -> None:
    flow, running, most, beats = TriggerFlow("parallel"), [0], [0], []

    def branch(number: int) -> Any:
        async def run(data: Any) -> None:
            running[0] += 1
            most[0] = max(most[0], running[0])
            beats.append(len(heartbeat.heartbeat._leases))
            await asyncio.sleep(0)
            running[0] -= 1

        return (f"branch {number}", run)

    flow.batch(*(branch(number) for number in range(5)))
    with transaction.atomic():
        flow.start()
    assert most == [1]
    assert set(beats) == {0}


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
    execution = failing(lambda: None).create_execution()
    with transaction.atomic(), pytest.raises(exceptions.WaitTimeoutError, match="auto_close=False"):
        execution.start()
    assert execution.get_state() == {"beside": True}
    with transaction.atomic():
        assert failing(lambda: None).create_execution(auto_close_timeout=0.0).start() == {"beside": True}


def test_the_caller_reads_its_own_writes_and_so_do_chunks() -> None:
    flow, seen = TriggerFlow("reading"), []
    flow.to(("read", lambda data: seen.append(list(Group.objects.values_list("name", flat=True)))))
    with transaction.atomic():
        Group.objects.create(name="not committed yet")
        flow.start()
        assert connection.in_atomic_block
    assert seen == [["not committed yet"]]
