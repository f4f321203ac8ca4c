"""Sync calls in a running loop reach the thread whose database connection, and transaction, is the caller's."""

from __future__ import annotations

import asyncio
import threading

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test import SimpleTestCase, TestCase

from triggerflow_django import TriggerFlow, TriggerFlowRuntimeData
from triggerflow_django.runtime import bridge


def here() -> tuple[str, bool]:
    return threading.current_thread().name, connection.in_atomic_block


class InATransaction(TestCase):
    async def test_an_async_test_reads_what_its_own_transaction_wrote(self) -> None:
        assert bridge.call(here) == (threading.main_thread().name, True)
        flow = TriggerFlow(name="bridge asks")
        flow.to(("ask", lambda data: data.pause_for(interrupt_id="gate")))
        execution = await flow.async_start_execution(1)
        assert list(execution.get_pending_interrupts()) == ["gate"]

    async def test_so_does_a_task_of_it(self) -> None:
        async def task() -> tuple[str, bool]:
            return bridge.call(here)

        assert await asyncio.create_task(task()) == (threading.main_thread().name, True)

    def test_an_async_chunk_reads_what_the_caller_s_transaction_wrote(self) -> None:
        seen: list[tuple[str, bool]] = []
        flow = TriggerFlow(name="bridge looks")

        async def look(data: TriggerFlowRuntimeData) -> None:
            await asyncio.sleep(0)
            seen.append(bridge.call(here))
            data.set_state("cancelled", data.is_cancelled())

        flow.to(look)
        execution = flow.start_execution(1)
        assert seen == [(threading.main_thread().name, True)]
        assert execution.get_state() == {"cancelled": False}


class WithoutADatabase(SimpleTestCase):
    def test_without_a_loop_it_is_a_plain_call(self) -> None:
        assert bridge.call(threading.current_thread) is threading.current_thread()

    def test_in_a_loop_of_its_own_it_leads_to_another_thread(self) -> None:
        async def main() -> threading.Thread:
            return bridge.call(threading.current_thread)

        assert asyncio.run(main()) is not threading.current_thread()

    def test_what_the_function_raises_is_raised(self) -> None:
        async def main() -> None:
            bridge.call(lambda: 1 / 0)

        with pytest.raises(ZeroDivisionError):
            asyncio.run(main())
        with pytest.raises(ZeroDivisionError):
            async_to_sync(main)()
