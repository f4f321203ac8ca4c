"""Walks of any verb in any order, held against a model that knows nothing of the engine: after each step both show the
same. ``TRIGGERFLOW_WALKS`` walks more, with a new seed each time, which a failure prints.
"""

from __future__ import annotations

import datetime as dt
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
from tests.engine.model import DUE, Model, RefusedError
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.engine import clock, emit, lifecycle, retry, sweep
from triggerflow_django.handles import reading
from triggerflow_django.models import Decision, Execution

WALKS = int(os.environ.get("TRIGGERFLOW_WALKS", "30"))


class Compared(RuleBasedStateMachine):
    """One execution and its model."""

    def __init__(self) -> None:
        super().__init__()
        self.raises = False
        self.flow = self.written(with_book=True)
        #: The same after a deployment that has lost a chunk.
        self.cut_flow = self.written(with_book=False)
        self.model = Model()
        self.clock = clock.offset()
        self.deaths = 0

    def written(self, *, with_book: bool) -> TriggerFlow:
        flow = TriggerFlow(name="compared")
        place = flow.to(self.chunk, name="first").batch(("a", self.chunk), ("b", self.chunk))
        asked = place.to(self.chunk, name="joined").to(self.ask, name="ask")
        if with_book:
            asked.to(self.chunk, name="book")
        flow.when("pay").to(self.chunk, name="pays")
        return flow

    def chunk(self, data: Any) -> None:
        data.append_state("ran", data._frame.node)
        if self.raises:
            raise ValueError("chosen")

    def ask(self, data: Any) -> Any:
        self.chunk(data)
        return data.pause_for(interrupt_id="gate", due_in=DUE, on_due={"answer": "by default"})

    @initialize()
    def begin(self) -> None:
        self.pk = driving.start(self.flow, 1)

    def teardown(self) -> None:
        clock.set_offset(self.clock)
        Execution.objects.all().delete()

    def claimed(self) -> tuple[Any, Any]:
        """A drain that holds one step, the oldest that is ready."""
        worker = driving.drainer(self.pk, self.flow)
        worker.context.nested = True  # the test's own transaction is around everything
        worker.context.goes_on = lambda: False
        first, *others = driving.claim(self.pk, self.flow, token=worker.context.token)
        for step in others:
            worker.give_back(step, has_run=False)
        return worker, first

    def both(self, expected: Callable[[], Any], act: Callable[[], Any]) -> tuple[Any, Any]:
        """Do it to the model and to the engine: both refuse, or both do it."""
        try:
            wanted = expected()
        except RefusedError as refused:
            with pytest.raises(exceptions.TriggerFlowError) as raised:
                act()
            told = type(raised.value).__name__
            assert told == refused.args[0]  # noqa: PT017 - the model's refusal, not the engine's
            return None, None
        return wanted, act()

    # -- workers

    @precondition(lambda self: self.model.ready.total())
    @rule(raises=st.sampled_from([False, False, False, False, True]))
    def run_a_step(self, raises: bool) -> None:
        worker, step = self.claimed()
        self.raises = raises
        driving.run(worker, step)
        self.model.run(step.node, raises=raises)

    @precondition(lambda self: self.model.ready.total())
    @rule()
    def run_well(self) -> None:
        self.run_a_step(False)

    @precondition(lambda self: self.model.ready.total() and self.deaths < 4)
    @rule()
    def kill_a_worker(self) -> None:
        self.deaths += 1
        self.model.die(self.claimed()[1].node)

    @precondition(lambda self: +self.model.ready == {"book": 1})
    @rule()
    def deploy_without_the_chunk(self) -> None:
        assert driving.claim(self.pk, self.cut_flow, grace=0.0) == []
        self.model.lose_code("book")

    # 40 and 70: no sum of them is the length of a lease or of the deadline.
    @rule(seconds=st.sampled_from([0, 40, 70]), times=st.integers(1, 2))
    def sweep(self, seconds: int, times: int) -> None:
        clock.set_offset(clock.offset() + dt.timedelta(seconds=seconds))
        for _ in range(times):
            assert sweep.sweep(using="default").errors == 0
        self.model.sweep(seconds)

    # -- people and systems

    @rule(
        interrupt_id=st.sampled_from(["gate", "gate", "gate", "other"]),
        answer=st.sampled_from([True, {"a": [1]}]),
        request=st.sampled_from(["r1", "r2"]),
    )
    def decide(self, interrupt_id: str, answer: Any, request: str) -> None:
        wanted, record = self.both(
            lambda: self.model.decide(interrupt_id, answer, request),
            lambda: driving.decide(self.pk, interrupt_id, answer, flow=self.flow, request_id=request),
        )
        assert record is None or record["resume_value"] == wanted

    @rule()
    def pay(self) -> None:
        self.both(self.model.emit_pay, lambda: emit.emit(self.pk, "pay", 1, using="default", graph=self.flow.graph))

    @rule()
    def retry(self) -> None:
        self.both(self.model.retry, lambda: retry.retry(self.pk, using="default", graph=self.flow.graph))

    @rule(shut=st.booleans())
    def seal(self, shut: bool) -> None:
        act = lifecycle.seal if shut else lifecycle.unseal
        self.both(lambda: self.model.seal(shut=shut), lambda: act(self.pk, using="default"))

    @precondition(lambda self: len(self.model.ran) > 3)
    @rule(policy=st.sampled_from(["error", "cancel"]))
    def close(self, policy: str) -> None:
        self.both(
            lambda: self.model.close(policy),
            lambda: lifecycle.request_close(self.pk, using="default", pending_interrupts=policy, graph=self.flow.graph),
        )

    @precondition(lambda self: len(self.model.ran) > 5)
    @rule()
    def cancel(self) -> None:
        self.both(self.model.cancel, lambda: lifecycle.cancel(self.pk, using="default"))

    # -- what must be the same

    @invariant()
    def both_show_the_same(self) -> None:
        model, row = self.model, driving.consistent(self.pk)
        assert (row.status, row.lifecycle, row.snapshot) == (model.status, model.lifecycle, model.snapshot)
        assert driving.state(self.pk) == model.state
        assert (row.active_steps, row.failed_steps) == (
            0 if model.lifecycle == "closed" else model.active,
            model.failed.total(),
        )
        waiting = reading.pending_interrupts(self.pk, "default")
        assert list(waiting) == (["gate"] if model.gate == "waiting" else [])
        decisions = Decision.objects.filter(execution_id=self.pk).values_list("payload", flat=True)
        assert list(decisions) == ([model.answer] if model.gate == "resumed" else [])


@pytest.mark.slow
@pytest.mark.django_db
def test_the_engine_shows_what_the_model_says() -> None:
    run_state_machine_as_test(
        Compared,
        settings=settings(
            max_examples=WALKS,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
            derandomize="TRIGGERFLOW_WALKS" not in os.environ,
        ),
    )
