"""What a drain needs to run the steps of sub flows: their graphs, flows and resources, which hang on their parents'.

Looked up once per drain, on the database thread, when the first step of such an execution is claimed.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from triggerflow_django import exceptions
from triggerflow_django.definition import mapping, registry
from triggerflow_django.definition.graph import Graph
from triggerflow_django.definition.sub_flow import SubFlow
from triggerflow_django.engine import family, flow_data
from triggerflow_django.engine.facts import Facts
from triggerflow_django.models import Execution, State, Step
from triggerflow_django.runtime import state as state_ops
from triggerflow_django.runtime.resources import Resources

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kin:
    """A sub flow, as this drain runs it."""

    #: ``None`` where this process's code does not have it.
    flow: Any
    resources: Resources
    #: An execution above swallows exceptions.
    swallows: bool

    @property
    def graph(self) -> Graph | None:
        """The graph it runs with."""
        return self.flow.graph if self.flow is not None else None


class KinMethods:
    """The part of ``RunContext`` that knows sub flows from outermost executions."""

    __slots__ = ()

    using: str
    graph_of: Callable[[Facts], Graph | None]
    resources_of: Callable[[Facts], Resources]
    facts: dict[uuid.UUID, Facts]
    kin: dict[uuid.UUID, Kin]
    own_resources: dict[uuid.UUID, dict[str, Any]]

    def graph_for(self, facts: Facts) -> Graph | None:
        """The graph by which a step of this execution runs here."""
        kin = self.kin.get(facts.id)
        return self.graph_of(facts) if kin is None else kin.graph

    def resources_for(self, facts: Facts) -> Resources:
        """The live objects its chunks can get here."""
        kin = self.kin.get(facts.id)
        return self.resources_of(facts) if kin is None else kin.resources

    def swallows(self, facts: Facts) -> bool:
        """Whether nobody is to hear of its errors."""
        kin = self.kin.get(facts.id)
        return facts.skip_exceptions or (kin is not None and kin.swallows)

    def meet(self, row: Execution) -> Facts:
        """The facts of an execution, and what is needed to run it where it is a sub flow. (A database function.)"""
        known = self.facts.get(row.pk)
        if known is None:
            known = self.facts[row.pk] = Facts.of(row)
            if row.parent_step_id is not None:
                self._meet_parent(known, row.parent_step_id)
        return known

    def _meet_parent(self, facts: Facts, parent_step_id: int) -> None:
        steps = Step.objects.using(self.using).select_related("execution")
        step = steps.defer("output", "error", "execution__input", "execution__snapshot").get(pk=parent_step_id)
        parent = self.meet(step.execution)
        found = family.sub_flow_of(self.graph_for(parent), step.node)
        flow = found.flow if found is not None else registry.find(facts.flow_name)
        own = self.own_resources.setdefault(facts.id, {})
        captured = self._captured(found, step, parent) if found is not None else {}
        resources = Resources(own, captured, getattr(flow, "runtime_resources", {}))
        self.kin[facts.id] = Kin(flow, resources, self.swallows(parent))

    def _captured(self, found: SubFlow, step: Step, parent: Facts) -> dict[str, Any]:
        """The parent's live objects a child gets. What is not there in this process is not there for the child."""
        states = State.objects.using(self.using).filter(execution_id=parent.id).values_list("data", flat=True)
        sources = {
            "value": lambda: step.input,
            "runtime_data": lambda: state_ops.visible(states.first() or {}),
            "flow_data": lambda: flow_data.read(parent.flow_name, using=self.using),
            "resources": lambda: self.resources_for(parent),
        }
        captured: dict[str, Any] = {}
        for binding in found.capture:
            if binding.target != "resources":
                continue
            try:
                value = mapping.read(binding, sources)
            except exceptions.MappingPathError as error:
                logger.warning("triggerflow.sub_flow.no_resource", extra={"step": step.pk, "reason": str(error)})
                continue
            captured = mapping.put(captured, binding.target_path, value)
        return captured
