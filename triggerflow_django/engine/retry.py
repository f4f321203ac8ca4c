"""Retry failed steps: an operator's or the code's act, recorded.

It never resumes an interrupt and never moves past a waiting one.
"""

from __future__ import annotations

import uuid
from typing import Any

from triggerflow_django import exceptions
from triggerflow_django.definition.graph import Graph
from triggerflow_django.engine import actor as actors
from triggerflow_django.engine import places
from triggerflow_django.engine.transition import begin
from triggerflow_django.models import EventKind, Step, StepStatus


def retry(
    execution_id: uuid.UUID,
    *,
    using: str,
    step_id: int | None = None,
    actor: Any = None,
    reason: str = "",
    graph: Graph | None = None,
) -> int:
    """Make failed steps ready again, with their retries and lost workers counted anew: one of them, or all. Returns how
    many.

    Raises: UnknownStepError where there is no such failed step; ExecutionNotOpenError where the execution is closed.
    """
    reason = actors.words(reason, root="reason")
    with begin(execution_id, using=using, graph=graph) as transition:
        execution = transition.execution
        if execution.is_closed:
            raise exceptions.ExecutionNotOpenError(
                f"execution {execution.id.hex} is closed ({execution.status}): retry refused"
            )
        failed = Step.objects.using(using).filter(execution_id=execution.pk, status=StepStatus.FAILED)
        if step_id is not None:
            failed = failed.filter(pk=step_id)
        steps = list(failed.order_by("pk"))
        if not steps:
            which = "no failed step" if step_id is None else f"no failed step {step_id}"
            raise exceptions.UnknownStepError(f"execution {execution.id.hex} has {which}")
        for step in steps:
            places.admit(transition, step)
            status = step.status if step.scope else StepStatus.READY
            Step.objects.using(using).filter(pk=step.pk, status=StepStatus.FAILED).update(
                status=status,
                held_by=step.held_by,
                failures=0,
                lost=0,
                missing_since=None,
                available_at=transition.now,
                finished_at=None,
            )
            if status == StepStatus.READY:
                transition.woken[step.queue] += 1
            transition.add_event(
                EventKind.STEP_RETRIED, name=step.node, actor=actors.of(actor), data={"step": step.pk, "reason": reason}
            )
        execution.active_steps += len(steps)
        if not execution.skip_exceptions:
            execution.failed_steps -= len(steps)
    return len(steps)
