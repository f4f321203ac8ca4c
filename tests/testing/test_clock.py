"""``travel`` moves the engine's clock, and nothing else: deadlines, retries and auto-close act at their time."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.core.management import call_command
from django.test import TestCase
from django.utils import timezone

from tests.testing.samples import approval, registered, work
from triggerflow_django import TriggerFlow, TriggerFlowExecution, TriggerFlowRuntimeData
from triggerflow_django.engine import clock
from triggerflow_django.models import Interrupt
from triggerflow_django.testing import (
    assert_nothing_pending,
    assert_pending,
    assert_walk,
    decide,
    run_until_idle,
    travel,
)

DAY = dt.timedelta(days=1)


def test_blocks_add_up_and_each_restores_what_was_before() -> None:
    assert not clock.offset()
    with travel(days=1):
        with travel(hours=2, minutes=30):
            assert clock.offset() == DAY + dt.timedelta(hours=2, minutes=30)
            with travel(days=-1):
                assert clock.offset() == dt.timedelta(hours=2, minutes=30)
        assert clock.offset() == DAY
    assert not clock.offset()


def test_the_clock_is_put_back_when_the_block_raises() -> None:
    with pytest.raises(LookupError), travel(days=1), travel(days=1):
        raise LookupError
    assert not clock.offset()


def test_it_takes_a_timedelta_as_well() -> None:
    with travel(DAY, seconds=1):
        assert clock.offset() == dt.timedelta(days=1, seconds=1)


def test_it_decorates_a_function_each_time_it_is_called() -> None:
    @travel(days=1)
    def tomorrow() -> dt.timedelta:
        return clock.offset()

    assert [tomorrow(), tomorrow()] == [DAY, DAY]
    assert not clock.offset()


def test_what_timedelta_does_not_take_is_refused_and_moves_nothing() -> None:
    with pytest.raises(TypeError), travel(months=1):
        pass
    assert not clock.offset()


class WhatTheClockMoves(TestCase):
    def test_the_engine_s_times_and_no_others(self) -> None:
        flow = approval("kit times", due_in=DAY)
        with travel(days=10):
            execution = flow.start_execution({})
            assert abs(timezone.now() - clock.read("default")) > 9 * DAY
        interrupt = Interrupt.objects.get()
        assert interrupt.due_at is not None
        assert 10 * DAY < interrupt.due_at - timezone.now() < 12 * DAY
        assert_pending(execution, types=["approval"])

    def test_moving_it_runs_nothing(self) -> None:
        execution = approval("kit still", due_in=DAY, on_due="fail").start_execution({})
        with travel(days=3):
            assert_pending(execution, types=["approval"])

    def test_the_command_that_sweeps_goes_by_it_too(self) -> None:
        execution = approval("kit tick", due_in=DAY, on_due="fail").start_execution({})
        with travel(days=3):
            call_command("triggerflow_tick", verbosity=0)
        assert execution.get_status() == "failed"


class Deadlines(TestCase):
    def started(self, **pause: Any) -> TriggerFlowExecution:
        flow = self.enterContext(registered(approval("kit deadline", **pause)))
        execution = flow.start_execution({"amount": 120}, runner="rq", auto_close=False)
        run_until_idle()
        return execution

    def test_nothing_happens_before_it(self) -> None:
        execution = self.started(due_in=DAY, on_due={"answer": "no"})
        with travel(hours=23, minutes=59):
            assert run_until_idle() == 0
            assert_pending(execution, types=["approval"])

    def test_one_that_only_marks_leaves_the_question_open(self) -> None:
        execution = self.started(due_in=DAY)
        with travel(days=1):
            run_until_idle()
        [record] = assert_pending(execution, types=["approval"]).values()
        assert record["overdue_at"] >= record["due_at"]
        decide(execution, "late, but welcome")
        assert_walk(execution, ["ask", "commit"])

    def test_one_with_a_default_answer_gives_it(self) -> None:
        execution = self.started(due_in=dt.timedelta(days=2), on_due={"answer": {"approved": False}})
        with travel(days=3):
            assert run_until_idle() == 1
        assert_nothing_pending(execution)
        assert_walk(execution, ["ask", "commit"])
        assert execution.get_state("answer") == {"approved": False}

    def test_one_that_fails_fails_the_step_and_raises_nothing(self) -> None:
        execution = self.started(due_in=3600.0, on_due="fail")
        with travel(hours=1):
            run_until_idle()
        assert execution.get_status() == "failed"
        assert_nothing_pending(execution)
        assert_walk(execution, [])

    def test_one_with_an_event_emits_it(self) -> None:
        flow = approval("kit event", due_in=DAY, on_due={"event": "late", "value": 5})
        flow.when("late").to(("escalate", lambda data: data.set_state("late", data.input)))
        self.enterContext(registered(flow))
        execution = flow.start_execution({}, runner="rq")
        with travel(days=1):
            # Asked when the clock had been moved already: it counts from there.
            run_until_idle()
            assert_pending(execution, types=["approval"])
            with travel(days=1):
                run_until_idle()
        assert_walk(execution, ["ask", "escalate"])
        assert execution.get_state("late") == 5

    def test_a_deadline_that_leads_to_the_next_needs_another_travel(self) -> None:
        flow = TriggerFlow(name="kit reminders")

        def ask(data: TriggerFlowRuntimeData) -> Any:
            data.append_state("asked", data.is_resume)
            return data.pause_for(due_in=DAY, on_due={"answer": None}, resume_to="self", max_resumes=None)

        flow.to(ask)
        execution = flow.start_execution({}, auto_close=False)
        with travel(days=10):
            run_until_idle(execution)
            assert_walk(execution, ["ask"])
            with travel(days=1):
                run_until_idle(execution)
                assert_walk(execution, ["ask", "ask"])
        assert execution.get_state("asked") == [False, True, True]


class AutoClose(TestCase):
    def test_it_acts_once_the_execution_has_been_idle_for_its_time(self) -> None:
        execution = work("kit idle").start_execution(1, auto_close_timeout=3600)
        run_until_idle()
        assert execution.is_open()
        with travel(minutes=59):
            run_until_idle()
            assert execution.is_open()
        with travel(hours=1):
            run_until_idle()
        assert execution.get_snapshot() == {"result": 2}

    def test_it_stands_still_while_an_interrupt_waits_and_starts_anew_after_it(self) -> None:
        execution = approval("kit waits").start_execution({}, auto_close_timeout=60)
        with travel(days=365):
            run_until_idle()
            assert execution.get_status() == "waiting"
            decide(execution, "yes")
            assert execution.is_open()
            with travel(minutes=1):
                run_until_idle()
        assert execution.get_snapshot() == {"answer": "yes"}

    def test_a_timeout_of_nothing_needs_no_travel(self) -> None:
        execution = work("kit at once").start_execution(1, auto_close_timeout=0)
        run_until_idle()
        assert execution.get_status() == "completed"

    def test_time_passes_for_the_executions_too_that_are_not_given(self) -> None:
        one, other = (work("kit all").start_execution(1, auto_close_timeout=60) for _ in range(2))
        with travel(minutes=1):
            run_until_idle(one)
        assert other.is_closed()


@pytest.mark.django_db(transaction=True)
def test_deadline_and_auto_close_act_outside_a_transaction_as_well() -> None:
    execution = approval("kit committed deadline", due_in=DAY, on_due={"answer": 1}).start_execution({})
    with travel(days=1):
        run_until_idle(execution)
        with travel(minutes=1):
            run_until_idle()
    assert execution.get_snapshot() == {"answer": 1}
