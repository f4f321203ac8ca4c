"""An execution in words, for the message of an assertion that failed: how it stands, and each of its steps."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Final

from triggerflow_django.engine import clock
from triggerflow_django.models import Execution, Interrupt, InterruptStatus, Step, StepKind, StepStatus

_LONGEST_ERROR: Final = 200


def describe(pk: uuid.UUID, using: str) -> str:
    """A line about the execution, and one for each step in the order in which they came to be."""
    row = Execution.objects.using(using).filter(pk=pk).defer("input", "snapshot").first()
    if row is None:
        return f"execution {pk.hex} is not stored yet: nothing has been started, emitted or written"
    head = f"execution {row.id.hex} of flow {row.flow_name!r} is {row.status} ({row.lifecycle})"
    steps = list(Step.objects.using(using).filter(execution_id=pk).defer("input", "output").order_by("pk"))
    if not steps:
        return f"{head}; it has no steps"
    interrupts = Interrupt.objects.using(using).filter(execution_id=pk, status=InterruptStatus.WAITING)
    waiting = {interrupt.step_id: interrupt for interrupt in interrupts}
    now = clock.read(using)
    width = max(len(_name(step)) for step in steps)
    lines = [
        f"  {number}. {_name(step):<{width}}  {_standing(step, waiting.get(step.pk), now)}"
        for number, step in enumerate(steps, 1)
    ]
    return "\n".join([f"{head}; its steps:", *lines])


def _name(step: Step) -> str:
    return step.node if step.kind == StepKind.CHUNK else f"(routing of {step.source})"


def _standing(step: Step, waiting: Interrupt | None, now: dt.datetime) -> str:
    told = [str(step.status)]
    if waiting is not None:
        told.append(f"waiting for {waiting.type!r}, interrupt id {waiting.interrupt_id!r}{_when(waiting.due_at, now)}")
    if step.status == StepStatus.READY and step.available_at > now:
        told.append(f"backing off{_when(step.available_at, now)}")
    if step.error and step.status != StepStatus.DONE:
        error = f"{step.error.get('type')}: {step.error.get('message')}"
        told.append(f"attempt {step.attempt}: {error[:_LONGEST_ERROR]}")
    return ", ".join(told)


def _when(moment: dt.datetime | None, now: dt.datetime) -> str:
    if moment is None:
        return ""
    left = dt.timedelta(seconds=round((moment - now).total_seconds()))
    return f", due in {left}" if left > dt.timedelta() else ", due now"
