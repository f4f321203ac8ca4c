"""Claim ready steps: a conditional update puts a drain's lease on them and counts the attempt.

A step whose chunk this process does not have is left alone (no attempt burnt) until the grace is over; then it fails by
name.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from typing import Any

from django.db.models import F, QuerySet
from django.db.models.functions import Coalesce

from triggerflow_django import conf, exceptions
from triggerflow_django.definition.graph import Graph
from triggerflow_django.engine import clock, fail, missing
from triggerflow_django.models import Execution, Step, StepKind, StepStatus


def ready(using: str, **which: Any) -> QuerySet[Step]:
    """The steps that could be claimed now, oldest first."""
    return (
        Step.objects.using(using)
        .filter(status=StepStatus.READY, available_at__lte=clock.expression(), **which)
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
) -> list[Step]:
    """Claim up to ``limit`` of the candidates for one drain. Fewer where others were faster or code is missing."""
    found = list(candidates[:limit])
    known = [step for step in found if missing.is_known(step, graph_of(step))]
    for step in found:
        if step not in known:
            set_aside(step, grace=grace, using=using)
    if not known:
        return []
    rows = Step.objects.using(using).filter(pk__in=[step.pk for step in known], status=StepStatus.READY)
    lease = conf.get_settings().LEASE_SECONDS
    # One execution's sequence at a time: a drain that claims across executions claims one step.
    sequence = Execution.objects.using(using).filter(pk=known[0].execution_id).values("event_sequence")[:1]
    won = rows.update(
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


def set_aside(step: Step, *, grace: float, using: str) -> None:
    """Note since when a step's code has been missing and look again later; after the grace, fail it by name."""
    now = clock.read(using)
    since = step.missing_since or now
    if (now - since).total_seconds() >= grace:
        error = exceptions.MissingChunkError(
            f"the code has no {'chunk' if step.kind == StepKind.CHUNK else 'node'} {missing.standing_on(step)!r} "
            "any more; "
            "bring it back (or name a chunk so) and retry the step"
        )
        fail.missing(step, error, using=using)
        return
    again = now + dt.timedelta(seconds=min(max(grace / 20, 1.0), 30.0))
    Step.objects.using(using).filter(pk=step.pk, status=StepStatus.READY).update(
        missing_since=since, available_at=again
    )
