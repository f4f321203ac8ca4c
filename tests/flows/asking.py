"""Chunks that ask and chunks that watch, and somebody who answers in an order of chance."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from tests.flows import running
from triggerflow_django import TriggerFlowExecution
from triggerflow_django.models import Step, StepStatus


def asks_if(condition: Callable[[int], bool]) -> Callable[[Any], Any]:
    """A chunk that asks for numbers for which the condition holds, and passes the others on."""

    def chunk(data: Any) -> Any:
        number = data.input
        return data.pause_for(interrupt_id=f"q{number}") if condition(number) else number

    return chunk


def watching(most: list[int]) -> Callable[[Any], Any]:
    """A chunk that notes how many steps inside of a fan-out are ready or running with it."""

    def chunk(data: Any) -> Any:
        alive = Step.objects.filter(status__in=[StepStatus.READY, StepStatus.RUNNING])
        most.append(sum(1 for step in alive if step.scope))
        return data.input

    return chunk


def answered_in_any_order(execution: TriggerFlowExecution, seed: int) -> int:
    """Answer whatever waits, in an order of chance, until nothing does. Returns how many answers that took."""
    order = random.Random(seed)  # noqa: S311 - an order, not a secret
    count = 0
    while waiting := running.pending(execution):
        interrupt_id = order.choice(waiting)
        running.answer(execution, interrupt_id, int(interrupt_id.split()[0][1:]))
        count += 1
    return count
