"""``assert_walk`` holds, fails, and shows when it fails the walk that was."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from django.test import TestCase

from tests.testing.samples import Bank, approval, fails, payment, registered, work
from triggerflow_django import TriggerFlow, TriggerFlowRuntimeData, exceptions
from triggerflow_django.models import Execution
from triggerflow_django.testing import (
    assert_walk,
    decide,
    run_until_idle,
    travel,
)


def contract() -> TriggerFlow:
    """Draft, then three readers side by side, then sign."""
    flow = TriggerFlow(name="kit contract walk")

    def read(data: TriggerFlowRuntimeData) -> Any:
        return data.input

    chunk = flow.chunk(read)
    flow.to(("draft", lambda data: [1, 2])).batch(("legal", read), ("finance", read), chunk).to(("sign", read))
    return flow


class Walks(TestCase):
    def test_the_chunks_that_ran_to_their_end_in_order(self) -> None:
        execution = work("kit walk").start_execution(1)
        assert_walk(execution, ["double", "keep"])
        told = fails(assert_walk, execution, ["keep", "double"])
        assert told.startswith(
            "another walk: at 1 expected keep, found double\nexpected: keep, double\nwalked:   double, keep\nexecution "
        )

    def test_too_short_and_too_long_are_told_apart(self) -> None:
        execution = work("kit length").start_execution(1)
        assert "at 2 expected the end, found keep" in fails(assert_walk, execution, ["double"])
        assert "at 3 expected sign, found the end" in fails(assert_walk, execution, ["double", "keep", "sign"])
        assert "expected: nothing\n" in fails(assert_walk, execution, [])

    def test_a_set_stands_for_branches_in_any_order(self) -> None:
        execution = contract().start_execution(1)
        assert_walk(execution, ["draft", {"finance", "read", "legal"}, "sign"])
        assert_walk(execution, ["draft", frozenset({"finance", "legal"}), "read", "sign"])
        told = fails(assert_walk, execution, ["draft", {"finance", "tax"}, "read", "sign"])
        assert "at 2 expected {finance, tax}, found legal, finance\n" in told
        assert "expected: draft, {finance, tax}, read, sign\n" in told

    def test_a_chunk_that_ran_several_times_is_named_each_time(self) -> None:
        flow = TriggerFlow(name="kit for each walk")
        flow.for_each().to(("line", lambda data: data.input)).end_for_each().to(("sum", lambda data: None))
        execution = flow.start_execution([1, 2, 3])
        assert_walk(execution, ["line", "line", "line", "sum"])
        assert_walk(execution, [Counter(line=3), "sum"])
        told = fails(assert_walk, execution, [Counter(line=2), "sum"])
        assert "at 3 expected sum, found line" in told
        assert "expected: {line, line}, sum\n" in told
        assert "found line, line, line, sum" in fails(assert_walk, execution, [Counter(line=2, sum=2)])

    def test_a_set_does_not_swallow_what_comes_twice(self) -> None:
        flow = TriggerFlow(name="kit twice walk")
        flow.for_each().to(("line", lambda data: None)).end_for_each()
        execution = flow.start_execution([1, 2])
        assert "found line, line" in fails(assert_walk, execution, [{"line", "other"}])

    def test_a_paused_chunk_has_come_to_its_end_when_it_is_answered(self) -> None:
        execution = approval("kit paused walk").start_execution({})
        assert_walk(execution, [])
        told = fails(assert_walk, execution, ["ask"])
        assert "walked:   nothing\n" in told
        assert "1. ask  paused, waiting for 'approval', interrupt id '" in told
        decide(execution, "yes")
        assert_walk(execution, ["ask", "commit"])

    def test_a_chunk_that_resumes_itself_is_named_for_each_run(self) -> None:
        flow = TriggerFlow(name="kit self walk")
        flow.to(("review", lambda data: None if data.is_resume else data.pause_for(resume_to="self")))
        execution = flow.start_execution({})
        decide(execution, "fine")
        assert_walk(execution, ["review", "review"])

    def test_attempts_of_one_step_count_once_and_failed_ones_not(self) -> None:
        bank = Bank(failures=1)
        flow = self.enterContext(registered(payment("kit attempts", bank, retries=1, backoff=100)))
        execution = flow.start_execution(1, runner="rq")
        run_until_idle()
        told = fails(assert_walk, execution, ["pay"])
        assert "1. pay  ready, backing off, due in 0:0" in told
        assert "attempt 1: ConnectionError: the bank is away (1)" in told
        with travel(minutes=2):
            run_until_idle()
        assert_walk(execution, ["pay", "receipt"])
        assert bank.calls == 2
        # What an attempt left behind says nothing about a step that is done.
        assert fails(assert_walk, execution, []).endswith("\n  1. pay      done\n  2. receipt  done")

    def test_what_failed_is_shown_with_its_error(self) -> None:
        execution = payment("kit failed walk", Bank(failures=1)).create_execution(auto_close=False)
        with pytest.raises(ConnectionError):
            execution.start(1)
        told = fails(assert_walk, execution, ["pay", "receipt"])
        assert (
            "is failed (open); its steps:\n  1. pay  failed, attempt 1: ConnectionError: the bank is away (1)" in told
        )

    def test_a_long_error_is_shown_by_its_beginning(self) -> None:
        def complain(data: TriggerFlowRuntimeData) -> None:
            raise LookupError("no " * 1000)

        flow = TriggerFlow(name="kit long")
        flow.to(complain)
        execution = flow.create_execution(auto_close=False)
        with pytest.raises(LookupError):
            execution.start(1)
        told = fails(assert_walk, execution, ["complain"])
        assert "LookupError: no no no" in told
        assert len(told) < 500

    def test_the_time_left_is_shown(self) -> None:
        execution = approval("kit due walk", due_in=86400 + 50).start_execution({})
        assert "due in 1 day, 0:00:" in fails(assert_walk, execution, ["ask"])
        with travel(days=2):
            assert ", due now" in fails(assert_walk, execution, ["ask"])

    def test_routing_that_was_left_to_a_step_is_shown_and_no_part_of_the_walk(self) -> None:
        flow = TriggerFlow(name="kit routed")
        (
            flow.to(("ask", lambda data: data.pause_for()))
            .if_condition(lambda data: data.input == "yes")
            .to(("commit", lambda data: None))
            .end_condition()
        )
        execution = flow.start_execution({})
        decide(execution, "yes")
        assert_walk(execution, ["ask", "commit"])
        assert "(routing of done:ask)" in fails(assert_walk, execution, [])

    def test_order_does_not_follow_a_clock_that_was_put_back(self) -> None:
        execution = approval("kit back in time", due_in=86400).start_execution({})
        with travel(days=3):
            run_until_idle()
            execution.emit("START", {})
        assert_walk(execution, [])
        first, second = execution.get_pending_interrupts()
        with travel(days=3):
            decide(execution, "first", interrupt_id=first)
        decide(execution, "second", interrupt_id=second)
        assert_walk(execution, ["ask", "ask", "commit", "commit"])

    def test_a_row_and_an_id_will_do(self) -> None:
        execution = work("kit named").start_execution(1)
        for named in (Execution.objects.get(), execution.pk, execution.id):
            assert_walk(named, ["double", "keep"])
        with pytest.raises(exceptions.UnknownExecutionError):
            assert_walk("0" * 32, [])

    def test_what_is_no_walk_is_refused(self) -> None:
        execution = work("kit no walk").start_execution(1)
        for walk in ("double", {"double", "keep"}, Counter(double=1)):
            with pytest.raises(TypeError, match="is no walk: give a list"):
                assert_walk(execution, walk)
        with pytest.raises(TypeError, match="give a chunk's name, or a set"):
            assert_walk(execution, [["double", "keep"]])

    async def test_it_can_be_asked_in_an_async_test(self) -> None:
        execution = await work("kit async walk").async_start_execution(1)
        assert_walk(execution, ["double", "keep"])
        assert "found double" in fails(assert_walk, execution, ["keep"])
