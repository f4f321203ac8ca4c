"""Claim ready steps: a conditional update puts a drain's lease on them and counts the attempt.

A step whose chunk this process does not have is left alone (no attempt burnt) until the grace is over; then it fails by
name.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from django.db.models import F, QuerySet
from django.db.models.functions import Coalesce

from triggerflow_django import conf, exceptions
from triggerflow_django.definition.graph import Graph
from triggerflow_django.engine import clock, fail, missing, rows, sub_flow
from triggerflow_django.models import Execution, Step, StepKind, StepStatus


def ready(using: str, **which: Any) -> QuerySet[Step]:
    """The steps that could be claimed now, oldest first, with the database's now and their execution's sequence."""
    return (
        Step.objects.using(using)
        .filter(status=StepStatus.READY, available_at__lte=clock.bound(), **which)
        .annotate(db_now=clock.expression(), sequence=F("execution__event_sequence"), root=F("execution__root_id"))
        .order_by("available_at", "pk")
    )


def claim(
    candidates: QuerySet[Step],
    *,
    token: uuid.UUID,
    limit: int,
    graph_of: Callable[[Step], Graph | None],
    grace: float,
    using: str,
    failures: list[BaseException] | None = None,
) -> list[Step]:
    """Claim up to ``limit`` of the candidates (see ``ready``) for one drain.

    Fewer where others were faster or code is missing; ``failures`` gets the errors of steps that failed by that.
    """
    by_execution: dict[uuid.UUID, list[Step]] = {}
    for step in candidates[:limit]:
        by_execution.setdefault(step.execution_id, []).append(step)
    claimed: list[Step] = []
    for found in by_execution.values():
        claimed += claim_found(found, token=token, graph_of=graph_of, grace=grace, using=using, failures=failures)
    return claimed


def claim_found(
    found: Sequence[Step],
    *,
    token: uuid.UUID,
    graph_of: Callable[[Step], Graph | None],
    grace: float,
    using: str,
    failures: list[BaseException] | None = None,
) -> list[Step]:
    """Claim those rows of ``ready`` that are still there to be had; all of them belong to one execution."""
    found = _without_cut_off(found, using)
    known = [step for step in found if missing.is_known(step, graph_of(step))]
    for step in found:
        if step not in known:
            error = set_aside(step, grace=grace, using=using)
            if error is not None and failures is not None:
                failures.append(error)
    if not known:
        return []
    if len(known) == 1:
        return known if _claim_one(known[0], token, using) else []
    candidates = Step.objects.using(using).filter(pk__in=[step.pk for step in known], status=StepStatus.READY)
    lease = conf.get_settings().LEASE_SECONDS
    sequence = Execution.objects.using(using).filter(pk=known[0].execution_id).values("event_sequence")[:1]
    won = candidates.update(
        status=StepStatus.RUNNING,
        attempt=F("attempt") + 1,
        lease_token=token,
        lease_expires_at=clock.expression(plus=lease),
        started_at=clock.expression(),
        missing_since=None,
        first_claim_sequence=Coalesce("first_claim_sequence", sequence),
    )
    if not won:
        return []
    claimed = {
        step.pk: step
        for step in Step.objects.using(using).filter(
            pk__in=[step.pk for step in known], status=StepStatus.RUNNING, lease_token=token
        )
    }
    return [claimed[step.pk] for step in known if step.pk in claimed]


def _without_cut_off(found: Sequence[Step], using: str) -> Sequence[Step]:
    """Without the steps of a sub flow of a closed execution; it is cancelled on the way."""
    if not found or found[0].root is None:  # type: ignore[attr-defined]  # annotated by ready()
        return found
    return [] if sub_flow.cancel_cut_off(found[0].execution_id, using=using) else found


def _claim_one(step: Step, token: uuid.UUID, using: str) -> bool:
    """Claim one row as it was found. Returns whether nobody was faster; then the instance is as the row is."""
    now: dt.datetime = step.db_now  # type: ignore[attr-defined]  # annotated by ready()
    first = step.first_claim_sequence
    values: dict[str, Any] = {
        "status": StepStatus.RUNNING,
        "attempt": step.attempt + 1,
        "lease_token": token,
        "lease_expires_at": now + dt.timedelta(seconds=conf.get_settings().LEASE_SECONDS),
        "started_at": now,
        "missing_since": None,
        "first_claim_sequence": step.sequence if first is None else first,  # type: ignore[attr-defined]
    }
    guard = {"id": step.pk, "status": StepStatus.READY, "attempt": step.attempt}
    if not rows.update(Step, using=using, where=guard, values=values):
        return False
    for name, value in values.items():
        setattr(step, name, value)
    return True


def set_aside(step: Step, *, grace: float, using: str) -> BaseException | None:
    """Note since when a step's code has been missing and look again later; after the grace, fail it by name.

    Returns the error if it failed.
    """
    now = clock.read(using)
    since = step.missing_since or now
    if (now - since).total_seconds() >= grace:
        error = exceptions.MissingChunkError(
            f"the code has no {'chunk' if step.kind == StepKind.CHUNK else 'node'} {missing.standing_on(step)!r} "
            "any more; "
            "bring it back (or name a chunk so) and retry the step"
        )
        return error if fail.missing(step, error, using=using) else None
    again = now + dt.timedelta(seconds=min(max(grace / 20, 1.0), 30.0))
    Step.objects.using(using).filter(pk=step.pk, status=StepStatus.READY).update(
        missing_since=since, available_at=again
    )
    return None
