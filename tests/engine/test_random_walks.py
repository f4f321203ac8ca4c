"""Random walks: any verb, any worker, any crash, any travel in time, in any order, and the rows still agree.

Hypothesis chooses what happens next; after each step every invariant that can be read off the rows is checked. What an
execution must never do is thereby tried in orders nobody thought of. ``TRIGGERFLOW_WALKS`` walks more.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import json
import os
from collections.abc import Callable
from typing import Any

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
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.engine import clock, drain, emit, lifecycle, retry, sweep
from triggerflow_django.models import Execution, Interrupt, Join, Step
from triggerflow_django.runtime.state import StateChange

WALKS = int(os.environ.get("TRIGGERFLOW_WALKS", "20"))
EVENTS = ("lines", "review", "x", "y", "pay", "wait")
PAUSES: dict[str, dict[str, Any]] = {
    "pause": {},
    "pause due": {"due_in": 100, "on_due": {"answer": "by default"}},
    "pause late": {"due_in": 100, "on_due": {"event": "paid", "value": 1}},
    "pause self": {"resume_to": "self", "max_resumes": 3, "due_in": 100, "on_due": "fail"},
    "pause paid": {"resume_to": "next", "resume_event": "paid"},
    "pause same": {"interrupt_id": "the one"},
}
OUTCOMES = ("return", "raise", "emit", *PAUSES)


class Walk(RuleBasedStateMachine):
    """One execution, two workers, and everything that can happen to them."""

    def __init__(self) -> None:
        super().__init__()
        self.outcome = "return"
        self.flow = TriggerFlow(name="walk")
        self.flow.batch(("a", self.chunk), ("b", self.chunk)).to(self.chunk, name="joined")
        self.flow.when("lines").for_each(concurrency=2).for_each().to(self.chunk, name="cell").end_for_each().to(
            self.chunk, name="row"
        ).end_for_each().to(self.chunk, name="table")
        self.flow.when("review").to(self.chunk, name="reviewed").match().case("again").to(
            self.chunk, name="again"
        ).case(lambda data: bool(data.input)).to(self.chunk, name="yes").case_else().to(
            self.chunk, name="no"
        ).end_match().to(self.chunk, name="matched")
        self.flow.when(["x", "y"]).to(self.chunk, name="both")
        self.flow.when("pay").to(self.chunk, name="pays")
        self.flow.when("paid").to(self.chunk, name="heard")
        self.flow.when("wait").to(self.chunk, name="waits")
        self.workers: list[tuple[drain.InlineDrain, list[Step]]] = []
        self.snapshot: Any = None
        self.answers: dict[str, Any] = {}
        self.clock = clock.offset()

    def teardown(self) -> None:
        clock.set_offset(self.clock)
        Execution.objects.all().delete()

    def chunk(self, data: Any) -> Any:
        """Marks that it ran, and then does what the walk has chosen."""
        data.append_state("ran", f"{data.idempotency_key}#{data.attempt}")
        if self.outcome == "raise":
            raise ValueError("chosen")
        if self.outcome == "emit":
            data.emit("paid", 2)
        if self.outcome in PAUSES:
            return data.pause_for(**PAUSES[self.outcome])
        return "again" if data.input == "again" else data.attempt

    @initialize(auto_close=st.booleans(), skip=st.booleans(), timeout=st.sampled_from([None, 0.0, 50.0]))
    def begin(self, auto_close: bool, skip: bool, timeout: float | None) -> None:
        self.pk = driving.start(self.flow, 1, auto_close=auto_close, auto_close_timeout=timeout, skip_exceptions=skip)

    # -- workers

    def claim(self, limit: int) -> None:
        worker = driving.drainer(self.pk, self.flow)
        worker.context.nested = True  # the test's own transaction is around everything
        steps = driving.claim(self.pk, self.flow, token=worker.context.token)
        for step in steps[limit:]:  # a claim takes all that is ready; this worker gives the rest back
            worker.give_back(step)
        if steps:
            self.workers.append((worker, steps[:limit]))

    def run_a_step(self, number: int, outcome: str) -> None:
        if len(self.workers) < 2:
            self.claim(1 + number % 3)
        if not self.workers:
            return
        worker, steps = self.workers[number % len(self.workers)]
        self.outcome = outcome
        steps.extend(driving.run(worker, steps.pop(0)).carried)
        self.workers = [entry for entry in self.workers if entry[1]]

    # Twice, since it is what happens most.
    @rule(number=st.integers(0, 5), outcome=st.sampled_from(OUTCOMES))
    def work(self, number: int, outcome: str) -> None:
        self.run_a_step(number, outcome)

    @rule(number=st.integers(0, 5))
    def work_well(self, number: int) -> None:
        for _ in range(3):
            self.run_a_step(number, "return")

    @precondition(lambda self: self.workers)
    @rule(number=st.integers(0, 5))
    def kill_a_worker(self, number: int) -> None:
        self.workers.pop(number % len(self.workers))

    @rule(seconds=st.sampled_from([1, 30, 70, 200]))
    def travel_and_sweep(self, seconds: int) -> None:
        clock.set_offset(clock.offset() + dt.timedelta(seconds=seconds))
        assert sweep.sweep(using="default").errors == 0

    # -- people and systems

    @rule(number=st.integers(0, 9), answer=st.sampled_from([None, True, "again", {"a": [1]}]), known=st.booleans())
    def decide(self, number: int, answer: Any, known: bool) -> None:
        asked = list(Interrupt.objects.filter(execution_id=self.pk).order_by("pk"))
        if not asked:
            return
        interrupt = asked[number % len(asked)]
        was_waiting = interrupt.status == "waiting"
        flow = self.flow if known else None
        request_id = f"r-{interrupt.pk.hex}"
        try:
            record = driving.decide(self.pk, interrupt.interrupt_id, answer, flow=flow, request_id=request_id)
        except (exceptions.InterruptNotWaitingError, exceptions.ExecutionNotOpenError):
            newest = driving.interrupt(self.pk, interrupt.interrupt_id)
            assert driving.row(self.pk).lifecycle != "open" or newest.status != "waiting"
        except exceptions.RequestIdConflictError:
            assert self.answers[request_id] != json.dumps(answer)
        else:
            told = self.answers.setdefault(request_id, json.dumps(answer))
            assert json.dumps(record["resume_value"]) == told
            assert was_waiting or record["status"] == "resumed"

    @rule(event=st.sampled_from(EVENTS), known=st.booleans())
    def emit(self, event: str, known: bool) -> None:
        value = [[1, 2], [], [3]] if event == "lines" else "again"
        with contextlib.suppress(exceptions.ExecutionNotOpenError):
            emit.emit(self.pk, event, value, using="default", graph=self.flow.graph if known else None)

    @rule(op=st.sampled_from(["set", "append", "delete"]))
    def write_and_retry(self, op: Any) -> None:
        with contextlib.suppress(exceptions.UnknownStepError, exceptions.ExecutionNotOpenError):
            emit.write_state(self.pk, [StateChange(op, "note.deep", 1)], using="default", graph=self.flow.graph)
            retry.retry(self.pk, using="default", graph=self.flow.graph)

    @precondition(lambda self: Step.objects.count() > 8)
    @rule(what=st.sampled_from(["seal", "unseal", "error", "cancel", "now", "soon", "unsealed", "end", "carry"]))
    def act_on_the_whole(self, what: str) -> None:
        close = functools.partial(lifecycle.request_close, self.pk, using="default", graph=self.flow.graph)
        acts: dict[str, Callable[[], object]] = {
            "seal": lambda: lifecycle.seal(self.pk, using="default"),
            "unseal": lambda: lifecycle.unseal(self.pk, using="default"),
            "error": close,
            "cancel": lambda: close(pending_interrupts="cancel"),
            "now": lambda: close(timeout=0),
            "soon": lambda: close(timeout=50, pending_interrupts="cancel"),
            "unsealed": lambda: close(seal=False),
            "end": lambda: lifecycle.cancel(self.pk, using="default"),
            "carry": self.carry_to_another_database,
        }
        with contextlib.suppress(exceptions.PendingInterruptsError, exceptions.ExecutionNotOpenError):
            acts[what]()

    def carry_to_another_database(self) -> None:
        document = json.loads(json.dumps(self.flow.get_execution(self.pk).save()))
        Execution.objects.filter(pk=self.pk).delete()
        self.workers = []
        self.flow.create_execution(auto_close=False).load(document)

    # -- what must hold, whatever happened

    @invariant()
    def rows_agree(self) -> None:
        execution = driving.consistent(self.pk)
        if self.snapshot is not None:
            assert execution.snapshot == self.snapshot
        self.snapshot = execution.snapshot
        ran = driving.state(self.pk).get("ran", [])
        assert len(ran) == len(set(ran)), "a run of a step was committed twice"
        if execution.status == "waiting":
            assert not Step.objects.filter(execution_id=self.pk, status__in=("held", "ready", "running")).exists()

    @invariant()
    def limits_hold(self) -> None:
        for join in Join.objects.filter(execution_id=self.pk, concurrency__isnull=False):
            below = [
                step
                for step in Step.objects.filter(execution_id=self.pk, status__in=("ready", "running"))
                if any(mark[1] == join.activation for mark in step.scope)
            ]
            assert len(below) <= join.concurrency
            assert join.places >= len(below)

    @invariant()
    def joins_fire_once(self) -> None:
        fired = Step.objects.filter(execution_id=self.pk, node="joined").exclude(source="done:joined")
        assert fired.filter(resume_count=0).count() <= 1
        for join in Join.objects.filter(execution_id=self.pk):
            assert join.filled <= join.expected


@pytest.mark.slow
@pytest.mark.django_db
def test_whatever_happens_in_whatever_order_the_rows_agree() -> None:
    """Invariants 1, 7, 8, 9, 10, 11, 12 and 14."""
    run_state_machine_as_test(
        Walk,
        settings=settings(
            max_examples=WALKS,
            stateful_step_count=60,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            # The same walks in every run, unless somebody asks for more.
            derandomize="TRIGGERFLOW_WALKS" not in os.environ,
        ),
    )


def test_a_walk_is_made_of_all_these_steps() -> None:
    """The walk would say little if a rule went missing."""
    rules = {name for name in dir(Walk) if hasattr(getattr(Walk, name), "hypothesis_stateful_rule")}
    assert len(rules) == 8
