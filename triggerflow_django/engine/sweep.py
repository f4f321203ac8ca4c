"""The pass that repairs what a dead worker left and acts on what is due. Twice at once is harmless: each act is checked
under the lock.

It finds work by indexed queries and never looks at executions that merely wait.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any, Final

from django.db import DatabaseError, connections
from django.db.models import BooleanField, QuerySet
from django.db.models.expressions import RawSQL

from triggerflow_django import conf, wakeups
from triggerflow_django.engine import clock, deadlines, fail, lifecycle, stream, sub_flow
from triggerflow_django.models import Execution, Interrupt, InterruptStatus, Lifecycle, Step, StepStatus, SweepTurn

logger = logging.getLogger(__name__)

#: How many rows of one kind a pass takes; the rest is for the next.
BATCH: Final = 500
BATCH_OF_STREAMS: Final = 20


@dataclass(slots=True)
class SweepReport:
    """How much one pass did, by kind."""

    #: Running steps whose lease had expired: ready again, or failed after too many.
    lost_steps: int = 0
    #: Interrupts whose deadline had passed.
    deadlines: int = 0
    #: Executions that had been idle for their time.
    auto_closed: int = 0
    #: Closes whose time was over.
    forced_closes: int = 0
    #: Runtime streams of executions that have been closed for long, of which some was deleted.
    streams: int = 0
    #: Closed executions whose sub flows were still to be cancelled, and closes that only waiting sub flows held up.
    sub_flows: int = 0
    #: Rows whose repair raised; logged, and tried again by the next pass.
    errors: int = 0

    def total(self) -> int:
        """How many rows were changed."""
        done = self.lost_steps + self.deadlines + self.auto_closed + self.forced_closes
        return done + self.streams + self.sub_flows


def sweep(*, using: str) -> SweepReport:
    """Do one pass over one database."""
    report = SweepReport()
    report.lost_steps = _each(report, _expired(using), lambda step: fail.lost(step, using=using))
    report.deadlines = _each(
        report,
        _overdue(using),
        lambda interrupt: deadlines.pass_deadline(interrupt.pk, interrupt.execution_id, using=using),
    )
    report.auto_closed = _each(report, _idle(using), lambda row: lifecycle.auto_close(row.pk, using=using))
    report.forced_closes = _each(report, _closing(using), lambda row: lifecycle.force_close(row.pk, using=using))
    report.streams = _each(report, _old_streams(using), lambda row: stream.expire(row.pk, using=using))
    report.sub_flows = _each(report, _cutting_off(using), lambda row: sub_flow.cancel_below(row.pk, using=using))
    report.sub_flows += _each(report, _held_up(using), lambda row: lifecycle.settle_close(row.pk, using=using))
    ring_for_ready(using)
    if report.total() or report.errors:
        counts = {field.name: getattr(report, field.name) for field in fields(report)}
        logger.info("triggerflow.sweep.acted", extra=counts)
    return report


def sweep_in_turn(*, using: str) -> SweepReport | None:
    """Sweep unless somebody began to within the last ``TRIGGERFLOW["SWEEP_SECONDS"]``: workers take turns by one row.

    Out: what was done, ``None`` where it was not this process's turn.
    """
    turns = SweepTurn.objects.using(using)
    since = clock.expression(plus=-conf.get_settings().SWEEP_SECONDS)
    if not turns.filter(pk=SweepTurn.ONLY, taken_at__lte=since).update(taken_at=clock.expression()):
        if turns.filter(pk=SweepTurn.ONLY).exists():
            return None
        # The first sweep of this database; of two at once one inserts.
        if not turns.bulk_create([SweepTurn(pk=SweepTurn.ONLY, taken_at=clock.read(using))], ignore_conflicts=True):
            return None
    return sweep(using=using)


def ring_for_ready(using: str) -> None:
    """Ring for queues with ready steps and no bell: their bells were lost, or the steps became ready by the clock.

    It reads as many rows as there are bells to ring, however many steps are ready.
    """
    most = conf.get_settings().MAX_BELLS
    queue = _next_queue(using, "")
    while queue is not None:
        due = _ready(using, queue=queue, available_at__lte=clock.bound()).order_by("available_at", "pk")
        if steps := len(due.values_list("pk")[:most]):
            wakeups.ring(queue, steps, if_silent=True)
        queue = _next_queue(using, queue)


def _next_queue(using: str, queue: str) -> str | None:
    return _ready(using, queue__gt=queue).order_by("queue").values_list("queue", flat=True).first()


def _ready(using: str, **which: Any) -> QuerySet[Step]:
    return Step.objects.using(using).filter(status=StepStatus.READY, **which)


def _each(report: SweepReport, rows: Iterable[Any], act: Callable[[Any], bool]) -> int:
    """Act on each row by itself: one that cannot be repaired must not keep the others waiting."""
    done = 0
    for row in rows:
        try:
            done += bool(act(row))
        except DatabaseError:
            if connections[row._state.db].in_atomic_block:
                raise
            report.errors += 1
            logger.exception("triggerflow.sweep.failed", extra={"row": repr(row.pk), "table": row._meta.label})
        except Exception:
            report.errors += 1
            logger.exception("triggerflow.sweep.failed", extra={"row": repr(row.pk), "table": row._meta.label})
    return done


def _expired(using: str) -> QuerySet[Step]:
    steps = Step.objects.using(using).filter(status=StepStatus.RUNNING, lease_expires_at__lte=clock.bound())
    return steps.defer("input", "output", "error").order_by("lease_expires_at")[:BATCH]


def _overdue(using: str) -> QuerySet[Interrupt]:
    interrupts = Interrupt.objects.using(using).filter(
        status=InterruptStatus.WAITING, overdue_at__isnull=True, due_at__isnull=False, due_at__lte=clock.bound()
    )
    return interrupts.only("pk", "execution_id").order_by("due_at")[:BATCH]


def _idle(using: str) -> QuerySet[Execution]:
    executions = Execution.objects.using(using).filter(
        auto_close_at__isnull=False, auto_close_at__lte=clock.bound(), lifecycle=Lifecycle.OPEN
    )
    return executions.only("pk").order_by("auto_close_at")[:BATCH]


def _cutting_off(using: str) -> QuerySet[Execution]:
    executions = Execution.objects.using(using).filter(cancels_sub_flows=True)
    return executions.only("pk").order_by("pk")[:BATCH]


def _held_up(using: str) -> QuerySet[Execution]:
    executions = Execution.objects.using(using).filter(closing=True, active_steps__gt=0)
    return executions.only("pk").order_by("pk")[:BATCH]


def _closing(using: str) -> QuerySet[Execution]:
    executions = Execution.objects.using(using).filter(
        close_by__isnull=False, close_by__lte=clock.bound(), closing=True
    )
    return executions.only("pk").order_by("close_by")[:BATCH]


#: Written out, as in the condition of the index: of a parameter SQLite does not know whether it meets that.
_HAS_STREAM: Final = RawSQL("stream IN ('kept', 'stopped')", (), output_field=BooleanField())


def _old_streams(using: str) -> Iterable[Execution]:
    seconds = conf.get_settings().STREAM_RETENTION_SECONDS
    if seconds is None:
        return ()
    executions = Execution.objects.using(using).filter(
        _HAS_STREAM, root_id__isnull=True, closed_at__lte=clock.bound(plus=-seconds)
    )
    return executions.only("pk").order_by("closed_at")[:BATCH_OF_STREAMS]
