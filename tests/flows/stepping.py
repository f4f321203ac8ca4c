"""Drive an execution one act at a time, in an order of chance: run a step, give an answer, retry a failed step.

As if many workers and people came by in whatever order; so limits, joins and answers meet in every way. Now and then a
worker dies with a step in its hands, which somebody else runs once its lease has ended.
"""

from __future__ import annotations

import datetime as dt
import random
import uuid
from typing import Any

from tests.flows import interpreter, running
from triggerflow_django import TriggerFlow, TriggerFlowExecution
from triggerflow_django.engine import claim, clock, decide, drain, retry, start, sweep
from triggerflow_django.models import Door, Step, StepStatus

USING = "default"
#: How many workers die in one walk; fewer than a step may lose.
DEATHS = 4


class Stepper:
    """One execution of a flow, started and not run."""

    def __init__(self, flow: TriggerFlow, value: Any, order: random.Random) -> None:
        self.graph = flow.graph
        self.order = order
        self.execution: TriggerFlowExecution = flow.create_execution(auto_close=False)
        start.start(self.execution.new, value, using=USING)
        self.drain = self.execution.drain_operation().drain
        self.drain.context.nested = True  # each chunk in a savepoint, no heartbeat
        #: Steps a commit has leased to this drain.
        self.in_hand: list[Step] = []
        self.deaths = 0
        #: Steps whose worker has died and whose lease has not ended.
        self.lost: set[int] = set()

    def run(self, *, most: int = 2000) -> None:
        """Act until nothing is left to do; the books are balanced now and then, and at the end."""
        for count in range(most):
            if not self.act():
                break
            if count % 11 == 0:
                running.balanced(self.execution)
        else:
            raise AssertionError(f"there was still something to do after {most} acts")
        running.balanced(self.execution)

    def act(self) -> bool:
        """One act, chosen by chance among all that are possible. Returns whether there was one."""
        live = Step.objects.filter(execution_id=self.execution.pk, status__in=["ready", "failed", "paused"])
        standing = list(live.order_by("pk").values_list("pk", "status"))
        choices: list[tuple[Any, Any]] = [(self.step, step) for step in self.in_hand]
        choices += [(self.claim, pk) for pk, status in standing if status == StepStatus.READY]
        choices += [(self.retry, pk) for pk, status in standing if status == StepStatus.FAILED]
        if any(status == StepStatus.PAUSED for _, status in standing):
            choices += [(self.answer, record) for record in self.execution.get_pending_interrupts().values()]
        if self.deaths < DEATHS:
            choices += [(self.die, step) for step in self.in_hand[:1]]
            choices += [(self.die_at, pk) for pk, status in standing[:1] if status == StepStatus.READY]
        if self.lost:
            choices.append((self.expire, None))
        if not choices:
            return False
        act, what = self.order.choice(choices)
        act(what)
        return True

    def claim(self, pk: int) -> None:
        """Claim a ready step and run it."""
        self.step(self.claimed(pk))

    def claimed(self, pk: int) -> Step:
        """A ready step, claimed."""
        candidates = claim.ready(USING, execution_id=self.execution.pk, pk=pk)
        token = self.drain.context.token
        (step,) = claim.claim(candidates, token=token, limit=1, graph_of=lambda _step: self.graph, grace=0, using=USING)
        return step

    def die(self, step: Step) -> None:
        """The worker that holds a step is gone."""
        self.deaths += 1
        self.in_hand = [known for known in self.in_hand if known.pk != step.pk]
        self.lost.add(step.pk)

    def die_at(self, pk: int) -> None:
        """A worker claims a step and is gone."""
        self.die(self.claimed(pk))

    def expire(self, _nothing: None) -> None:
        """The leases of dead workers end, and the sweep comes by, twice."""
        past = clock.read(USING) - dt.timedelta(seconds=1)
        Step.objects.filter(pk__in=self.lost).update(lease_expires_at=past)
        self.lost.clear()
        for _ in range(2):
            assert sweep.sweep(using=USING).errors == 0

    def step(self, step: Step) -> None:
        """Run a claimed step to its commit."""
        self.in_hand = [known for known in self.in_hand if known.pk != step.pk]
        self.in_hand += drain.drive(self.drain, step).carried

    def retry(self, pk: int) -> None:
        """Make a failed step ready again."""
        retry.retry(self.execution.pk, using=USING, step_id=pk, graph=self.graph)

    def answer(self, record: dict[str, Any]) -> None:
        """Answer an interrupt as the interpreter does."""
        value = interpreter.answer(**record["payload"])
        pk, graph = self.execution.pk, self.graph
        decide.decide(pk, record["id"], value, door=Door.CODE, using=USING, request_id=uuid.uuid4().hex, graph=graph)
