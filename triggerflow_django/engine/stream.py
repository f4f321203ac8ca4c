"""Rows of runtime streams: append in order, tell of interrupts, stop, and delete what is too old or too much.

``sequence`` is one more than the newest committed one, under a unique constraint: who loses a race looks again. So
positions have no holes and become visible in their order, and a reader at a position never misses anything; ids that a
database gives promise neither.

Nothing is written for an execution that nobody streams. The first item or the first reader *opens* its stream, under
the execution's lock: what interrupts it has had is told then, from their rows; from then on each transition tells of
its own.
"""

from __future__ import annotations

import datetime as dt
import logging
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from django.db import DatabaseError, IntegrityError, InterfaceError, OperationalError, connections, transaction
from django.db.models import OuterRef, Subquery

from triggerflow_django import conf
from triggerflow_django.engine import clock, rows
from triggerflow_django.engine.transition import Transition, lock
from triggerflow_django.models import (
    Execution,
    Interrupt,
    Step,
    StepStatus,
    StreamItem,
    StreamItemKind,
    StreamStatus,
)

logger = logging.getLogger(__name__)

#: Rows in one INSERT, so that it is one statement everywhere.
BATCH: Final = 100
_TRIES: Final = 50
#: How many rows more than allowed there may be before the oldest are deleted.
_SLACK: Final = 256


@dataclass(slots=True)
class Counts:
    """What became of this process's items since it started."""

    #: Stored.
    written: int = 0
    #: Not stored, because the database did not take them; readers find a gap.
    lost: int = 0


counts = Counts()


class Draft(NamedTuple):
    """An item on its way into the table."""

    kind: StreamItemKind
    item: Any


class Tip(NamedTuple):
    """Where a stream stands."""

    sequence: int
    now: dt.datetime


#: Looks where the stream stands; ``None``: whoever wants to write may not (any more).
Look = Callable[[], Tip | None]


def root_of(execution: Execution) -> uuid.UUID:
    """Whose stream its items are in."""
    return execution.root_id or execution.pk


def append(
    root: uuid.UUID,
    drafts: Sequence[Draft],
    *,
    source: uuid.UUID,
    using: str,
    look: Look,
    step: Step | None = None,
) -> bool:
    """Append items, all or none, in the caller's transaction if there is one. Returns whether ``look`` let them in.

    At most ``BATCH`` items.
    """
    nested = connections[using].in_atomic_block
    for attempt in range(_TRIES):
        tip = look()
        if tip is None:
            return False
        new = [
            StreamItem(
                root_id=root,
                sequence=sequence,
                source_id=source,
                step_id=step.pk if step is not None else None,
                attempt=step.attempt if step is not None else 0,
                kind=draft.kind,
                item=draft.item,
                created_at=tip.now,
            )
            for sequence, draft in enumerate(drafts, start=tip.sequence + 1)
        ]
        try:
            if nested:  # a savepoint: to lose the race must not spoil the transaction
                with transaction.atomic(using=using):
                    rows.insert(new, using=using)
            else:
                rows.insert(new, using=using)
        except IntegrityError:
            if attempt == _TRIES - 1:
                raise
            continue
        counts.written += len(new)
        _trim(root, tip.sequence, new[-1].sequence, using)
        return True
    raise AssertionError("unreachable")


def newest(root: uuid.UUID, using: str) -> int:
    """The position of the newest item, 0 without any."""
    rows_ = StreamItem.objects.using(using).filter(root_id=root).order_by("-sequence")
    return rows_.values_list("sequence", flat=True).first() or 0


def looking(root: uuid.UUID, using: str, now: dt.datetime | None = None) -> Look:
    """Look, for whoever may write in any case."""
    return lambda: Tip(newest(root, using), now or clock.read(using))


def looking_by(step: Step, root: uuid.UUID, using: str) -> Look:
    """Look, for the run of a step that still is the step's run, while the stream has not been stopped."""
    tip = StreamItem.objects.filter(root_id=root).order_by("-sequence").values("sequence")[:1]
    status = Execution.objects.filter(pk=OuterRef("execution_id")).values("stream")
    found = (
        Step.objects.using(using)
        .filter(pk=step.pk, attempt=step.attempt, lease_token=step.lease_token, status=StepStatus.RUNNING)
        .annotate(tip=Subquery(tip), stream=Subquery(status), db_now=clock.expression())
        .values_list("tip", "stream", "db_now")
    )

    def look() -> Tip | None:
        row = found.all().first()
        return None if row is None or row[1] != StreamStatus.KEPT else Tip(row[0] or 0, row[2])

    return look


# -- open, tell, stop


def open_stream(execution_id: uuid.UUID, *, using: str) -> Execution | None:
    """Keep this execution's stream from now on; what interrupts it has had comes first. Once is enough.

    Returns the execution, ``None`` where there is none of that id.
    """
    found = Execution.objects.using(using).filter(pk=execution_id).only("root_id", "stream").first()
    if found is None or found.stream != StreamStatus.NONE:
        return found
    with transaction.atomic(using=using):
        execution, now = lock(execution_id, using)
        if execution.stream == StreamStatus.NONE:
            root = root_of(execution)
            told = _told_by_interrupts(execution_id, using)
            for start in range(0, len(told), BATCH):
                some = told[start : start + BATCH]
                append(root, some, source=execution_id, using=using, look=looking(root, using, now))
            execution.stream = StreamStatus.KEPT
            rows.update(Execution, using=using, where={"id": execution_id}, values={"stream": StreamStatus.KEPT})
    return execution


def _told_by_interrupts(execution_id: uuid.UUID, using: str) -> list[Draft]:
    asked = Interrupt.objects.using(using).filter(execution_id=execution_id)
    times: list[tuple[Any, Draft]] = []
    for pk, opened, decided in asked.values_list("pk", "created_at", "decision__created_at"):
        times.append(((opened, pk, 0), _about(pk, "pause")))
        if decided is not None:
            times.append(((decided, pk, 1), _about(pk, "resume")))
    return [draft for _when, draft in sorted(times, key=lambda pair: pair[0])]


def _about(interrupt: uuid.UUID, action: str) -> Draft:
    # Not the record: that is read from the interrupt's row, which tells the same at any time and can be redacted.
    return Draft(StreamItemKind.INTERRUPT, {"action": action, "interrupt": interrupt.hex})


def tell(transition: Transition, action: str, interrupt: Interrupt) -> None:
    """Tell whoever reads the stream that an interrupt was opened (``pause``) or decided (``resume``), in the
    transaction of that. Costs nothing where the stream is not kept, and never fails what it reports.
    """
    execution = transition.execution
    if execution.stream != StreamStatus.KEPT:
        return
    root = root_of(execution)
    look = looking(root, transition.using, transition.now)
    try:
        with transaction.atomic(using=transition.using):
            append(root, [_about(interrupt.pk, action)], source=execution.pk, using=transition.using, look=look)
    except (OperationalError, InterfaceError):
        raise  # of the transaction, which is tried again
    except DatabaseError:
        counts.lost += 1
        logger.warning("triggerflow.stream.lost", exc_info=True, extra={"execution": execution.pk.hex, "items": 1})


def stop(execution_id: uuid.UUID, *, using: str) -> None:
    """No more items: called after the stop item, by which readers end."""
    Execution.objects.using(using).filter(pk=execution_id, stream=StreamStatus.KEPT).update(stream=StreamStatus.STOPPED)


def is_stopped(execution_id: uuid.UUID, *, using: str) -> bool:
    """Whether a chunk has ended the stream."""
    return Execution.objects.using(using).filter(pk=execution_id, stream=StreamStatus.STOPPED).exists()


def tell_restart(step: Step, *, using: str) -> None:
    """A step begins a further attempt: tell readers, if an earlier one has put items."""
    try:
        with transaction.atomic(using=using):
            _tell_restart(step, using)
    except (OperationalError, InterfaceError):
        raise
    except DatabaseError:
        logger.warning("triggerflow.stream.restart_not_told", exc_info=True, extra={"step": step.pk})


def _tell_restart(step: Step, using: str) -> None:
    owner = Execution.objects.using(using).filter(pk=step.execution_id, stream=StreamStatus.KEPT).only("root_id")
    execution = owner.first()
    if execution is None:
        return
    root = root_of(execution)
    put = StreamItem.objects.using(using).filter(root_id=root, step_id=step.pk).order_by("-sequence")
    if put.values_list("kind", flat=True).first() in (None, StreamItemKind.RESTART):
        return
    again = Draft(StreamItemKind.RESTART, {"step": step.node, "attempt": step.attempt})
    append(root, [again], source=step.execution_id, using=using, look=looking_by(step, root, using), step=step)


# -- deleting


def _trim(root: uuid.UUID, before: int, after: int, using: str) -> None:
    most = conf.get_settings().STREAM_MAX_ITEMS
    slack = max(1, min(_SLACK, most // 10))
    if after > most and before // slack != after // slack:
        StreamItem.objects.using(using).filter(root_id=root, sequence__lte=after - most).delete()


def expire(root: uuid.UUID, *, using: str, most: int = 5_000) -> bool:
    """Delete the stream of an execution that has been closed for long, some of it at a time. Returns whether something
    was done.
    """
    streams = StreamItem.objects.using(using).filter(root_id=root)
    until = streams.order_by("sequence").values_list("sequence", flat=True)[most : most + 1].first()
    if until is not None:
        return bool(streams.filter(sequence__lt=until).delete()[0])
    with transaction.atomic(using=using):
        streams.delete()
        kept = (StreamStatus.KEPT, StreamStatus.STOPPED)
        executions = Execution.objects.using(using).filter(stream__in=kept)
        executions.filter(root_id=root).update(stream=StreamStatus.EXPIRED)
        return bool(executions.filter(pk=root).update(stream=StreamStatus.EXPIRED))
