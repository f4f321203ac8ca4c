"""A drain, as the programs of its steps see it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from triggerflow_django.definition.graph import Graph
from triggerflow_django.engine.facts import Facts
from triggerflow_django.engine.heartbeat import Lease
from triggerflow_django.engine.kin import Kin, KinMethods
from triggerflow_django.models import Execution, Step
from triggerflow_django.runtime.resources import Resources


@dataclass(slots=True, kw_only=True)
class RunContext(KinMethods):
    """What the steps of one drain have in common; with what is known of the executions they belong to."""

    using: str
    token: uuid.UUID
    #: The graph by which a step of this execution runs here, or ``None`` where this process does not have the flow.
    graph_of: Callable[[Facts], Graph | None]
    resources_of: Callable[[Facts], Resources]
    #: What chunks see as ``data.execution``; ``None``: they find it by id.
    handle: Any = None
    #: The drain's hold on its steps; ``None`` inside somebody else's transaction, which no heartbeat could see into.
    lease: Lease | None = None
    #: Inside somebody else's transaction: one chunk at a time, each in a savepoint.
    nested: bool = False
    #: Whether the drain will run one more step; else the successor is left to others.
    goes_on: Callable[[], bool] = lambda: True
    #: Errors of steps that failed for good in this drain, oldest first.
    failures: list[BaseException] = field(default_factory=list)
    facts: dict[uuid.UUID, Facts] = field(default_factory=dict)
    #: What is known of sub flows, and what was set in them as resources.
    kin: dict[uuid.UUID, Kin] = field(default_factory=dict)
    own_resources: dict[uuid.UUID, dict[str, Any]] = field(default_factory=dict)

    def facts_of(self, step: Step) -> Facts:
        """The step's execution; read once per drain."""
        known = self.facts.get(step.execution_id)
        if known is None:
            row = (
                Execution.objects.using(self.using)
                .only("flow_name", "interactive", "skip_exceptions", "intervention_mode", "parent_step_id")
                .get(pk=step.execution_id)
            )
            known = self.meet(row)
        return known
