"""Whether the code still has what a step stands on (design.md 5.16).

A chunk's step needs its chunk. A deferred signal needs the place it left: an answer given while the flow's node was
gone must wait for the node, not vanish because nobody listens.
"""

from __future__ import annotations

from triggerflow_django.definition.graph import TRIGGER_TYPES, Graph
from triggerflow_django.engine import family
from triggerflow_django.models import Step, StepKind


def is_known(step: Step, graph: Graph | None) -> bool:
    """Whether this graph has the code the step stands on."""
    if graph is None:
        return False
    node = standing_on(step)
    if step.kind == StepKind.CHUNK:
        return graph.chunk(node) is not None
    if step.kind == StepKind.SUB_FLOW:
        return family.sub_flow_of(graph, node) is not None
    return not node or node in graph.nodes


def standing_on(step: Step) -> str:
    """The node a step stands on; empty for a deferred signal that came from outside the graph (START, an event, a state
    key).
    """
    if step.node:
        return step.node
    kind, _, place = step.source.partition(":")
    if kind in TRIGGER_TYPES:
        return ""
    return place.rpartition("/")[0] if kind == "branch" else place
