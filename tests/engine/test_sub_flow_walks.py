"""Random walks over a flow with sub flows two deep: whatever happens in whatever order, each step that waits has its
open child, each open child is waited for, and nothing below a closed execution goes on.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.engine import driving
from tests.engine.test_random_walks import WALKS
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.engine import clock, drain, family, lifecycle, retry, sub_flow
from triggerflow_django.engine.sweep import sweep
from triggerflow_django.models import Execution, Interrupt, InterruptStatus, Lifecycle, Step, StepStatus


class Walk(RuleBasedStateMachine):
    """One outermost execution, its children and theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.outcome = "return"
        leaf = TriggerFlow("leaf")
        leaf.to(self.chunk, name="ask").to(self.chunk, name="book")
        middle = TriggerFlow("middle")
        middle.batch(("left", leaf), ("right", self.chunk)).to(self.chunk, name="joined")
        self.flow = TriggerFlow("outer")
        self.flow.for_each(concurrency=2).to_sub_flow(middle, name="work").end_for_each().to(self.chunk, name="table")
        self.flow.to_sub_flow(leaf, side_branch=True, name="beside")
        self.held: list[tuple[drain.InlineDrain, Step]] = []
        self.still: dict[Any, int] = {}
        self.clock = clock.offset()

    def teardown(self) -> None:
        clock.set_offset(self.clock)
        Execution.objects.all().delete()

    def chunk(self, data: Any) -> Any:
        if self.outcome == "raise":
            raise ValueError("as the walk wants it")
        if self.outcome == "pause":
            return data.pause_for()
        return data.input

    @initialize(items=st.integers(0, 4))
    def begin(self, items: int) -> None:
        self.pk = driving.start(self.flow, list(range(items)))

    def some(self, number: int, **which: Any) -> Execution:
        rows = Execution.objects.filter(**which).order_by("created_at", "pk")
        return rows[number % rows.count()]

    @rule(outcome=st.sampled_from(("return", "return", "pause", "raise")))
    def choose(self, outcome: str) -> None:
        self.outcome = outcome

    @rule()
    def claim(self) -> None:
        running = driving.drainer(self.pk, self.flow)
        running.waits = False
        self.held += [(running, step) for step in running._claim(2)]

    @precondition(lambda self: self.held)
    @rule(number=st.integers(0, 9))
    def run(self, number: int) -> None:
        running, step = self.held.pop(number % len(self.held))
        self.held += [(running, carried) for carried in driving.run(running, step).carried]

    @precondition(lambda self: self.held)
    @rule()
    def die(self) -> None:
        self.held.clear()
        clock.set_offset(clock.offset() + dt.timedelta(seconds=1000))

    @rule()
    def sweep(self) -> None:
        assert sweep(using="default").errors == 0

    @rule(number=st.integers(0, 9))
    def answer(self, number: int) -> None:
        waiting = Interrupt.objects.filter(status=InterruptStatus.WAITING).order_by("pk")
        if not waiting:
            return
        interrupt = waiting[number % len(waiting)]
        try:
            driving.decide(interrupt.execution_id, interrupt.interrupt_id, "yes")
        except exceptions.ExecutionNotOpenError:
            above = [interrupt.execution_id, *(a.id for a in family.ancestors(interrupt.execution_id, "default"))]
            assert Execution.objects.filter(pk__in=above).exclude(lifecycle=Lifecycle.OPEN).exists()

    @rule(number=st.integers(0, 9), dies=st.booleans())
    def cancel(self, number: int, dies: bool) -> None:
        row = self.some(number)
        if row.pk == self.pk and number % 3:
            return
        death = mock.patch.object(sub_flow, "cancel_below", return_value=False)
        with death if dies else contextlib.nullcontext():
            lifecycle.cancel(row.pk, using="default")

    @rule(policy=st.sampled_from(lifecycle.POLICIES))
    def close(self, policy: str) -> None:
        with contextlib.suppress(exceptions.PendingInterruptsError):
            lifecycle.request_close(self.pk, using="default", pending_interrupts=policy)

    @rule(number=st.integers(0, 9))
    def retry(self, number: int) -> None:
        with contextlib.suppress(exceptions.UnknownStepError, exceptions.ExecutionNotOpenError):
            retry.retry(self.some(number).pk, using="default")

    @rule()
    def drain(self) -> None:
        """Everything at once, whatever fails."""
        self.held.clear()
        clock.set_offset(clock.offset() + dt.timedelta(seconds=1000))
        sweep(using="default")
        driving.drain(self.pk, self.flow)
        steps = Step.objects.filter(execution__lifecycle=Lifecycle.OPEN)
        assert not steps.filter(status__in=(StepStatus.READY, StepStatus.RUNNING)).exists()
        assert not steps.filter(status=StepStatus.HELD).exists()
        for step in steps.filter(status=StepStatus.DELEGATED):
            assert family.waiting_below(step.execution_id, "default").exists()

    @invariant()
    def rows_agree(self) -> None:
        for pk in Execution.objects.values_list("pk", flat=True):
            driving.consistent(pk)

    @invariant()
    def children_of_the_open_are_waited_for(self) -> None:
        for child in Execution.objects.filter(root_id__isnull=False).exclude(lifecycle=Lifecycle.CLOSED):
            step = Step.objects.select_related("execution").get(pk=child.parent_step_id)
            assert step.status == StepStatus.DELEGATED or step.execution.cancels_sub_flows
            # One that has nothing to do has closed.
            assert child.active_steps or child.pending_interrupts

    @invariant()
    def nothing_goes_on_below_the_closed(self) -> None:
        for child in Execution.objects.filter(root_id__isnull=False):
            if family.is_cut_off(child.pk, using="default"):
                done = Step.objects.filter(execution_id=child.pk, status=StepStatus.DONE).count()
                assert self.still.setdefault(child.pk, done) == done


@pytest.mark.django_db(transaction=True)
def test_whatever_happens_to_parents_and_children_the_rows_agree() -> None:
    run_state_machine_as_test(
        Walk,
        settings=settings(
            max_examples=WALKS,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
