"""Leave an intervention: what somebody outside wants later chunks to know.

They start nothing, stop nothing and answer nothing: an interrupt only ever opens by a decision. What becomes of them:
see ``interventions``.
"""

from __future__ import annotations

import uuid
from typing import Any

from triggerflow_django import conf, exceptions, jsongate
from triggerflow_django.definition.graph import Graph
from triggerflow_django.definition.intervention import InterventionPoint
from triggerflow_django.engine import actor as actors
from triggerflow_django.engine import records, rows
from triggerflow_django.engine.transition import begin
from triggerflow_django.models import EventKind, Intervention, InterventionMode


def has_points(graph: Graph) -> bool:
    """Whether a flow has an intervention point."""
    return any(
        node.chunk is not None and isinstance(node.chunk.handler, InterventionPoint) for node in graph.nodes.values()
    )


def checked_mode(wanted: str | None, graph: Graph) -> str:
    """The mode of a new execution: ``planned``, ``auto`` or empty.

    Raises: InvalidPolicyError (a ValueError) for another word, and for ``auto`` where the flow has points.
    """
    if wanted not in (None, *InterventionMode.values):
        raise exceptions.InvalidPolicyError(f"intervention_mode={wanted!r}: use 'planned', 'auto' or None")
    if wanted == InterventionMode.AUTO and has_points(graph):
        raise exceptions.InvalidPolicyError("intervention_mode='auto': the flow has intervention points; use 'planned'")
    return wanted or ""


def intervene(
    execution_id: uuid.UUID,
    payload: Any,
    *,
    author: str | None,
    note: str | None,
    target: str | None,
    metadata: Any,
    using: str,
    actor: Any = None,
) -> dict[str, Any]:
    """Store an intervention. Returns its record.

    Raises: ExecutionNotOpenError; InterventionsOffError where the execution takes none; JsonValueError.
    """
    limits = conf.get_settings().answer_limits
    payload = jsongate.check(payload, limits=limits, root="payload")
    extra = jsongate.check(metadata if metadata is not None else {}, limits=limits, root="metadata")
    who = actors.of(actor)
    if target is not None and not jsongate.is_name(target):
        raise exceptions.JsonValueError(f"target {target!r}: give a text of 1 to 200 characters, or None")
    with begin(execution_id, using=using) as transition:
        execution = transition.execution
        transition.require_open("an intervention")
        if not execution.intervention_mode:
            raise exceptions.InterventionsOffError(
                f"execution {execution_id.hex} takes no interventions: its flow has no intervention_point(), and it "
                "was not created with intervention_mode='auto'"
            )
        execution.intervention_version += 1
        execution.pending_interventions += 1
        row = Intervention(
            execution_id=execution.pk,
            version=execution.intervention_version,
            payload=payload,
            author=actors.words(author or who.label, root="author")[:255],
            note=actors.words(note or "", root="note"),
            target=target or "",
            metadata=extra,
            created_at=transition.now,
        )
        rows.insert([row], using=using)
        transition.add_event(EventKind.INTERVENED, name=row.target, actor=who, data={"intervention": row.id.hex})
    return records.intervention(row)
