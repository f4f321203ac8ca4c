"""Drive the engine by hand: one verb, one claim, one commit at a time, so that a test chooses what happens in between.

``start``, ``claim``, ``run`` and ``drain`` act on the default database; ``consistent`` holds an execution's rows
against each other.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from django.db import models
from django.db.models import Q

from triggerflow_django import TriggerFlow
from triggerflow_django.engine import claim as claims
from triggerflow_django.engine import decide as deciding
from triggerflow_django.engine import drain as drains
from triggerflow_django.engine import start as starting
from triggerflow_django.engine import status, sub_flow
from triggerflow_django.engine.commit import Committed
from triggerflow_django.engine.facts import Facts
from triggerflow_django.models import (
    ACTIVE_STATUSES,
    Decision,
    Door,
    Event,
    Execution,
    Interrupt,
    InterruptStatus,
    Join,
    JoinSlot,
    Lifecycle,
    Runner,
    State,
    Step,
    StepStatus,
)
from triggerflow_django.models.fields import new_id
from triggerflow_django.runtime.resources import Resources

USING = "default"


def new(flow: TriggerFlow, **changes: Any) -> starting.NewExecution:
    """An execution to be started: inline, and without closing by itself."""
    values: dict[str, Any] = {"runner": Runner.INLINE, "auto_close": False, "skip_exceptions": flow.skip_exceptions}
    return starting.NewExecution(id=new_id(), flow_name=flow.name, graph=flow.graph, **(values | changes))


def start(flow: TriggerFlow, value: Any = None, **changes: Any) -> uuid.UUID:
    """Start an execution and run nothing of it."""
    pk, _began = starting.start(new(flow, **changes), value, using=USING)
    return pk


def settled(flow: TriggerFlow, value: Any = None, **changes: Any) -> uuid.UUID:
    """Start an execution and run it until nothing is left to do, whatever fails on the way."""
    pk = start(flow, value, **changes)
    drain(pk, flow)
    return pk


def drainer(pk: uuid.UUID, flow: TriggerFlow) -> drains.InlineDrain:
    """A drain with a lease token of its own."""
    return drains.InlineDrain(
        Facts.of(row(pk)), using=USING, graph=flow.graph, resources_of=lambda _facts: Resources({})
    )


def drain(pk: uuid.UUID, flow: TriggerFlow) -> list[BaseException]:
    """Run what is ready until nothing is left. Returns the errors of steps that failed for good."""
    running = drainer(pk, flow)
    running.run()
    return running.failures


def claim(pk: uuid.UUID, flow: TriggerFlow, *, token: uuid.UUID | None = None, grace: float = 0.0) -> list[Step]:
    """Claim everything of an execution that is ready, for one drain."""
    return claims.claim(
        claims.ready(USING, execution_id=pk),
        token=token or uuid.uuid4(),
        limit=100,
        graph_of=lambda _step: flow.graph,
        grace=grace,
        using=USING,
    )


def claimed(pk: uuid.UUID, flow: TriggerFlow) -> tuple[drains.InlineDrain, Step]:
    """A drain that has claimed the execution's only ready step."""
    running = drainer(pk, flow)
    (step,) = claim(pk, flow, token=running.context.token)
    return running, step


def run(running: drains.InlineDrain, step: Step) -> Committed:
    """Run one claimed step to its commit, and nothing after it."""
    running.context.nested = True  # sync code only: no heartbeat, each chunk in a savepoint
    return drains.drive(running, step)


def finish(running: drains.InlineDrain, step: Step) -> None:
    """Run one claimed step, and then what its commit carried on to this drain."""
    for carried in run(running, step).carried:
        finish(running, carried)


def decide(
    pk: uuid.UUID, interrupt_id: str, payload: Any = None, *, flow: TriggerFlow | None = None, **options: Any
) -> dict[str, Any]:
    """Answer an interrupt through the door ``code``, unless told another, and run nothing of what follows.

    Without the flow, what follows is left to a step that routes it.
    """
    values: dict[str, Any] = {"door": Door.CODE, "graph": flow.graph if flow is not None else None}
    return deciding.decide(pk, interrupt_id, payload, using=USING, **(values | options))


def row(pk: uuid.UUID) -> Execution:
    """The execution as committed."""
    return Execution.objects.get(pk=pk)


def step(pk: uuid.UUID, node: str) -> Step:
    """The newest step of a node."""
    return Step.objects.filter(execution_id=pk, node=node).order_by("pk").reverse()[0]


def statuses(pk: uuid.UUID) -> dict[str, str]:
    """Status of the newest step, by node."""
    return dict(Step.objects.filter(execution_id=pk).order_by("pk").values_list("node", "status"))


def state(pk: uuid.UUID) -> dict[str, Any]:
    """The committed state."""
    return State.objects.filter(execution_id=pk).values_list("data", flat=True).first() or {}


def interrupt(pk: uuid.UUID, interrupt_id: str) -> Interrupt:
    """The newest interrupt under an id."""
    return Interrupt.objects.filter(execution_id=pk, interrupt_id=interrupt_id).order_by("round").reverse()[0]


def history(pk: uuid.UUID) -> list[str]:
    """The kinds of the execution's events, in order."""
    return [
        str(kind) for kind in Event.objects.filter(execution_id=pk).order_by("sequence").values_list("kind", flat=True)
    ]


def everything(pk: uuid.UUID) -> dict[str, list[dict[str, Any]]]:
    """Every stored column of every row of an execution, to see that nothing has changed."""
    tables: list[type[models.Model]] = [State, Step, Join, Interrupt, Decision, Event]
    found = {
        model.__name__: list(model._base_manager.filter(execution_id=pk).order_by("pk").values()) for model in tables
    }
    slots = JoinSlot.objects.filter(join__execution_id=pk).order_by("pk").values()
    return {"Execution": list(Execution.objects.filter(pk=pk).values()), "JoinSlot": list(slots), **found}


def counted(pk: uuid.UUID) -> tuple[int, int, int]:
    """Active steps, waiting interrupts and failed steps, counted from their rows."""
    steps = Step.objects.filter(execution_id=pk)
    return (
        steps.filter(status__in=ACTIVE_STATUSES).count(),
        Interrupt.objects.filter(execution_id=pk, status=InterruptStatus.WAITING).count(),
        steps.filter(status=StepStatus.FAILED).count(),
    )


def consistent(pk: uuid.UUID) -> Execution:
    """The execution, once its counters, status, history and decisions agree with its rows."""
    execution = row(pk)
    active, pending, failed = counted(pk)
    assert (execution.active_steps, execution.pending_interrupts) == (active, pending)
    assert execution.failed_steps == (0 if execution.skip_exceptions else failed)
    assert execution.status == status.derive(execution)
    assert (execution.lifecycle == Lifecycle.CLOSED) == (execution.snapshot is not None)
    if execution.lifecycle == Lifecycle.CLOSED:
        assert (active, pending) == (0, 0)
        assert execution.snapshot == state(pk)
    sequences = list(Event.objects.filter(execution_id=pk).order_by("sequence").values_list("sequence", flat=True))
    assert sequences == list(range(1, execution.event_sequence + 1))
    asked = Interrupt.objects.filter(execution_id=pk)
    assert not asked.exclude(Q(status=InterruptStatus.RESUMED, decision__isnull=False)).filter(
        Q(status=InterruptStatus.RESUMED) | Q(decision__isnull=False)
    )
    paused = Step.objects.filter(execution_id=pk, status=StepStatus.PAUSED).order_by("pk").values_list("pk", flat=True)
    waiting = asked.filter(status=InterruptStatus.WAITING).order_by("step_id").values_list("step_id", flat=True)
    assert list(paused) == list(waiting)
    assert Decision.objects.filter(execution_id=pk, interrupt__isnull=True).count() == 0
    waited_for = Step.objects.filter(execution_id=pk, status=StepStatus.DELEGATED).order_by("pk")
    children = Execution.objects.filter(parent_step_id__in=Step.objects.filter(execution_id=pk).values("pk"))
    running = children.exclude(lifecycle=Lifecycle.CLOSED).order_by("parent_step_id")
    if not execution.cancels_sub_flows:
        assert list(waited_for.values_list("pk", flat=True)) == list(running.values_list("parent_step_id", flat=True))
    assert {sub_flow.child_id(each) for each in waited_for} == set(
        running.filter(parent_step_id__in=waited_for.values("pk")).values_list("pk", flat=True)
    )
    return execution


def nothing() -> Callable[[Any], None]:
    """A chunk that does nothing."""

    def chunk(_data: Any) -> None:
        return None

    return chunk
