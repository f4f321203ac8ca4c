"""Django's own TestCase: sync and async tests, sync and async chunks, in its one transaction."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group
from django.db import connection
from django.test import TestCase

from triggerflow_django import TriggerFlow
from triggerflow_django.models import Execution


def ordering() -> TriggerFlow:
    flow = TriggerFlow("ordering")

    def book(data: Any) -> str:
        return Group.objects.create(name=f"order {data.input}").name

    async def ask(data: Any) -> Any:
        assert await Group.objects.filter(name=data.input).aexists()
        return await data.async_pause_for(type="approval", payload=data.input, interrupt_id="gate")

    def record(data: Any) -> None:
        data.set_state("approved", data.input)

    flow.to(book).to(ask).to(record)
    return flow


class OrderingTests(TestCase):
    """What a project writes."""

    @classmethod
    def setUpTestData(cls) -> None:
        cls.flow = ordering()
        cls.waiting = cls.flow.start_execution("of the class", auto_close=False)

    def test_a_sync_test_drives_sync_and_async_chunks(self) -> None:
        execution = self.flow.start_execution(7, auto_close=False)
        assert execution.is_waiting()
        execution.continue_with("gate", True)
        assert execution.close() == {"approved": True}
        assert connection.in_atomic_block

    async def test_an_async_test_drives_them_too(self) -> None:
        execution = await self.flow.async_start_execution(7, auto_close=False)
        assert execution.is_waiting()
        await execution.async_continue_with("gate", True)
        assert await execution.async_close() == {"approved": True}

    async def test_an_async_test_sees_the_rows_of_the_class(self) -> None:
        await self.waiting.async_continue_with("gate", "async")
        assert await self.waiting.async_get_state() == {"approved": "async"}
        assert await Execution.objects.acount() == 1

    def test_every_test_begins_with_the_rows_of_the_class(self) -> None:
        assert self.waiting.get_state() == {}
        assert Execution.objects.count() == 1
        self.waiting.continue_with("gate", "sync")
        assert self.waiting.get_state() == {"approved": "sync"}

    def test_signals_are_sent_when_the_test_says_so(self) -> None:
        with self.captureOnCommitCallbacks() as callbacks:
            self.flow.start_execution(7)
        assert len(callbacks) == 2  # execution_started, interrupt_opened

    def test_flow_start_works(self) -> None:
        flow = TriggerFlow("short")
        flow.to(("double", lambda data: data.set_state("double", data.input * 2)))
        assert flow.start(4) == {"double": 8}
