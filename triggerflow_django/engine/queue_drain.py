"""What a worker does on a wake-up: drain one queue, across executions, until nothing is ready or its time is used
(design.md 5.4).

It claims the oldest ready step, runs it, goes on with its successor, which that commit leased to it, then with the next
ready step. Of an execution whose steps are async it takes all that are ready and lets them wait together on one event
loop; of one whose steps are quick it takes a few at a time. Everything but the waiting happens on this thread and its
connection.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import QuerySet

from triggerflow_django import conf, wakeups
from triggerflow_django.definition.chunk import is_async
from triggerflow_django.engine import calls, claim, family, program
from triggerflow_django.engine.calls import Db
from triggerflow_django.engine.commit import FencedError
from triggerflow_django.engine.context import RunContext
from triggerflow_django.engine.drain import SUSPECT_LOST, Drain, drive
from triggerflow_django.engine.facts import Facts
from triggerflow_django.engine.program import Program
from triggerflow_django.models import Step, StepKind
from triggerflow_django.runtime.resources import Resources

logger = logging.getLogger(__name__)

#: A step that takes less than this many seconds is quick: the next claim takes twice as many, up to the limit below.
_QUICK: Final = 0.02
_MOST_AT_ONCE: Final = 16


@dataclass(slots=True)
class _Waiting:
    """A program whose chunk waits on the loop."""

    step: Step
    program: Program


class QueueDrain(Drain):
    """One worker's turn at one queue. ``ended`` counts the runs of steps it carried."""

    def __init__(
        self,
        queue: str,
        *,
        using: str,
        resources_of: Callable[[Facts], Resources],
        loop: asyncio.Runner,
        stops: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(
            RunContext(
                using=using,
                token=uuid.uuid4(),
                graph_of=lambda facts: family.registered(facts.flow_name),
                resources_of=resources_of,
                goes_on=self.goes_on,
            )
        )
        self.queue = queue
        self._loop = loop
        self._stops = stops
        self._ends_at = time.monotonic() + conf.get_settings().DRAIN_SECONDS
        self._at_once = 1

    def goes_on(self) -> bool:
        """Whether there is time for one more step."""
        return not self._stops() and time.monotonic() < self._ends_at

    def run(self) -> None:
        """Drain. What is left when the time is used stays ready, unleased, with a bell."""
        with self.leasing(sweeping=True):
            while self.goes_on():
                found = list(self._ready()[: self._at_once])
                if not found:
                    return
                began = time.monotonic()
                steps = self._claim_turn(found)
                if steps:
                    number = self.ended
                    self._run_all(deque(steps))
                    quick = (time.monotonic() - began) / max(1, self.ended - number) < _QUICK
                    self._at_once = min(self._at_once * 2, _MOST_AT_ONCE) if quick else 1
        if self._ready().exists():
            wakeups.ring(self.queue, 1)

    # -- claiming

    def _ready(self, **which: Any) -> QuerySet[Step]:
        return claim.ready(self.using, queue=self.queue, **which)

    def _claim_turn(self, found: list[Step]) -> list[Step]:
        """Of the oldest ready steps claim the first, with those of its execution that may share its turn.

        Empty where somebody was faster, or its code is missing here (then it is set aside).
        """
        oldest = found[0]
        if oldest.lost > SUSPECT_LOST:
            return self._claim([oldest])
        if self._waits_on_loop(oldest):
            return self._claim(self._ready_beside(oldest, conf.get_settings().CONCURRENT_CHUNKS))
        return self._claim(
            [step for step in found if step.execution_id == oldest.execution_id and step.lost <= SUSPECT_LOST]
        )

    def _ready_beside(self, step: Step, most: int) -> list[Step]:
        return list(self._ready(execution_id=step.execution_id, lost__lte=SUSPECT_LOST)[:most])

    def _claim(self, found: list[Step]) -> list[Step]:
        steps = claim.claim_found(
            found,
            token=self.context.token,
            graph_of=lambda step: self.context.graph_for(self.context.facts_of(step)),
            grace=conf.get_settings().MISSING_CHUNK_GRACE,
            using=self.using,
        )
        self.hold(steps)
        return steps

    def _waits_on_loop(self, step: Step) -> bool:
        graph = self.context.graph_for(self.context.facts_of(step))
        chunk = graph.chunk(step.node) if graph is not None and step.kind == StepKind.CHUNK else None
        return chunk is not None and chunk.is_async

    # -- running

    def _run_all(self, queue: deque[Step]) -> None:
        while queue:
            if not self.goes_on():
                for step in queue:
                    self.give_back(step, has_run=False)
                return
            together = [step for step in queue if self._waits_on_loop(step)]
            if together:
                queue = deque(step for step in queue if step not in together)
                queue.extendleft(self._run_together(together))
            else:
                queue.extendleft(drive(self, queue.popleft()).carried)

    def _run_together(self, steps: list[Step]) -> list[Step]:
        """Run async steps of one execution at once. Returns the successors whose turn is not on the loop."""
        most = conf.get_settings().CONCURRENT_CHUNKS
        starting, later = deque(steps), list[Step]()
        waiting: dict[asyncio.Task[Any], _Waiting] = {}
        try:
            while starting or waiting:
                while starting:
                    step = starting.popleft()
                    self._advance(_Waiting(step, program.run(step, self.context)), None, None, waiting, starting, later)
                if not waiting:
                    break
                for task in self._loop.run(_first(waiting)):
                    entry = waiting.pop(task)
                    self._advance(entry, *_outcome(task), waiting, starting, later)
                if self.goes_on() and len(waiting) < most and not self._is_idle:
                    for step in self._claim(self._ready_beside(steps[0], most - len(waiting))):
                        (starting if self._waits_on_loop(step) else later).append(step)
        finally:
            if waiting:
                self._loop.run(_cancelled(waiting))
        return later

    def _advance(
        self,
        entry: _Waiting,
        answer: Any,
        error: BaseException | None,
        waiting: dict[asyncio.Task[Any], _Waiting],
        starting: deque[Step],
        later: list[Step],
    ) -> None:
        """Drive one program until its chunk waits on the loop, or to its end."""
        try:
            while True:
                try:
                    operation = entry.program.throw(error) if error is not None else entry.program.send(answer)
                except StopIteration as finished:
                    for carried in self.committed(entry.step, finished.value).carried:
                        (starting if self._waits_on_loop(carried) else later).append(carried)
                    return
                answer, error = None, None
                if not isinstance(operation, Db) and is_async(operation.handler):
                    task = self._loop.get_loop().create_task(calls.run_async(operation))
                    waiting[task] = entry
                    return
                try:
                    answer = operation.function() if isinstance(operation, Db) else calls.run(operation)
                except Exception as raised:
                    error = raised
        except FencedError:
            logger.info("triggerflow.step.fenced", extra={"step": entry.step.pk})
            self.forget(entry.step)


async def _first(tasks: dict[asyncio.Task[Any], _Waiting]) -> set[asyncio.Task[Any]]:
    done, _pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    return done


async def _cancelled(tasks: dict[asyncio.Task[Any], _Waiting]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _outcome(task: asyncio.Task[Any]) -> tuple[Any, BaseException | None]:
    if task.cancelled():
        return None, RuntimeError("the chunk's task was cancelled")
    error = task.exception()
    return (None, error) if error is not None else (task.result(), None)
