"""The saved form of an execution: one JSON document with TriggerFlow's keys on top and this engine's rows below.

``export`` writes it, ``read`` checks what somebody hands back. The row stays the truth: a document is a copy that can
be carried to another database, where ``restore`` makes a row of it.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from django.db import models, transaction
from django.db.models import Q

from triggerflow_django import conf, exceptions, jsongate
from triggerflow_django.definition import yaml_text
from triggerflow_django.engine import flow_data, projection, records
from triggerflow_django.engine.transition import lock
from triggerflow_django.models import (
    Decision,
    Event,
    Execution,
    Interrupt,
    Intervention,
    Join,
    JoinPage,
    JoinSlot,
    JoinStatus,
    State,
    Step,
    StepStatus,
)

KIND: Final = "triggerflow.execution_snapshot"
VERSION: Final = 1

#: Sections of the document, and what each must be.
_SECTIONS: Final = {
    "schema_version": int,
    "kind": str,
    "execution_id": str,
    "flow_name": str,
    "flow_definition_fingerprint": str,
    "status": str,
    "lifecycle_state": str,
    "runtime_data": dict,
    "interrupts": dict,
    "resource_keys": list,
    "rows": dict,
}
#: How many levels the document puts around a value (``rows.interrupts[0].on_due.answer`` and the like).
_WRAPPING: Final = 6
TABLES: Final = ("steps", "joins", "slots", "pages", "interrupts", "decisions", "interventions", "events")
#: Steps in one of these have nothing left to do; they are saved only where an interrupt refers to them.
_ENDED: Final = (StepStatus.DONE, StepStatus.CANCELLED)


def export(pk: uuid.UUID, *, using: str, require_idle: bool, resource_keys: Sequence[str]) -> dict[str, Any]:
    """An execution as a JSON-able dict, read under its lock so that the sections agree.

    Raises: NotIdleError (a RuntimeError) with ``require_idle`` while a step is active.
    """
    with transaction.atomic(using=using):
        execution, _now = lock(pk, using)
        if require_idle and execution.active_steps:
            raise exceptions.NotIdleError(
                f"execution {pk.hex} has {execution.active_steps} active steps; wait() for it, or save without "
                "require_idle"
            )
        rows = _rows(execution, using)
        state = State.objects.using(using).filter(execution_id=pk).values_list("data", flat=True).first() or {}
        return {
            "schema_version": VERSION,
            "kind": KIND,
            "execution_id": execution.id.hex,
            "flow_name": execution.flow_name,
            "flow_definition_fingerprint": execution.flow_fingerprint,
            "status": str(execution.status),
            "lifecycle_state": str(execution.lifecycle),
            "state_version": execution.state_revision,
            "runtime_data": state,
            "flow_data": flow_data.read(execution.flow_name, using=using),
            "interrupts": {row.interrupt_id: records.interrupt(row, row.step) for row in rows["interrupts"]},
            "sub_flow_frames": projection.frames(pk, using),
            "result": {"ready": execution.is_closed, "value": execution.snapshot},
            "resource_keys": list(resource_keys),
            "auto_close": execution.auto_close,
            "auto_close_timeout": execution.auto_close_timeout,
            "close_reason": execution.close_reason or None,
            "created_at": records.stamp(execution.created_at),
            "started_at": records.stamp(execution.started_at),
            "sealed_at": records.stamp(execution.sealed_at),
            "closed_at": records.stamp(execution.closed_at),
            "pending_task_count": execution.active_steps,
            "rows": {
                "execution": _columns(execution) | {"subject_type": _model_name(execution)},
                **{table: [_columns(row) for row in rows[table]] for table in TABLES},
            },
        }


def _rows(execution: Execution, using: str) -> dict[str, list[Any]]:
    """What an execution needs to go on elsewhere: no step and no join that has nothing left to do."""
    interrupts = list(
        Interrupt.objects.using(using)
        .select_related("step", "decision")
        .filter(execution_id=execution.pk)
        .order_by("pk")
    )
    asked = [interrupt.step_id for interrupt in interrupts]
    steps = Step.objects.using(using).filter(execution_id=execution.pk).filter(~Q(status__in=_ENDED) | Q(pk__in=asked))
    # One that has fired still counts while its limit holds for steps below it.
    live = Q(status=JoinStatus.OPEN) | Q(places__gt=0)
    joins = list(Join.objects.using(using).filter(live, execution_id=execution.pk).order_by("pk"))
    return {
        "steps": list(steps.order_by("pk")),
        "joins": joins,
        "slots": list(JoinSlot.objects.using(using).filter(join__in=joins).order_by("pk")),
        "pages": list(JoinPage.objects.using(using).filter(join__in=joins).order_by("pk")),
        "interrupts": interrupts,
        "decisions": list(Decision.objects.using(using).filter(execution_id=execution.pk).order_by("pk")),
        "interventions": list(Intervention.objects.using(using).filter(execution_id=execution.pk).order_by("version")),
        "events": list(Event.objects.using(using).filter(execution_id=execution.pk).order_by("sequence")),
    }


def _columns(row: models.Model) -> dict[str, Any]:
    return {field.attname: _plain(getattr(row, field.attname)) for field in row._meta.concrete_fields}


def _plain(value: Any) -> Any:
    if isinstance(value, uuid.UUID):
        return value.hex
    if isinstance(value, dt.datetime):
        return value.isoformat()
    return value


def _model_name(execution: Execution) -> str | None:
    subject_type = execution.subject_type
    return None if subject_type is None else f"{subject_type.app_label}.{subject_type.model}"


def write_file(document: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a document as a JSON file (``.yaml``, ``.yml``: as YAML), whole or not at all."""
    target = Path(path)
    unfinished = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        text = yaml_text.dump(document) if _is_yaml(target) else jsongate.dumps(document) + "\n"
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def read(source: Any) -> dict[str, Any]:
    """A checked document from what ``save`` gave: the dict, its text (JSON or YAML), or the path of a file.

    Raises: SnapshotTypeError (a TypeError) for something else and for a section of another type; SnapshotError (a
    ValueError) for text that is not JSON and for a document of another kind or version.
    """
    document = _parsed(source)
    if document.get("kind", KIND) != KIND:
        raise exceptions.SnapshotError(f"kind is {document['kind']!r}, not {KIND!r}: this was not made by save()")
    for name, kind in _SECTIONS.items():
        if name not in document:
            raise exceptions.SnapshotError(f"the saved execution has no section {name!r}")
        _require_type(name, document[name], kind)
    _require_type("flow_data", document.get("flow_data", {}), dict)
    if document["schema_version"] != VERSION:
        raise exceptions.SnapshotError(
            f"schema_version is {document['schema_version']}; this version of triggerflow_django reads {VERSION}"
        )
    rows = document["rows"]
    for table in ("execution", *TABLES):
        if table not in rows:
            raise exceptions.SnapshotError(f"the saved execution has no section 'rows.{table}'")
    _require_type("rows.execution", rows["execution"], dict)
    for table in TABLES:
        _require_type(f"rows.{table}", rows[table], list)
        _require_all(f"rows.{table}", rows[table])
    return document


def _parsed(source: Any) -> dict[str, Any]:
    limits = conf.get_settings().fanout_limits
    limits = dataclasses.replace(limits, depth=limits.depth + _WRAPPING)
    try:
        is_yaml = False
        if isinstance(source, os.PathLike) or (isinstance(source, str) and not source.lstrip().startswith(("{", "["))):
            is_yaml = "\n" in str(source)
            if not is_yaml:
                is_yaml, source = _is_yaml(Path(source)), Path(source).read_text(encoding="utf-8")
        if is_yaml:
            document: Any = yaml_text.parse(source)
        else:
            document = jsongate.parse(source, limits=limits) if isinstance(source, str | bytes) else source
        if not isinstance(document, dict):
            raise exceptions.SnapshotTypeError(f"a saved execution is a dict, not {type(document).__name__}")
        checked = jsongate.check(document, limits=limits)
    except exceptions.JsonValueError as error:
        raise exceptions.SnapshotError(f"the saved execution cannot be read: {error}") from error
    except (OSError, ValueError) as error:  # ValueError: not even a possible path
        raise exceptions.SnapshotError(f"the saved execution cannot be read: {error}") from error
    assert isinstance(checked, dict)  # noqa: S101 - the gate keeps kinds
    return checked


def _is_yaml(path: Path) -> bool:
    return path.suffix.lower() in (".yaml", ".yml")


def _require_type(name: str, value: Any, kind: type) -> None:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise exceptions.SnapshotTypeError(f"section {name!r} is of type {type(value).__name__}, not {kind.__name__}")


def _require_all(name: str, values: Iterable[Any]) -> None:
    for index, value in enumerate(values):
        _require_type(f"{name}[{index}]", value, dict)
