"""Handles in threads, and what waiting executions cost a process: nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest
from django.db import connection, connections

from tests.handles.loops import in_a_loop, in_database_thread
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.engine.heartbeat import heartbeat
from triggerflow_django.models import Execution, InterruptStatus

pytestmark = pytest.mark.django_db(transaction=True)


def asking() -> TriggerFlow:
    flow = TriggerFlow("asking")

    async def record(data: Any) -> None:
        await data.async_append_state("answers", data.input)

    flow.to(("ask", lambda data: data.pause_for(type="approval", interrupt_id="gate"))).to(record)
    return flow


def _in_threads(count: int, work: Callable[[int], Any]) -> list[Any]:
    """The results of ``work`` in as many threads, begun together; an exception counts as a result."""
    barrier = threading.Barrier(count)

    def run(number: int) -> Any:
        try:
            barrier.wait(30)
            return work(number)
        except Exception as error:
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_threads_run_executions_of_their_own_side_by_side() -> None:
    flow = asking()

    def work(number: int) -> Any:
        execution = flow.start_execution(number, auto_close=False)
        execution.continue_with("gate", number)
        return execution.close()

    assert _in_threads(6, work) == [{"answers": [number]} for number in range(6)]


def test_of_threads_that_answer_with_one_handle_one_wins() -> None:
    execution = asking().start_execution(auto_close=False)
    results = _in_threads(6, lambda number: execution.continue_with("gate", number))
    won = [result for result in results if isinstance(result, dict)]
    lost = [result for result in results if isinstance(result, exceptions.InterruptNotWaitingError)]
    assert (len(won), len(lost)) == (1, 5)
    execution.wait()
    assert execution.get_state() == {"answers": [won[0]["resume_value"]]}


def test_threads_that_start_one_handle_start_it_once() -> None:
    flow, ran = TriggerFlow("once"), []
    flow.to(("step", lambda data: ran.append(data.input)))
    execution = flow.create_execution(auto_close=False)
    assert _in_threads(6, execution.start) == [execution] * 6
    assert len(ran) == 1
    assert Execution.objects.get().input == ran[0]


def test_threads_that_write_first_insert_one_row() -> None:
    execution = asking().create_execution(auto_close=False)
    results = _in_threads(6, lambda number: execution.append_state("log", number))
    assert results == [None] * 6
    assert sorted(execution.get_state("log")) == list(range(6))


def test_threads_that_wait_for_one_execution_run_each_step_once() -> None:
    flow, ran = TriggerFlow("once"), []
    flow.when("go").to(("step", lambda data: ran.append(data.input)))
    execution = flow.start_execution(auto_close=False)
    for number in range(20):
        execution.emit_nowait("go", number)
    assert _in_threads(4, lambda number: execution.wait(60)) == [execution] * 4
    assert sorted(ran) == list(range(20))


def test_threads_that_write_state_lose_nothing() -> None:
    execution = asking().start_execution(auto_close=False)
    _in_threads(6, lambda number: execution.append_state("log", number))
    assert sorted(execution.get_state("log")) == list(range(6))


def test_a_sync_handle_works_in_a_thread_of_a_running_loop() -> None:
    flow = asking()

    async def main() -> Any:
        return await asyncio.to_thread(_in_threads, 1, lambda _number: flow.start_execution(auto_close=False))

    [execution] = asyncio.run(main())
    assert execution.is_waiting()


# -- what waiting costs


def _connections_to_the_database() -> int:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
            return int(cursor.fetchone()[0])
    name = str(connection.settings_dict["NAME"])
    return sum(1 for file in psutil.Process().open_files() if file.path == name)


def _own_threads() -> list[str]:
    """Our threads; the heartbeat and the stream's writer stay a while after their use, and there is one of each."""
    names = [thread.name for thread in threading.enumerate() if thread.name.startswith("triggerflow")]
    return [name for name in names if name not in ("triggerflow-heartbeat", "triggerflow-stream")]


@pytest.mark.slow
@in_a_loop
async def test_a_thousand_waiting_executions_hold_no_thread_no_task_and_no_connection() -> None:
    flow = asking()
    options = {"auto_close_timeout": 0.01}
    await flow.async_start_execution(**options)
    threads, open_before = threading.active_count(), await in_database_thread(_connections_to_the_database)
    handles = [await flow.async_start_execution(**options) for _number in range(999)]
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others)  # what watched their idle time has seen that they wait
    waiting = Execution.objects.filter(lifecycle="open", interrupts__status=InterruptStatus.WAITING)
    assert await waiting.acount() == 1000
    assert threading.active_count() <= threads
    assert _own_threads() == []
    assert heartbeat._leases == {}
    assert await in_database_thread(_connections_to_the_database) <= open_before
    await handles[-1].async_continue_with("gate", "yes")
    assert await handles[-1].async_get_state() == {"answers": ["yes"]}
