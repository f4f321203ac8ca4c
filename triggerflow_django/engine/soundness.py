"""Whether the rows of a saved document are sound, each by itself and all together; asked before anything is inserted.

``save`` writes no other documents. One that was cut, edited or mixed up is refused here, by the place that is wrong,
rather than stumbled over later by the engine.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NoReturn

from django.core.exceptions import ValidationError
from django.db import models

from triggerflow_django import exceptions, json_schema, jsongate
from triggerflow_django.engine import pages
from triggerflow_django.engine.places import WHOLE
from triggerflow_django.models import (
    ACTIVE_STATUSES,
    Decision,
    Event,
    Execution,
    Interrupt,
    InterruptStatus,
    Intervention,
    Join,
    JoinPage,
    JoinSlot,
    JoinStatus,
    Lifecycle,
    Step,
    StepStatus,
)

MODELS: Final[Mapping[str, type[models.Model]]] = {
    "steps": Step,
    "joins": Join,
    "slots": JoinSlot,
    "pages": JoinPage,
    "interrupts": Interrupt,
    "decisions": Decision,
    "interventions": Intervention,
    "events": Event,
}
_LARGEST: Final = 2**31 - 1
#: What an interrupt does when it is due, and what else it says then.
_ON_DUE: Final = {"overdue": {"do"}, "fail": {"do"}, "answer": {"do", "answer"}, "event": {"do", "event", "value"}}


def require(document: dict[str, Any]) -> None:
    """Refuse a document whose rows do not make sense.

    Raises: SnapshotError, naming the place.
    """
    rows = document["rows"]
    execution = rows["execution"]
    _require_row("rows.execution", Execution, execution, without={"subject_type_id"})
    for table, model in MODELS.items():
        for index, row in enumerate(rows[table]):
            _require_row(f"rows.{table}[{index}]", model, row, without=set())
    if execution["flow_name"] != document["flow_name"] or not _same_id(execution["id"], document["execution_id"]):
        _refuse("rows.execution", "it is not the execution the document says it is")
    if not isinstance(execution.get("subject_type"), str | None):
        _refuse("rows.execution.subject_type", "it is neither a text nor null")
    for table in ("steps", "joins", "interrupts", "decisions", "interventions"):
        _require_once(f"rows.{table}", (row["id"] for row in rows[table]))
    _require_lifecycle(execution, rows)
    _require_history(execution, rows["events"])
    _require_answers(rows)
    _require_joins(rows)


def _refuse(place: str, why: str) -> NoReturn:
    raise exceptions.SnapshotError(f"the saved execution is not sound: {place}: {why}")


def _same_id(one: str, other: str) -> bool:
    return uuid.UUID(one) == uuid.UUID(other)


def _require_once(place: str, values: Iterable[Any]) -> None:
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        _refuse(place, f"{twice[0]!r} is there twice")


# -- a row by itself


def _require_row(place: str, model: type[models.Model], row: dict[str, Any], *, without: set[str]) -> None:
    for field in model._meta.concrete_fields:
        name = field.attname
        if name in without:
            continue
        if name not in row:
            _refuse(place, f"it has no {name!r}")
        value = row[name]
        kind = field.target_field if isinstance(field, models.ForeignKey) else field
        if isinstance(kind, models.JSONField):
            shape = _SHAPES.get(name)
            if shape is not None and not (value is None and field.null) and not shape(value):
                _refuse(f"{place}.{name}", "it is not of the form that save() writes")
        elif value is None:
            if not field.null:
                _refuse(f"{place}.{name}", "it is null")
        elif not _fits(kind, value):
            _refuse(f"{place}.{name}", f"{str(value)[:40]!r} does not fit")


def _fits(field: Any, value: Any) -> bool:
    match field:
        case models.BooleanField():
            return isinstance(value, bool)
        case models.FloatField():
            return isinstance(value, int | float) and not isinstance(value, bool)
        case models.IntegerField():  # counters and keys alike
            most = 2**63 - 1 if isinstance(field, models.BigIntegerField | models.PositiveBigIntegerField) else _LARGEST
            return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most
        case models.UUIDField() | models.DateTimeField():
            return isinstance(value, str) and _is_read_by(field, value)
    is_text = isinstance(value, str) and (field.max_length is None or len(value) <= field.max_length)
    return is_text and (not field.choices or value in dict(field.flatchoices))


def _is_read_by(field: Any, value: str) -> bool:
    try:
        return field.to_python(value) is not None
    except (ValidationError, ValueError, OverflowError):
        return False


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_scope(value: Any) -> bool:
    return isinstance(value, list) and all(_is_texts(mark) and len(mark) == 3 for mark in value)  # noqa: PLR2004


def _is_approvers(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(item, dict)
        and {"kind", "label"} <= item.keys() <= {"kind", "label", "id"}
        and _is_texts([*item.values()])
        for item in value
    )


def _is_on_due(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("do"), str)
        and value.keys() == _ON_DUE.get(value["do"], set())
        and (value["do"] != "event" or jsongate.is_name(value["event"]))
    )


def _is_schema(value: Any) -> bool:
    return isinstance(value, dict | bool) and json_schema.problem(value) is None


_SHAPES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "scope": _is_scope,
    "slots": _is_texts,
    "items": lambda value: isinstance(value, list),
    "approvers": _is_approvers,
    "on_due": _is_on_due,
    "response_schema": _is_schema,
    "error": lambda value: isinstance(value, dict) and _is_texts([*value.values()]),
    "data": lambda value: isinstance(value, dict),
    "snapshot": lambda value: isinstance(value, dict),
}


# -- the rows together


def _require_lifecycle(execution: dict[str, Any], rows: dict[str, Any]) -> None:
    active = any(step["status"] in ACTIVE_STATUSES for step in rows["steps"])
    waiting = any(interrupt["status"] == InterruptStatus.WAITING for interrupt in rows["interrupts"])
    closed = execution["lifecycle"] == Lifecycle.CLOSED
    if closed and (active or waiting):
        _refuse("rows.execution", "it is closed, and something of it is not")
    if execution["closing"] and (closed or not active):
        _refuse("rows.execution.closing", "it is closing, and nothing is left to be waited for")
    if closed != (execution["snapshot"] is not None) or closed != (execution["closed_at"] is not None):
        _refuse("rows.execution.snapshot", "closed executions have one, and a time, and others have neither")


def _require_history(execution: dict[str, Any], events: list[dict[str, Any]]) -> None:
    if sorted(event["sequence"] for event in events) != list(range(1, len(events) + 1)):
        _refuse("rows.events", "its numbers have a hole")
    if execution["event_sequence"] != len(events):
        _refuse("rows.execution.event_sequence", f"there are {len(events)} events")


def _require_answers(rows: dict[str, Any]) -> None:
    steps = {step["id"]: step["status"] for step in rows["steps"]}
    decisions = {decision["id"] for decision in rows["decisions"]}
    asked = [interrupt["step_id"] for interrupt in rows["interrupts"] if interrupt["status"] == InterruptStatus.WAITING]
    paused = [pk for pk, status in steps.items() if status == StepStatus.PAUSED]
    if sorted(asked) != sorted(paused):
        _refuse("rows.interrupts", "each paused step has one that waits, and no other step has")
    _require_once(
        "rows.interrupts",
        (row["interrupt_id"] for row in rows["interrupts"] if row["status"] == InterruptStatus.WAITING),
    )
    for index, interrupt in enumerate(rows["interrupts"]):
        if not jsongate.is_name(interrupt["interrupt_id"]):
            _refuse(f"rows.interrupts[{index}].interrupt_id", "it is empty")
        if interrupt["step_id"] not in steps:
            _refuse(f"rows.interrupts[{index}].step_id", "there is no such step")
        if (interrupt["status"] == InterruptStatus.RESUMED) != (interrupt["decision_id"] in decisions):
            _refuse(f"rows.interrupts[{index}].decision_id", "what was resumed has a decision, and nothing else has")
    _require_once("rows.interrupts", (row["decision_id"] for row in rows["interrupts"] if row["decision_id"]))
    if len(decisions) != sum(row["decision_id"] is not None for row in rows["interrupts"]):
        _refuse("rows.decisions", "one of them decided nothing")


def _is_slot_of(join: dict[str, Any], slot: str) -> bool:
    if join["slots"]:
        return slot in join["slots"]
    return slot.isascii() and slot.isdecimal() and str(int(slot[:10])) == slot and int(slot) < join["expected"]


def _has_its_items(join: dict[str, Any], every: Iterable[dict[str, Any]]) -> bool:
    mine = {page["number"]: page["items"] for page in every if page["join_id"] == join["id"]}
    next_index, expected = join["next_index"], join["expected"]
    if next_index >= expected:
        return True
    first, last = next_index // pages.SIZE, (expected - 1) // pages.SIZE
    if last - first >= len(mine):
        return False
    wanted = {number: min(pages.SIZE, expected - number * pages.SIZE) for number in range(first, last + 1)}
    return all(len(mine.get(number, ())) == length for number, length in wanted.items())


def _require_joins(rows: dict[str, Any]) -> None:
    values: dict[int, list[str]] = {join["id"]: [] for join in rows["joins"]}
    for index, slot in enumerate(rows["slots"]):
        if slot["join_id"] not in values:
            _refuse(f"rows.slots[{index}].join_id", "there is no such join")
        values[slot["join_id"]].append(slot["slot"])
    for index, page in enumerate(rows["pages"]):
        if page["join_id"] not in values:
            _refuse(f"rows.pages[{index}].join_id", "there is no such join")
    for index, join in enumerate(rows["joins"]):
        filled = values[join["id"]]
        if (
            (join["slots"] and len(join["slots"]) != join["expected"])
            or not all(_is_slot_of(join, slot) for slot in filled)
            or len(set(filled)) != len(filled)
        ):
            _refuse(f"rows.joins[{index}].slots", "they are not those its values are for")
        if join["status"] == JoinStatus.OPEN and join["filled"] != len(filled):
            _refuse(f"rows.joins[{index}].filled", f"it has {len(filled)} values")
        if join["next_index"] > join["expected"]:
            _refuse(f"rows.joins[{index}].next_index", "there are no so many items")
        if not join["slots"] and not _has_its_items(join, rows["pages"]):
            _refuse(f"rows.joins[{index}]", "its pages do not hold the items that are left to enter")
    activations = {join["activation"] for join in rows["joins"]}
    for index, step in enumerate(rows["steps"]):
        around = {mark[1] for mark in step["scope"]}
        limits = around & activations | ({WHOLE} if rows["execution"]["concurrency"] else set())
        if step["status"] == StepStatus.HELD and step["held_by"] not in limits:
            _refuse(f"rows.steps[{index}].held_by", "no limit around it has that name")
