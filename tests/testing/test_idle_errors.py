"""What ``run_until_idle`` makes of chunks that fail: what it raises, what it leaves, and that it waits for no retry."""

from __future__ import annotations

import logging
from unittest import mock

import pytest
from django.contrib.auth.models import Group
from django.test import TestCase

from tests.testing.samples import Bank, approval, payment, registered, work
from triggerflow_django import TriggerFlow, TriggerFlowRuntimeData, exceptions
from triggerflow_django.engine import decide, lifecycle
from triggerflow_django.models import Door, Execution
from triggerflow_django.testing import assert_walk, run_until_idle, travel


class Errors(TestCase):
    def test_the_first_final_error_is_raised_once_everything_has_run(self) -> None:
        def broken(data: TriggerFlowRuntimeData) -> None:
            raise LookupError(f"no account {data.input}")

        flow = TriggerFlow(name="kit broken")
        flow.to(broken)
        self.enterContext(registered(flow))
        executions = [flow.start_execution(number, runner="rq") for number in (1, 2)]
        fine = self.enterContext(registered(work("kit fine"))).start_execution(1, runner="rq")
        with pytest.raises(LookupError, match="no account 1"):
            run_until_idle()
        assert [execution.get_status() for execution in executions] == ["failed", "failed"]
        assert_walk(fine, ["double", "keep"])

    def test_they_can_be_left_in_the_rows(self) -> None:
        bank = Bank(failures=1)
        flow = self.enterContext(registered(payment("kit left", bank)))
        execution = flow.start_execution(1, runner="rq")
        assert run_until_idle(raise_errors=False) == 1
        assert execution.get_status() == "failed"
        assert_walk(execution, [])

    def test_a_flow_that_skips_exceptions_raises_none(self) -> None:
        flow = TriggerFlow(name="kit skips", skip_exceptions=True)
        flow.to(("divide", lambda data: 1 / 0))
        self.enterContext(registered(flow))
        execution = flow.start_execution(1, runner="rq")
        run_until_idle()
        assert execution.get_status() == "running"

    def test_a_failed_chunk_leaves_none_of_its_own_writes_and_the_test_can_go_on(self) -> None:
        def half(data: TriggerFlowRuntimeData) -> None:
            Group.objects.create(name="half done")
            raise LookupError

        flow = TriggerFlow(name="kit half")
        flow.to(half)
        self.enterContext(registered(flow)).start_execution(1, runner="rq")
        with pytest.raises(LookupError):
            run_until_idle()
        assert not Group.objects.filter(name="half done").exists()

    def test_a_chunk_that_the_code_has_lost_is_told_by_name(self) -> None:
        with registered(approval("kit changed")) as flow:
            execution = flow.start_execution({})
            [interrupt_id] = execution.get_pending_interrupts()
            decide.decide(execution.pk, interrupt_id, "yes", door=Door.CODE, using="default")
        changed = TriggerFlow(name="kit changed")
        changed.to(("ask", lambda data: data.pause_for())).to(("settle", lambda data: None))
        self.enterContext(registered(changed))
        with pytest.raises(exceptions.MissingChunkError, match="'commit'"):
            run_until_idle()
        # It is told once; that it failed before is no news.
        assert run_until_idle(execution) == 0

    def test_a_row_the_sweep_cannot_act_on_is_an_error(self) -> None:
        flow = self.enterContext(registered(work("kit row")))
        flow.start_execution(1, runner="inline", auto_close_timeout=0)
        with (
            mock.patch.object(lifecycle, "auto_close", side_effect=LookupError("of this row")),
            self.assertLogs("triggerflow_django.engine.sweep", logging.ERROR),
            pytest.raises(RuntimeError, match="rows that are due and cannot be acted on: 1;"),
        ):
            run_until_idle()
        run_until_idle()
        assert Execution.objects.get().is_closed


class Retries(TestCase):
    def test_a_retry_that_backs_off_stays_until_the_clock_is_moved(self) -> None:
        bank = Bank(failures=2)
        flow = self.enterContext(registered(payment("kit retries", bank, retries=2, backoff=600)))
        execution = flow.start_execution(1, runner="rq")
        assert [run_until_idle(), run_until_idle()] == [1, 0]
        assert bank.calls == 1
        with travel(minutes=10):
            assert run_until_idle() == 1
            with travel(minutes=20):
                assert run_until_idle() == 2
        assert_walk(execution, ["pay", "receipt"])

    def test_the_error_of_the_last_attempt_is_raised_and_none_before(self) -> None:
        flow = self.enterContext(registered(payment("kit gives up", Bank(failures=2), retries=1, backoff=600)))
        execution = flow.start_execution(1, runner="rq")
        run_until_idle()
        with travel(minutes=10), pytest.raises(ConnectionError, match=r"the bank is away \(2\)"):
            run_until_idle()
        assert execution.get_status() == "failed"


@pytest.mark.timeout(30)
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_async", [False, True])
def test_nothing_is_waited_for_outside_a_transaction_either(is_async: bool) -> None:
    flow = payment("kit committed", Bank(failures=1), retries=1, backoff=3000)
    if is_async:

        async def nothing(data: TriggerFlowRuntimeData) -> None: ...

        flow.when("never").to(nothing)
    with registered(flow):
        execution = flow.start_execution(1, runner="rq")
        assert [run_until_idle(), run_until_idle(execution)] == [1, 0]
        with travel(hours=1):
            assert run_until_idle() == 2
    assert_walk(execution, ["pay", "receipt"])
