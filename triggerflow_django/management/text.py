"""Text for a terminal of 80 columns: nothing that steers it, times as ages, paragraphs that wrap."""

from __future__ import annotations

import datetime as dt
import textwrap
from collections.abc import Sequence
from typing import Any, Final

from django.utils import timezone

from triggerflow_django import jsongate

WIDTH: Final = 80
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "m"))
#: Beyond this a payload is not for reading at a terminal; --format json has all of it.
_PAYLOAD_CHARS: Final = 600


def safe(text: str) -> str:
    """The text with everything that a terminal would act on, or not show, written as an escape; new lines stay."""
    return "".join(char if char.isprintable() or char == "\n" else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def one_line(text: str, width: int = WIDTH) -> str:
    """The first line of a text, cut to a width."""
    line = safe(text).split("\n", 1)[0]
    return line if len(line) <= width else line[: max(0, width - 3)] + "..."


def wrapped(text: str, indent: str = "") -> list[str]:
    """Lines of a paragraph. Ids and addresses are not broken."""
    return textwrap.wrap(
        safe(text),
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def payload(value: Any, indent: str) -> list[str]:
    """Lines of a JSON value, cut where it is long."""
    whole = jsongate.dumps(value)
    shown = whole if len(whole) <= _PAYLOAD_CHARS else whole[:_PAYLOAD_CHARS] + "... (cut)"
    return textwrap.wrap(
        safe(shown), WIDTH, initial_indent=indent, subsequent_indent=indent, drop_whitespace=False
    ) or [indent + "null"]


def command(words: Sequence[str], indent: str) -> list[str]:
    """A command line to copy, over several lines where it is long."""
    lines, line = [], indent + "manage.py"
    for word in words:
        if len(line) + len(word) + 3 > WIDTH:
            lines.append(line + " \\")
            line = indent + "  " + word
        else:
            line += " " + word
    return [*lines, line]


def span(seconds: float, *, units: int = 2) -> str:
    """A length of time in one or two units: ``45s``, ``3m``, ``5h20m``, ``12d3h``."""
    left = max(0, round(seconds))
    for index, (size, letter) in enumerate(_UNITS):
        if left >= size:
            told = f"{left // size}{letter}"
            if units > 1 and index < len(_UNITS) - 1:
                finer, name = _UNITS[index + 1]
                rest = left % size // finer
                told += f"{rest}{name}" if rest else ""
            return told
    return f"{left}s"


def age(moment: dt.datetime | None, now: dt.datetime) -> str:
    """How long ago that was: ``3h``."""
    return "?" if moment is None else span((now - moment).total_seconds())


def ago(moment: dt.datetime | None, now: dt.datetime) -> str:
    """``3h ago``, or ``in 3h``."""
    if moment is None:
        return ""
    seconds = (now - moment).total_seconds()
    return f"{span(seconds)} ago" if seconds >= 0 else f"in {span(-seconds)}"


def stamp(moment: dt.datetime) -> str:
    """A moment in the project's time zone, to the second."""
    local = timezone.localtime(moment) if timezone.is_aware(moment) else moment
    return f"{local:%Y-%m-%d %H:%M:%S %Z}".strip()


def count(number: int, noun: str) -> str:
    """``1 step``, ``3 steps``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
