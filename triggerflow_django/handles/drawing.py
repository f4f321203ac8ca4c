"""``execution.to_svg()``: the flow's diagram, coloured by how far an execution is."""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from typing import Final

from django.db.models import Count

from triggerflow_django import diagrams
from triggerflow_django.definition.graph import Graph
from triggerflow_django.engine import family
from triggerflow_django.handles.part import HandlePart
from triggerflow_django.models import Join, JoinStatus, Step, StepStatus

#: What a step's status is called in a diagram, the most urgent first: a node shows that of all its steps.
_SHOWN: Final[dict[str, diagrams.State]] = {
    StepStatus.FAILED: "failed",
    StepStatus.PAUSED: "waiting",
    StepStatus.RUNNING: "running",
    StepStatus.READY: "running",
    StepStatus.HELD: "running",
    StepStatus.DELEGATED: "running",
    StepStatus.CANCELLED: "cancelled",
    StepStatus.DONE: "done",
}
_ORDER: Final[tuple[diagrams.State, ...]] = ("failed", "waiting", "running", "cancelled", "done")


class DiagramStates:
    """How far an execution is, as ``diagrams.svg`` takes it: by node id a state, and how often it was there."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._seen: dict[str, set[diagrams.State]] = defaultdict(set)

    def add(self, node: str, state: diagrams.State, count: int = 0) -> None:
        """Say that a node has been seen in a state."""
        self._seen[node].add(state)
        self.counts[node] += count

    @property
    def states(self) -> dict[str, diagrams.State]:
        """By node the most urgent of the states it was seen in."""
        return {node: next(state for state in _ORDER if state in seen) for node, seen in self._seen.items()}


def diagram_states(pk: uuid.UUID, graph: Graph, *, using: str) -> DiagramStates:
    """What the rows of an execution say about the nodes of its flow. (A database function.)

    A sub flow counts as waiting where a question is open in it, or below it.
    """
    found = DiagramStates()
    steps = Step.objects.using(using).filter(execution_id=pk).order_by()
    for node, status, count in steps.values_list("node", "status").annotate(count=Count("pk")):
        found.add(node, _SHOWN[status], count)
    joins = Join.objects.using(using).filter(execution_id=pk).order_by()
    for node, status in joins.values_list("node", "status").distinct():
        fired = status == JoinStatus.FIRED
        if node in graph.nodes and graph.nodes[node].kind == "end":
            found.add(node, "done" if fired else "running")
            found.add(graph.nodes[node].partner, "done")
        elif fired:
            found.add(node, "done")
    if graph.has_sub_flows:
        below = family.waiting_below(pk, using).order_by().values_list("execution_id", flat=True).distinct()
        for child in below:
            for ancestor in family.ancestors(child, using):
                if ancestor.id == pk:
                    found.add(ancestor.node, "waiting")
    return found


class DrawingMethods(HandlePart):
    """The part of the handle that draws it."""

    @property
    def graph_for_routing(self) -> Graph:
        """The flow's graph as it was when this handle was made."""
        raise NotImplementedError

    def to_svg(self, mode: diagrams.Mode = "detailed") -> str:
        """The flow's diagram with what is done, running, waiting, failed or cancelled in this execution, and how often
        it came there; one ``<svg>`` element, see ``flow.to_svg``.

        Raises: DefinitionError (a ValueError) for another mode.
        """
        svg: str = self._read(_svg, self.graph_for_routing, mode)
        return svg

    async def async_to_svg(self, mode: diagrams.Mode = "detailed") -> str:
        """See ``to_svg``."""
        svg: str = await self._async_read(_svg, self.graph_for_routing, mode)
        return svg


def _svg(pk: uuid.UUID, using: str, graph: Graph, mode: diagrams.Mode) -> str:
    found = diagram_states(pk, graph, using=using)
    return diagrams.svg(graph, found.states, found.counts, mode=mode)
