"""Who is whose sub flow: the executions above and below one, and the graph a child runs with. Reads rows only.

A child's flow is found through the node of its parent's graph, so a process that knows the outermost flow knows all of
its sub flows, registered or not.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.db.models import Q

from triggerflow_django import exceptions
from triggerflow_django.definition import registry
from triggerflow_django.definition.flow import FlowDefinition
from triggerflow_django.definition.graph import Graph
from triggerflow_django.definition.sub_flow import SubFlow
from triggerflow_django.models import (
    ACTIVE_STATUSES,
    Execution,
    Interrupt,
    InterruptStatus,
    Lifecycle,
    Step,
    StepStatus,
)

#: What somebody runs, or will run as soon as a limit lets it.
BUSY = tuple(status for status in ACTIVE_STATUSES if status != StepStatus.DELEGATED)


@dataclass(frozen=True, slots=True)
class Ancestor:
    """An execution above another, and the node of it under which that one runs."""

    id: uuid.UUID
    flow_name: str
    node: str


@lru_cache(maxsize=10_000)
def ancestors(pk: uuid.UUID, using: str) -> tuple[Ancestor, ...]:
    """The executions above one, its parent first. Never changes, so it is asked once."""
    row = Execution.objects.using(using).only("parent_step_id").get(pk=pk)
    if row.parent_step_id is None:
        return ()
    steps = Step.objects.using(using).select_related("execution").only("node", "execution__flow_name")
    step = steps.filter(pk=row.parent_step_id).first()
    if step is None:  # deleted by somebody, with the execution
        return ()
    parent = Ancestor(step.execution_id, step.execution.flow_name, step.node)
    return (parent, *ancestors(parent.id, using))


def sub_flow_of(graph: Graph | None, node: str) -> SubFlow | None:
    """The sub flow under a node; ``None`` where the code does not have it any more."""
    found = graph.nodes.get(node) if graph is not None else None
    return found.sub_flow if found is not None else None


def registered(flow_name: str) -> Graph | None:
    """The graph registered under a flow's name."""
    flow = registry.find(flow_name)
    return flow.graph if flow is not None else None


def graph_of(
    execution: Execution, *, using: str, known: Callable[[uuid.UUID], Graph | None] = lambda _pk: None
) -> Graph | None:
    """The graph an execution runs with in this process, or ``None``.

    ``known``: the graphs of executions the caller holds, by their ids; above those nobody needs to look.
    """
    graph = known(execution.pk)
    if graph is not None or execution.root_id is None:
        return graph or registered(execution.flow_name)
    path: list[str] = []
    names = [execution.flow_name]
    for ancestor in ancestors(execution.pk, using):
        path.append(ancestor.node)
        names.append(ancestor.flow_name)
        graph = known(ancestor.id)
        if graph is not None:
            break
    graph = graph or registered(names[-1])
    for node, name in zip(reversed(path), reversed(names[:-1]), strict=True):
        inner = sub_flow_of(graph, node)
        graph = inner.flow.graph if inner is not None else registered(name)
    return graph


def flow_of(execution: Execution, *, using: str) -> FlowDefinition | None:
    """The flow of an execution as this process knows it: the registered one, or of a sub flow the one its parent
    contains.
    """
    above = ancestors(execution.pk, using) if execution.root_id is not None else ()
    if above:
        parent = Execution.objects.using(using).only("flow_name", "root_id").get(pk=above[0].id)
        inner = sub_flow_of(graph_of(parent, using=using), above[0].node)
        if inner is not None:
            return inner.flow
    return registry.find(execution.flow_name)


# -- above


def is_cut_off(execution_id: uuid.UUID, *, using: str) -> bool:
    """Whether an execution above this one is closed, so that nothing of it may run any more."""
    above = [ancestor.id for ancestor in ancestors(execution_id, using)]
    return Execution.objects.using(using).filter(pk__in=above, lifecycle=Lifecycle.CLOSED).exists()


def require_open_above(execution: Execution, doing: str, *, using: str) -> None:
    """Refuse what comes from outside where an execution above is sealed or closed.

    Raises: ExecutionNotOpenError, saying which.
    """
    if execution.root_id is None:
        return
    above = [ancestor.id for ancestor in ancestors(execution.pk, using)]
    shut = Execution.objects.using(using).filter(pk__in=above).exclude(lifecycle=Lifecycle.OPEN)
    found = shut.only("lifecycle", "status", "flow_name").first()
    if found is not None:
        raise exceptions.ExecutionNotOpenError(
            f"execution {execution.id.hex} is a sub flow of {found.id.hex} of flow {found.flow_name!r}, which is "
            f"{found.lifecycle} ({found.status}): {doing} refused"
        )


def is_open_above(execution: Execution, *, using: str) -> bool:
    """Whether every execution above is open."""
    try:
        require_open_above(execution, "", using=using)
    except exceptions.ExecutionNotOpenError:
        return False
    return True


# -- below


def children(pk: uuid.UUID, using: str) -> Any:
    """The executions that are sub flows of this one: open and closed, oldest first."""
    steps = Step.objects.using(using).filter(execution_id=pk).values("pk")
    return Execution.objects.using(using).filter(parent_step_id__in=steps).order_by("created_at", "pk")


def below(pk: uuid.UUID, using: str, *, prefix: str = "") -> Q:
    """Picks what belongs to executions below this one. ``prefix``: where the execution stands (``execution__``)."""
    root = Execution.objects.using(using).filter(pk=pk).values_list("root_id", flat=True).first()
    if root is None:
        return Q(**{f"{prefix}root_id": pk})
    found: list[uuid.UUID] = []
    level = [pk]
    while level:
        steps = Step.objects.using(using).filter(execution_id__in=level, status=StepStatus.DELEGATED)
        inner = Execution.objects.using(using).filter(parent_step_id__in=list(steps.values_list("pk", flat=True)))
        level = list(inner.values_list("pk", flat=True))
        found += level
    return Q(**{f"{prefix}pk__in": found})


def is_busy(pk: uuid.UUID, using: str) -> bool:
    """Whether a step of this execution or of one below runs, or is ready, or held."""
    steps = Step.objects.using(using).filter(status__in=BUSY)
    if steps.filter(execution_id=pk).exists():
        return True
    inner = steps.filter(below(pk, using, prefix="execution__")).exclude(execution__lifecycle=Lifecycle.CLOSED)
    return inner.exists()


def waiting_below(pk: uuid.UUID, using: str) -> Any:
    """The waiting interrupts of the executions below this one."""
    return (
        Interrupt.objects.using(using)
        .filter(below(pk, using, prefix="execution__"), status=InterruptStatus.WAITING)
        .exclude(execution__lifecycle=Lifecycle.CLOSED)
    )
