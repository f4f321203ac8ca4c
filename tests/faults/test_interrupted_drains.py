"""A drain that is interrupted gives back what it holds at once; nobody has to wait for its leases to run out."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import InterfaceError, OperationalError
from django.test import override_settings

from tests.engine import driving
from tests.faults.crashpoints import IS_POSTGRES, cut
from tests.faults.processes import PATIENCE
from tests.faults.soundness import sound, steps_by_node
from tests.handles.loops import in_database_thread, run
from triggerflow_django import TriggerFlow
from triggerflow_django.engine import commit, heartbeat
from triggerflow_django.models import Step, StepStatus

pytestmark = pytest.mark.django_db(transaction=True)


def fan_out(chunk: Any) -> TriggerFlow:
    flow = TriggerFlow(name="interrupted")
    flow.for_each().to(("item", chunk)).end_for_each().to(("sum", lambda data: data.set_state("sum", sum(data.input))))
    return flow


def _interrupted(data: Any) -> Any:
    if data.input == 1 and data.attempt == 1:
        raise KeyboardInterrupt
    return data.input


async def _async_interrupted(data: Any) -> Any:
    return _interrupted(data)


@pytest.mark.parametrize("chunk", [_interrupted, _async_interrupted], ids=["sync", "async"])
def test_a_drain_that_is_interrupted_by_the_keyboard_gives_back_all_its_steps(chunk: Any) -> None:
    flow = fan_out(chunk)
    pk = driving.start(flow, list(range(5)))
    with pytest.raises(KeyboardInterrupt):
        driving.drain(pk, flow)
    assert not Step.objects.filter(status=StepStatus.RUNNING).exists()
    assert Step.objects.filter(status=StepStatus.READY, attempt=1).exists()
    sound(pk)

    driving.drain(pk, flow)
    assert driving.state(pk) == {"sum": 10}
    assert steps_by_node(pk) == {"item": 5, "sum": 1}
    assert not Step.objects.filter(lost__gt=0).exists()


@pytest.mark.skipif(not IS_POSTGRES, reason="SQLite has no server that could cut a connection")
def test_a_drain_whose_connection_is_cut_gives_its_steps_back_and_says_what_happened() -> None:
    def item(data: Any) -> Any:
        return data.get_state("nothing", data.input)

    flow = fan_out(item)
    pk = driving.start(flow, list(range(5)))
    running = driving.drainer(pk, flow)
    claim = running._claim

    def claim_and_cut(limit: int) -> list[Step]:
        steps = claim(limit)
        cut()
        return steps

    # What is done next is read the state for the first chunk.
    running._claim = claim_and_cut  # type: ignore[method-assign]
    with pytest.raises(OperationalError, match="terminating connection"):
        running.run()
    assert Step.objects.filter(status=StepStatus.READY).count() == 5
    driving.drain(pk, flow)
    assert driving.state(pk) == {"sum": 10}
    sound(pk)


def test_the_heartbeat_outlives_a_database_that_is_away_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = heartbeat.renew, []

    def renew(lease: heartbeat.Lease) -> int:
        calls.append(1)
        if len(calls) <= 2:
            raise (OperationalError if len(calls) == 1 else InterfaceError)("the database is away")
        return real(lease)

    def item(data: Any) -> Any:
        deadline = time.monotonic() + PATIENCE
        while len(calls) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        return data.input

    monkeypatch.setattr(heartbeat, "renew", renew)
    flow = fan_out(item)
    pk = driving.start(flow, [1])
    with override_settings(TRIGGERFLOW={"LEASE_SECONDS": 0.3}):
        driving.drain(pk, flow)
    assert len(calls) >= 4
    assert driving.state(pk) == {"sum": 1}
    sound(pk)


@pytest.mark.parametrize("atomic", [False, True], ids=["plain", "atomic"])
def test_a_database_error_of_a_chunks_own_counts_like_any_other_error(atomic: bool) -> None:
    calls: list[int] = []

    def chunk(data: Any) -> None:
        calls.append(data.attempt)
        raise OperationalError("no such table")

    flow = TriggerFlow(name="own error")
    flow.to(flow.chunk("own", atomic=atomic)(chunk))
    pk = driving.start(flow)
    driving.drain(pk, flow)
    assert calls == [1]
    assert sound(pk).status == "failed"


def test_an_atomic_chunk_is_run_again_where_the_database_asks_for_it() -> None:
    calls: list[int] = []

    class SerializationError(Exception):
        sqlstate = "40001"

    def chunk(data: Any) -> None:
        calls.append(data.attempt)
        Group.objects.create(name=f"call {len(calls)}")
        if len(calls) < 3:
            raise OperationalError("could not serialize access") from SerializationError()

    flow = TriggerFlow(name="try again")
    flow.to(flow.chunk("again", atomic=True)(chunk))
    pk = driving.start(flow)
    driving.drain(pk, flow)
    assert calls == [1, 1, 1]
    assert steps_by_node(pk) == {"again": 1}
    assert list(Group.objects.values_list("name", flat=True)) == ["call 3"]


def test_a_drain_that_is_cancelled_in_the_middle_of_a_commit_leaves_nothing_leased(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def first(_data: Any) -> int:
        return 1

    async def second(data: Any) -> None:
        data.set_state("second", data.input)

    flow = TriggerFlow(name="cancelled")
    flow.to(first).to(second)
    pk = driving.start(flow)
    real = commit.complete

    async def cancelled() -> None:
        loop, is_cancelled = asyncio.get_running_loop(), threading.Event()
        draining = loop.create_task((await in_database_thread(lambda: driving.drainer(pk, flow))).run_async())

        async def cancel() -> None:
            draining.cancel()
            for _ in range(20):  # until everybody has heard
                await asyncio.sleep(0)
            is_cancelled.set()

        def complete(*arguments: Any, **options: Any) -> commit.Committed:
            asyncio.run_coroutine_threadsafe(cancel(), loop)
            assert is_cancelled.wait(PATIENCE)
            return real(*arguments, **options)

        monkeypatch.setattr(commit, "complete", complete)
        with pytest.raises(asyncio.CancelledError):
            await draining

    run(cancelled())
    assert driving.statuses(pk) == {"first": StepStatus.DONE, "second": StepStatus.READY}
    sound(pk)
    monkeypatch.setattr(commit, "complete", real)
    driving.drain(pk, flow)
    assert driving.state(pk) == {"second": 1}
