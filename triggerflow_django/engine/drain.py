"""What a process does with ready steps: claim, run, commit, go on; in sync code and in a loop, over the same programs.

A chain goes on with its successor, which the commit has leased to this drain. Async chunks that are ready together run
concurrently on one loop, each with its own lease and commit; sync ones take turns on the database thread.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from asgiref.sync import async_to_sync
from django.db import Error, connections
from django.db.models import F, Q

from triggerflow_django import conf
from triggerflow_django.definition.graph import Graph
from triggerflow_django.engine import calls, claim, clock, fail, family, heartbeat, program
from triggerflow_django.engine.calls import Db, on_database_thread
from triggerflow_django.engine.commit import Committed, FencedError
from triggerflow_django.engine.context import RunContext
from triggerflow_django.engine.facts import Facts
from triggerflow_django.engine.transition import Carrier
from triggerflow_django.models import Step, StepStatus
from triggerflow_django.runtime.resources import Resources

logger = logging.getLogger(__name__)

#: Steps that lost a worker more often than this are claimed alone: one that kills its process must not take others
#: along.
SUSPECT_LOST: Final = 1
_SYNC_BATCH: Final = 16
#: Seconds after which a drain that waits for a retry looks again.
_LONGEST_NAP: Final = 1.0


class Drain:
    """One process's turn at ready steps: a token under which it holds their leases, and what it holds."""

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self.using = context.using
        #: How many runs of steps have ended here.
        self.ended = 0
        self._in_flight: dict[int, Step] = {}
        #: Whether the last commit here left nothing of its execution active.
        self._is_idle = False

    @property
    def failures(self) -> list[BaseException]:
        """The errors of steps that failed for good here, oldest first."""
        return self.context.failures

    def hold(self, steps: Iterable[Step]) -> None:
        """These steps are leased to this drain."""
        self._in_flight.update((step.pk, step) for step in steps)

    def committed(self, step: Step, committed: Committed) -> Committed:
        """A step's outcome is written; its successor may be leased to this drain."""
        self.forget(step)
        self._is_idle = committed.is_idle
        self.hold(committed.carried)
        return committed

    def forget(self, step: Step) -> None:
        """The step was committed, failed or given back."""
        self.ended += 1
        self._in_flight.pop(step.pk, None)

    def give_back(self, step: Step, *, has_run: bool = True) -> None:
        """Make a step that was claimed and not committed ready again at once: its run was interrupted, or it has not
        run (then no attempt is burnt). Where even that fails, its lease runs out.
        """
        self.forget(step)
        self._release(pk=step.pk, attempt=step.attempt, burnt=has_run)

    def give_all_back(self) -> None:
        """The drain ends before its time: make ready whatever it still holds, begun or not, and also what a commit
        leased to it that nobody waited for.
        """
        self._in_flight.clear()
        self._release()

    def _release(self, *, burnt: bool = True, **which: Any) -> None:
        steps = Step.objects.using(self.using).filter(
            lease_token=self.context.token, status=StepStatus.RUNNING, **which
        )
        connection = connections[self.using]
        try:
            if not connection.in_atomic_block:
                connection.close_if_unusable_or_obsolete()
            steps.update(status=StepStatus.READY, lease_expires_at=None, attempt=F("attempt") - (0 if burnt else 1))
        except Error:
            # The error that interrupted it is the one to be told.
            logger.warning("triggerflow.step.not_given_back", exc_info=True, extra={"token": self.context.token.hex})

    @contextmanager
    def leasing(self, *, sweeping: bool = False) -> Iterator[None]:
        """Renew this drain's leases meanwhile, and on the way out give back what it still holds.

        Inside somebody's transaction no other connection could renew them. ``sweeping``: sweep, too.
        """
        if self.context.nested:
            yield
            return
        lease = self.context.lease = heartbeat.heartbeat.add(self.context.token, self.using, sweeping=sweeping)
        try:
            yield
        finally:
            heartbeat.heartbeat.remove(lease)
            if self._in_flight:
                self.give_all_back()


class InlineDrain(Drain):
    """Drains one inline execution, and the sub flows below it, in the calling process."""

    def __init__(
        self,
        facts: Facts,
        *,
        using: str,
        graph: Graph,
        resources_of: Callable[[Facts], Resources],
        handle: Any = None,
        carrier: Carrier | None = None,
        own_resources: dict[uuid.UUID, dict[str, Any]] | None = None,
    ) -> None:
        carrier = carrier or Carrier()
        super().__init__(
            RunContext(
                using=using,
                token=carrier.token,
                graph_of=lambda _facts: graph,
                resources_of=resources_of,
                handle=handle,
                facts={facts.id: facts},
                own_resources=own_resources if own_resources is not None else {},
            )
        )
        self.execution_id = facts.id
        self._skips_exceptions = facts.skip_exceptions
        self.graph = graph
        #: Whether to wait for a retry that backs off. The test kit does not: it moves the clock; and who waits for a
        #: limited time does it between drains.
        self.waits = True
        #: What the commit before this drain left to it.
        self._carried = carrier.steps
        self.hold(carrier.steps)

    # -- sync

    def run(self, seconds: float | None = None) -> None:
        """Drain until nothing is left to do, on this thread and its connection.

        ``seconds``: stop after so long and give back what is left; a sync chunk that runs then ends first.
        """
        if self.graph.has_async_code:
            async_to_sync(self.run_async)(seconds)
            return
        deadline = math.inf if seconds is None else time.monotonic() + seconds
        self.context.nested = connections[self.using].in_atomic_block
        with self.leasing():
            queue = deque(self._carried)
            try:
                while not self._is_idle and time.monotonic() < deadline:
                    queue = queue or deque(self._claim(1 if self.context.nested else _SYNC_BATCH))
                    if not queue:
                        nap = self._nap()
                        if nap is None:
                            return
                        time.sleep(min(nap, max(0.0, deadline - time.monotonic())))
                    while queue and time.monotonic() < deadline:
                        queue.extendleft(drive(self, queue.popleft()).carried)
            except BaseException:
                if not self.context.nested:
                    self.give_all_back()
                raise
            if queue:
                self.give_all_back()

    # -- async

    async def run_async(self, seconds: float | None = None) -> None:
        """Drain until nothing is left to do, in this loop; database work and sync chunks go to its database thread.

        ``seconds``: stop after so long and give back what is left.
        """
        try:
            async with asyncio.timeout(seconds) as limit:
                await self._run_async()
        except TimeoutError:
            if not limit.expired():
                raise

    async def _run_async(self) -> None:
        self.context.nested = await on_database_thread(lambda: connections[self.using].in_atomic_block)
        limit = 1 if self.context.nested else conf.get_settings().CONCURRENT_CHUNKS
        with self.leasing():
            tasks = {asyncio.create_task(self._chain(step)) for step in self._carried}
            try:
                while tasks or not self._is_idle:
                    if len(tasks) < limit:
                        room = limit - len(tasks)
                        for step in await on_database_thread(lambda room=room: self._claim(room)):  # type: ignore[misc]
                            tasks.add(asyncio.create_task(self._chain(step)))
                    if tasks:
                        done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                        for task in done:
                            task.result()
                        continue
                    nap = await on_database_thread(self._nap)
                    if nap is None:
                        return
                    await asyncio.sleep(nap)
            except BaseException:
                for task in tasks:
                    task.cancel()
                if tasks:
                    await asyncio.gather(*tasks, return_exceptions=True)
                # After whatever the database thread was still busy with.
                await on_database_thread(self.give_all_back)
                raise

    async def _chain(self, step: Step) -> None:
        queue = deque([step])
        while queue:
            queue.extendleft((await drive_async(self, queue.popleft())).carried)

    # -- shared

    def _steps(self) -> Q:
        """Which steps are this drain's: those of its execution, and of the sub flows below."""
        mine = Q(execution_id=self.execution_id)
        if not self.graph.has_sub_flows:
            return mine
        return mine | family.below(self.execution_id, self.using, prefix="execution__")

    def _claim(self, limit: int) -> list[Step]:
        ready = claim.ready(self.using).filter(self._steps())
        grace = 0.0
        for candidates, most in (
            (ready.filter(lost__lte=SUSPECT_LOST), limit),
            (ready.filter(lost__gt=SUSPECT_LOST), 1),
        ):
            steps = claim.claim(
                candidates,
                token=self.context.token,
                limit=most,
                graph_of=lambda step: self.context.graph_for(self.context.facts_of(step)),
                grace=grace,
                using=self.using,
                failures=None if self._skips_exceptions else self.context.failures,
            )
            if steps or self._in_flight:
                break
        self.hold(steps)
        return steps

    def _nap(self) -> float | None:
        """Seconds until something of this execution may be due here; ``None``: nothing is left to do.

        Takes over steps whose lease has expired. Steps that another process runs are that process's business.
        """
        steps = Step.objects.using(self.using).filter(self._steps(), status__in=(StepStatus.READY, StepStatus.RUNNING))
        rows = list(
            steps.only("status", "available_at", "lease_expires_at", "lease_token", "attempt", "lost", "failures")
        )
        if not rows or self.context.nested:
            return None
        now = clock.read(self.using)
        expired = [
            row
            for row in rows
            if row.status == StepStatus.RUNNING and row.lease_expires_at and row.lease_expires_at <= now
        ]
        for row in expired:
            row.refresh_from_db()
            fail.lost(row, using=self.using)
        if expired:
            return 0.0
        if not self.waits:
            return None
        waits = [(row.available_at - now).total_seconds() for row in rows if row.status == StepStatus.READY]
        return min(max(min(waits), 0.0), _LONGEST_NAP) if waits else None


# -- trampolines


def drive(drain: Drain, step: Step) -> Committed:
    """Run a step's program on this thread."""
    steps = program.run(step, drain.context)
    answer: Any = None
    error: BaseException | None = None
    try:
        while True:
            try:
                operation = steps.throw(error) if error is not None else steps.send(answer)
            except StopIteration as finished:
                return drain.committed(step, finished.value)
            answer, error = None, None
            try:
                answer = operation.function() if isinstance(operation, Db) else calls.run(operation)
            except BaseException as raised:  # an interruption too: the program may have a savepoint to undo
                error = raised
    except FencedError:
        logger.info("triggerflow.step.fenced", extra={"step": step.pk})
        drain.forget(step)
        return Committed()
    except BaseException:
        drain.give_back(step)
        raise


async def drive_async(drain: Drain, step: Step) -> Committed:
    """Run a step's program in this loop."""
    steps = program.run(step, drain.context)
    answer: Any = None
    error: BaseException | None = None
    try:
        while True:
            try:
                operation = steps.throw(error) if error is not None else steps.send(answer)
            except StopIteration as finished:
                return drain.committed(step, finished.value)
            answer, error = None, None
            try:
                if isinstance(operation, Db):
                    answer = await on_database_thread(operation.function)
                else:
                    answer = await calls.run_async(operation)
            except BaseException as raised:  # an interruption too: the program may have a savepoint to undo
                error = raised
    except FencedError:
        logger.info("triggerflow.step.fenced", extra={"step": step.pk})
        drain.forget(step)
        return Committed()
    except BaseException:
        await on_database_thread(lambda: drain.give_back(step))
        raise
