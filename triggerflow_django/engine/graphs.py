"""Which graph a verb may route with: the flow as this process knows it, if that is the flow as the execution last
ran.
"""

from __future__ import annotations

from triggerflow_django.definition.graph import Graph
from triggerflow_django.engine import family
from triggerflow_django.models import Execution


def usable(execution: Execution, graph: Graph | None, using: str) -> Graph | None:
    """``graph``, or the registered one, if its shape is the one the execution last ran with; else ``None``: leave
    routing to a worker.
    """
    candidate = graph if graph is not None else family.graph_of(execution, using=using)
    if candidate is None or candidate.fingerprint != execution.flow_fingerprint:
        return None
    return candidate
