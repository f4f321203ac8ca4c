"""Run a flow inline on the real engine and hold its rows against each other at every stop.

``run`` gives the state once nothing is left to do, ``begin`` the handle, ``answer`` decides and goes on, ``balanced``
says that nothing got lost: counters, limits, joins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from triggerflow_django import TriggerFlow, TriggerFlowExecution
from triggerflow_django.engine import status
from triggerflow_django.models import (
    ACTIVE_STATUSES,
    Execution,
    Interrupt,
    InterruptStatus,
    Join,
    JoinStatus,
    Step,
    StepStatus,
)

#: Steps on which something below a join may still wait.
LIVE = (*ACTIVE_STATUSES, StepStatus.PAUSED, StepStatus.FAILED)


def begin(flow: TriggerFlow, value: Any = None, **options: Any) -> TriggerFlowExecution:
    """Start it and run what is ready; the books are balanced."""
    execution = flow.create_execution(auto_close=False, **options)
    execution.start(value)
    balanced(execution)
    return execution


def run(flow: TriggerFlow, value: Any = None, **options: Any) -> dict[str, Any]:
    """The state once nothing is left to do; nothing is left over either."""
    execution = begin(flow, value, **options)
    nothing_is_left(execution)
    state: dict[str, Any] = execution.get_state()
    return state


def broken(flow: TriggerFlow, value: Any, error: type[BaseException]) -> tuple[TriggerFlowExecution, BaseException]:
    """Start a flow of which a chunk fails: the handle, and what start raised."""
    execution = flow.create_execution(auto_close=False)
    try:
        execution.start(value)
    except error as raised:
        balanced(execution)
        return execution, raised
    raise AssertionError(f"start raised no {error.__name__}")


def answer(execution: TriggerFlowExecution, interrupt_id: str, value: Any = None) -> None:
    """Decide one interrupt and run what follows; the books are balanced."""
    execution.continue_with(interrupt_id, value)
    balanced(execution)


def pending(execution: TriggerFlowExecution) -> list[str]:
    """The ids of the waiting interrupts, sorted."""
    return sorted(execution.get_pending_interrupts())


def log(execution: TriggerFlowExecution, key: str = "log") -> Any:
    """What ``append(key)`` chunks have noted."""
    return execution.get_state(key, [])


# -- chunks


def keep(key: str = "out") -> Callable[[Any], Any]:
    """A chunk that stores its input under a key and passes it on."""

    def keeper(data: Any) -> Any:
        data.set_state(key, data.input)
        return data.input

    return keeper


def append(key: str = "log") -> Callable[[Any], Any]:
    """A chunk that appends its input to a list and passes it on."""

    def appender(data: Any) -> Any:
        data.append_state(key, data.input)
        return data.input

    return appender


def same(data: Any) -> Any:
    """A chunk that passes its input on."""
    return data.input


class Flaky:
    """A chunk that raises a number of times before it gives its input."""

    def __init__(self, times: int) -> None:
        self.left = times
        self.attempts: list[int] = []

    def __call__(self, data: Any) -> Any:
        self.attempts.append(data.attempt)
        data.append_state("log", data.attempt)
        if self.left:
            self.left -= 1
            raise LookupError(f"attempt {data.attempt}")
        return data.input


# -- the books


def steps(execution: TriggerFlowExecution, *statuses: str) -> list[Step]:
    """Its steps, oldest first; those in one of the statuses, if any are given."""
    found = Step.objects.filter(execution_id=execution.pk).order_by("pk")
    return list(found.filter(status__in=statuses) if statuses else found)


def nodes(execution: TriggerFlowExecution, *statuses: str) -> list[str]:
    """The nodes of its steps, oldest first."""
    return [step.node for step in steps(execution, *statuses)]


def joins(execution: TriggerFlowExecution, **which: Any) -> list[Join]:
    """Its joins, oldest first."""
    return list(Join.objects.filter(execution_id=execution.pk, **which).order_by("pk"))


def balanced(execution: TriggerFlowExecution) -> None:
    """Counters, status, places and joins agree with the steps; nobody is held back by a limit that has room."""
    row = Execution.objects.get(pk=execution.pk)
    every = steps(execution)
    by_status = [step.status for step in every]
    assert row.active_steps == sum(status in ACTIVE_STATUSES for status in by_status)
    assert row.failed_steps == (0 if row.skip_exceptions else by_status.count(StepStatus.FAILED))
    waiting = Interrupt.objects.filter(execution_id=row.pk, status=InterruptStatus.WAITING).count()
    assert row.pending_interrupts == waiting == by_status.count(StepStatus.PAUSED)
    assert row.status == status.derive(row)
    if row.concurrency is not None and row.lifecycle != "closed":
        inside = [step for step in every if step.status in (StepStatus.READY, StepStatus.RUNNING)]
        assert row.places == len(inside) <= row.concurrency, f"{row.places} places, {inside}"
        if row.places < row.concurrency:
            assert not [step for step in every if step.held_by == "*"], "the execution has room"
    for join in joins(execution):
        below = [step for step in every if join.activation in activations(step)]
        if join.concurrency is not None:
            inside = [step for step in below if has_place(step, join)]
            assert join.places == len(inside) <= join.concurrency, f"{join.node}: {join.places} places, {inside}"
            if join.places < join.concurrency:
                assert not [step for step in below if step.held_by == join.activation], f"{join.node} has room"
        if join.status == JoinStatus.OPEN and join.node.endswith("/end") and not row.skip_exceptions:
            assert any(step.status in LIVE for step in below), f"{join} is open and nothing below it lives"


def activations(step: Step) -> list[str]:
    """The fan-outs a step belongs to, outermost first."""
    return [mark[1] for mark in step.scope]


def has_place(step: Step, join: Join) -> bool:
    """Whether a step has one of a join's places: while it is ready or running, or waits for a limit further out."""
    if step.status == StepStatus.HELD:
        order = activations(step)
        if step.held_by == "*":
            return True
        return order.index(step.held_by) < order.index(join.activation)
    return step.status in (StepStatus.READY, StepStatus.RUNNING)


def nothing_is_left(execution: TriggerFlowExecution) -> None:
    """Every step is done, every fan-out joined, nothing failed or waits."""
    row = Execution.objects.get(pk=execution.pk)
    assert (row.active_steps, row.pending_interrupts, row.failed_steps) == (0, 0, 0)
    assert {step.status for step in steps(execution)} <= {StepStatus.DONE}
    assert not [join for join in joins(execution, status=JoinStatus.OPEN) if join.node.endswith("/end")]
    assert not joins(execution, places__gt=0, concurrency__isnull=False)
    paths = [step.path for step in steps(execution)]
    assert len(set(paths)) == len(paths), "two steps share an idempotency key"
