"""Inside the caller's transaction each chunk has a savepoint: what goes wrong in it is undone, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import Group
from django.db import DatabaseError, IntegrityError, transaction

from triggerflow_django import TriggerFlow
from triggerflow_django.engine import heartbeat
from triggerflow_django.models import Step, StepStatus

pytestmark = pytest.mark.django_db(transaction=True)


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
    flow, running = TriggerFlow("endless"), asyncio.Event()

    async def endless(data: Any) -> None:
        await Group.objects.acreate(name="half done")
        if data.attempt == 1:
            running.set()
            await asyncio.Event().wait()

    flow.to(endless)
    execution = flow.create_execution(auto_close=False)

    async def start_and_give_up() -> None:
        starting = asyncio.create_task(execution.async_start())
        await running.wait()
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting

    with transaction.atomic():
        async_to_sync(start_and_give_up)()
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
