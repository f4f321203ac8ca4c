"""Executions and interrupts by what an operator types: the id, or as much of its beginning as tells it apart."""

from __future__ import annotations

import re
import uuid
from argparse import ArgumentParser
from typing import Any, Final

from triggerflow_django import exceptions
from triggerflow_django.management.base import UNKNOWN, RefusedError
from triggerflow_django.models import Execution, Interrupt, InterruptStatus

#: Ids begin with the time they were made: fewer digits tell hours, not executions, apart.
_FEWEST_DIGITS: Final = 8
_SHOWN: Final = 5


def add_id(parser: ArgumentParser) -> None:
    """The argument ``ID``."""
    parser.add_argument("id", metavar="ID", help="The execution's id, or its first 8 or more digits.")


def execution(text: str, using: str) -> Execution:
    """The execution an operator means, without its input and snapshot.

    Raises: UnknownExecutionError; RefusedError where several ids begin so.
    """
    digits = text.replace("-", "").lower()
    if not re.fullmatch(f"[0-9a-f]{{{_FEWEST_DIGITS},32}}", digits):
        raise exceptions.UnknownExecutionError(
            f"there is no execution {text!r}: an id has 32 hexadecimal digits, of which the first {_FEWEST_DIGITS} or "
            "more will do"
        )
    first, last = uuid.UUID(digits.ljust(32, "0")), uuid.UUID(digits.ljust(32, "f"))
    rows = Execution.objects.using(using).filter(pk__gte=first, pk__lte=last).defer("input", "snapshot").order_by("pk")
    found = list(rows[: _SHOWN + 1])
    if not found:
        raise exceptions.UnknownExecutionError(f"there is no execution {text}")
    if len(found) > 1:
        raise _ambiguous(f"execution {text!r}", [row.id.hex for row in found])
    return found[0]


def interrupt_id(row: Execution, text: str, using: str) -> str:
    """The id of the interrupt an operator means: exactly so, or the only waiting one that begins so.

    Raises: UnknownInterruptError, naming what waits; RefusedError where several begin so.
    """
    rows: Any = Interrupt.objects.using(using).filter(execution_id=row.pk)
    if rows.filter(interrupt_id=text).exists():
        return text
    waiting = list(rows.filter(status=InterruptStatus.WAITING).values_list("interrupt_id", flat=True).order_by("pk"))
    found = [known for known in waiting if known.startswith(text)] if len(text) >= _FEWEST_DIGITS else []
    if len(found) > 1:
        raise _ambiguous(f"interrupt {text!r}", found)
    if not found:
        told = ", ".join(waiting[:_SHOWN]) + (", ..." if len(waiting) > _SHOWN else "")
        raise exceptions.UnknownInterruptError(
            f"execution {row.id.hex} has no interrupt {text!r}; waiting: {told or 'none'}"
        )
    return str(found[0])


def _ambiguous(what: str, found: list[str]) -> RefusedError:
    told = ", ".join(found[:_SHOWN]) + (", ..." if len(found) > _SHOWN else "")
    return RefusedError(f"{what} could be {told}: give more digits", returncode=UNKNOWN, code="ambiguous_id")
