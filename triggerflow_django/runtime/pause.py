"""The arguments of ``pause_for``, checked where they are written: a gate that could never open is refused at once.

In: what the chunk passed. Out: a ``Pause``. What needs the database (do the approvers exist, is the id free) the commit
checks.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Any, Final

from triggerflow_django import conf, exceptions, json_schema, jsongate
from triggerflow_django.approvals import policy
from triggerflow_django.runtime.journal import Pause, ResumeTo

_ID: Final = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
_ON_DUE: Final = "'overdue', 'fail', {'answer': value} or {'event': name, 'value': value}"


def check(
    *,
    type: str,
    payload: Any,
    resume_to: Any,
    resume_event: str | None,
    interrupt_id: str | None,
    max_resumes: int | None,
    response_schema: Any,
    approvers: Any,
    exclude_starter: bool,
    due_in: float | dt.timedelta | None,
    on_due: Any,
) -> Pause:
    """A checked pause request.

    Raises: PauseError (a ValueError) naming the argument and what it takes; JsonValueError; ApproversError.
    """
    settings = conf.get_settings()
    target, event = _target(resume_to, resume_event)
    seconds = _seconds(due_in)
    if on_due is not None and seconds is None:
        raise exceptions.PauseError("on_due= needs due_in=: without a deadline it would never act")
    return Pause(
        type=_text("type", type, 100),
        payload=jsongate.check(payload, limits=settings.value_limits, root="payload"),
        resume_to=target,
        resume_event=event,
        interrupt_id=None if interrupt_id is None else _interrupt_id(interrupt_id),
        max_resumes=_max_resumes(max_resumes),
        response_schema=_schema(response_schema),
        approvers=policy.normalise(approvers),
        exclude_starter=bool(exclude_starter),
        due_in=seconds,
        on_due=None if seconds is None else _on_due(on_due),
    )


def _text(name: str, value: Any, limit: int) -> str:
    if not isinstance(value, str) or not jsongate.is_name(value, most=limit):
        raise exceptions.PauseError(f"{name}={value!r}: give a text of 1 to {limit} characters")
    return str.__str__(value)


def _interrupt_id(value: Any) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise exceptions.PauseError(f"interrupt_id={value!r}: give a text of 1 to 200 printable characters")
    return _text("interrupt_id", value, 200)


def _target(resume_to: Any, resume_event: Any) -> tuple[ResumeTo, str]:
    """(target, event). An explicit ``resume_to`` wins; ``resume_event`` alone means that event."""
    if isinstance(resume_to, dict) and list(resume_to) == ["event"]:
        return "event", _text("resume_to['event']", resume_to["event"], 200)
    if resume_to == "next" or resume_to == "self":  # noqa: PLR1714 - a list would be unhashable in a set
        event = "" if resume_event is None else _text("resume_event", resume_event, 200)
        return resume_to, event
    if resume_to is not None:
        raise exceptions.PauseError(f"resume_to={resume_to!r}: use 'next', 'self' or {{'event': name}}")
    if resume_event is not None:
        return "event", _text("resume_event", resume_event, 200)
    return "next", ""


def _max_resumes(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
        raise exceptions.PauseError(f"max_resumes={value!r}: give a whole number, 0 or more, or None for any number")
    return value


def _schema(schema: Any) -> Any:
    if schema is None:
        return None
    checked: Any = jsongate.check(schema, limits=conf.get_settings().answer_limits, root="response_schema")
    wrong = json_schema.problem(checked)
    if wrong is not None:
        raise exceptions.PauseError(f"response_schema: {wrong}")
    return checked


def _seconds(due_in: Any) -> float | None:
    seconds = due_in.total_seconds() if isinstance(due_in, dt.timedelta) else due_in
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < 100 * 366 * 86400:
        raise exceptions.PauseError(f"due_in={due_in!r}: give seconds or a timedelta, more than 0")
    return float(seconds)


def _on_due(on_due: Any) -> dict[str, Any]:
    limits = conf.get_settings().answer_limits
    match on_due:
        case None | "overdue":
            return {"do": "overdue"}
        case "fail":
            return {"do": "fail"}
        case {"answer": answer, **rest} if not rest:
            return {"do": "answer", "answer": jsongate.check(answer, limits=limits, root="on_due.answer")}
        case {"event": str(name), **rest} if set(rest) <= {"value"}:
            value = jsongate.check(rest.get("value"), limits=limits, root="on_due.value")
            return {"do": "event", "event": _text("on_due['event']", name, 200), "value": value}
    raise exceptions.PauseError(f"on_due={on_due!r}: use {_ON_DUE}")
