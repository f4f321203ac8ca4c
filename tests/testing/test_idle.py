"""``run_until_idle`` in an ordinary TestCase: what it runs, and what it leaves to others."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.db import connection
from django.test import TestCase, override_settings

from tests.testing.samples import Bank, approval, payment, registered, work
from triggerflow_django import TriggerFlow, TriggerFlowRuntimeData, exceptions
from triggerflow_django.engine import claim, decide
from triggerflow_django.models import Door, Execution, Step
from triggerflow_django.testing import assert_walk, run_until_idle, travel


def claim_as_another_process(execution: Any, flow: TriggerFlow) -> Step:
    """Take the ready step, as a worker elsewhere does."""
    [step] = claim.claim(
        claim.ready("default", execution_id=execution.pk),
        token=uuid.uuid4(),
        limit=1,
        graph_of=lambda _step: flow.graph,
        grace=0,
        using="default",
    )
    return step


class WhatIsRun(TestCase):
    def test_an_execution_made_for_workers_runs_in_this_process(self) -> None:
        flow = self.enterContext(registered(work("kit workers")))
        execution = flow.start_execution(21, runner="rq")
        assert_walk(execution, [])
        run_until_idle()
        assert_walk(execution, ["double", "keep"])
        assert execution.get_state() == {"result": 42}

    def test_the_setting_that_sends_everything_to_workers_makes_no_difference(self) -> None:
        flow = self.enterContext(registered(work("kit setting")))
        with override_settings(TRIGGERFLOW={"RUNNER": "rq"}):
            execution = flow.start_execution(21)
            run_until_idle()
        assert_walk(execution, ["double", "keep"])

    def test_an_inline_execution_that_another_door_made_ready_is_run(self) -> None:
        flow = self.enterContext(registered(approval("kit door")))
        execution = flow.start_execution({"amount": 1}, runner="inline")
        [interrupt_id] = execution.get_pending_interrupts()
        # As the admin does: decided, and nobody there to run what follows.
        decide.decide(execution.pk, interrupt_id, "yes", door=Door.CODE, using="default")
        assert_walk(execution, ["ask"])
        assert run_until_idle() == 1
        assert_walk(execution, ["ask", "commit"])

    def test_only_the_executions_that_are_given_are_run(self) -> None:
        flow = self.enterContext(registered(work("kit given")))
        one, other, third = (flow.start_execution(number, runner="rq") for number in (1, 2, 3))
        assert run_until_idle(one, third) == 4
        assert_walk(one, ["double", "keep"])
        assert_walk(third, ["double", "keep"])
        assert_walk(other, [])

    def test_a_handle_a_row_and_an_id_name_the_same_execution(self) -> None:
        flow = self.enterContext(registered(work("kit names")))
        execution = flow.start_execution(1, runner="rq")
        row = Execution.objects.get()
        for named in (row, row.pk, execution.id, execution):
            with self.subTest(named=type(named).__name__):
                assert run_until_idle(named) == (2 if named is row else 0)
                assert_walk(named, ["double", "keep"])

    def test_an_id_that_does_not_exist_is_refused(self) -> None:
        for named in (uuid.uuid4(), "0" * 32, "no id at all"):
            with pytest.raises(exceptions.UnknownExecutionError):
                run_until_idle(named)

    def test_the_resources_given_to_a_handle_reach_its_chunks(self) -> None:
        flow = TriggerFlow(name="kit resources")
        flow.to(("greet", lambda data: data.set_state("greeting", data.require_resource("greeting"))))
        self.enterContext(registered(flow))
        execution = flow.start_execution(1, runner="rq", runtime_resources={"greeting": "hello"})
        run_until_idle(execution)
        assert execution.get_state("greeting") == "hello"

    def test_it_goes_on_until_nothing_is_left_also_of_what_chunks_start(self) -> None:
        inner = self.enterContext(registered(work("kit inner")))
        outer = TriggerFlow(name="kit outer")
        outer.to(("start", lambda data: data.set_state("inner", inner.start_execution(data.input, runner="rq").id)))
        self.enterContext(registered(outer))
        execution = outer.start_execution(4, runner="rq")
        assert run_until_idle() == 3
        assert_walk(execution.get_state("inner"), ["double", "keep"])

    def test_nothing_to_do_is_no_error(self) -> None:
        assert run_until_idle() == 0
        assert run_until_idle(work("kit never started").create_execution()) == 0


class FlowsNobodyRegistered(TestCase):
    def setUp(self) -> None:
        self.flow = payment("kit private", Bank(failures=1), retries=1, backoff=60)
        self.execution = self.flow.start_execution(1)

    def test_their_handles_are_run(self) -> None:
        with travel(minutes=1):
            run_until_idle(self.execution)
        assert_walk(self.execution, ["pay", "receipt"])

    def test_without_the_handle_they_are_refused_loudly_once_they_have_something_to_do(self) -> None:
        assert run_until_idle() == 0
        with (
            travel(minutes=1),
            pytest.raises(
                exceptions.UnknownFlowError,
                match=rf"execution {self.execution.id}.*'kit private'.*run_until_idle\(execution\)",
            ),
        ):
            run_until_idle()
        with travel(minutes=1):
            assert run_until_idle(raise_errors=False) == 0
        assert_walk(self.execution, [])

    def test_they_do_not_keep_the_others_from_running(self) -> None:
        other = self.enterContext(registered(work("kit public"))).start_execution(1, runner="rq")
        with travel(minutes=1), pytest.raises(exceptions.UnknownFlowError):
            run_until_idle()
        assert_walk(other, ["double", "keep"])

    def test_an_id_cannot_stand_for_them(self) -> None:
        with pytest.raises(exceptions.UnknownFlowError, match="kit private"):
            run_until_idle(self.execution.id)


class StepsOfOtherProcesses(TestCase):
    def setUp(self) -> None:
        self.flow = self.enterContext(registered(work("kit elsewhere")))
        self.execution = self.flow.start_execution(1, runner="rq")
        self.step = claim_as_another_process(self.execution, self.flow)

    def test_a_step_under_a_live_lease_is_left_alone(self) -> None:
        before = Step.objects.values().get()
        assert run_until_idle() == 0
        assert run_until_idle(self.execution) == 0
        assert Step.objects.values().get() == before

    def test_once_its_lease_has_expired_it_is_taken_over(self) -> None:
        with travel(minutes=2):
            assert run_until_idle() == 2
        assert_walk(self.execution, ["double", "keep"])
        self.step.refresh_from_db()
        assert (self.step.attempt, self.step.lost) == (2, 1)


class AsyncChunks(TestCase):
    def setUp(self) -> None:
        flow = TriggerFlow(name="kit async")

        async def ask(data: TriggerFlowRuntimeData) -> Any:
            await asyncio.sleep(0)
            return await data.async_pause_for(type="approval")

        async def commit(data: TriggerFlowRuntimeData) -> None:
            await Group.objects.acreate(name=f"group {data.input}")
            await data.async_set_state("answer", data.input)

        flow.to(ask).to(commit)
        self.flow = self.enterContext(registered(flow))

    def test_they_run_from_sync_code_inside_the_transaction_of_the_test(self) -> None:
        assert connection.in_atomic_block
        execution = self.flow.start_execution(1, runner="rq")
        run_until_idle()
        [interrupt_id] = execution.get_pending_interrupts()
        decide.decide(execution.pk, interrupt_id, 7, door=Door.CODE, using="default")
        assert run_until_idle() == 1
        assert_walk(execution, ["ask", "commit"])
        # What the chunk wrote on the loop's side is in this transaction, and nowhere else.
        assert Group.objects.filter(name="group 7").exists()

    def test_what_they_wrote_was_rolled_back_with_their_test(self) -> None:
        assert not Group.objects.filter(name="group 7").exists()
        assert not Execution.objects.exists()

    async def test_an_async_test_is_told_how_to_spell_it(self) -> None:
        execution = await self.flow.async_start_execution(1, runner="rq")
        with pytest.raises(exceptions.SyncInLoopError, match=r"sync_to_async\(run_until_idle\)"):
            run_until_idle()
        assert await sync_to_async(run_until_idle)() == 1
        assert_walk(execution, [])
        assert await execution.async_get_status() == "waiting"


@pytest.mark.django_db
def test_it_works_in_a_pytest_function() -> None:
    with registered(work("kit function")) as flow:
        execution = flow.start_execution(3, runner="rq")
        assert run_until_idle() == 2
    assert execution.get_state("result") == 6
