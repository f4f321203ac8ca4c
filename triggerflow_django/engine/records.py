"""Rows as the plain dicts callers get: fresh copies, JSON-able, with TriggerFlow's key names."""

from __future__ import annotations

import datetime as dt
from typing import Any

from triggerflow_django.models import Interrupt, Intervention, Step


def stamp(moment: dt.datetime | None) -> float | None:
    """A time as seconds since the epoch, TriggerFlow's form."""
    return None if moment is None else moment.timestamp()


def interrupt(row: Interrupt, step: Step | None = None) -> dict[str, Any]:
    """An interrupt with its decision, if any. ``step``: the step that paused, where at hand."""
    decision = row.decision
    resume_to: Any = {"event": row.resume_event} if row.resume_to == "event" else row.resume_to
    return {
        "id": row.interrupt_id,
        "pk": row.id.hex,
        "round": row.round,
        "type": row.type,
        "payload": row.payload,
        "resume_to": resume_to,
        "resume_event": row.resume_event or None,
        "status": str(row.status),
        "source_execution_id": row.execution_id.hex,
        "source_operator_id": step.node if step is not None else None,
        "source_signal": None
        if step is None
        else {"trigger": step.source, "value": step.input, "layer_marks": step.scope},
        "resume_count": row.resume_count,
        "max_resumes": row.max_resumes,
        "response_schema": row.response_schema,
        "approvers": row.approvers,
        "exclude_starter": row.exclude_starter,
        "due_at": stamp(row.due_at),
        "on_due": row.on_due,
        "overdue_at": stamp(row.overdue_at),
        "created_at": stamp(row.created_at),
        "resolved_at": stamp(row.resolved_at),
        "resumed_at": stamp(decision.created_at) if decision is not None else None,
        "resume_value": decision.payload if decision is not None else None,
        "response": decision.payload if decision is not None else None,
        "resume_request_id": (decision.request_id or None) if decision is not None else None,
        "resumed_by": (decision.actor_label or None) if decision is not None else None,
        "door": str(decision.door) if decision is not None else None,
        "comment": decision.comment if decision is not None else "",
    }


def intervention(row: Intervention) -> dict[str, Any]:
    """An intervention."""
    return {
        "id": row.id.hex,
        "version": row.version,
        "status": str(row.status),
        "author": row.author or None,
        "note": row.note or None,
        "target": row.target or None,
        "payload": row.payload,
        "metadata": row.metadata,
        "point": row.point or None,
        "created_at": stamp(row.created_at),
        "inserted_at": stamp(row.inserted_at),
        "ended_at": stamp(row.ended_at),
    }
