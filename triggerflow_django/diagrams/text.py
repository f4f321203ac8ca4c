"""Text in a picture: made harmless, measured without a font, wrapped, shortened.

Names come from code, and with definitions as data from anywhere. Whatever they hold, what leaves here is one line (or a
few) of printable characters.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_REPLACEMENT: Final = "\ufffd"
_MOST_MARKS: Final = 2
_LONGEST: Final = 300

#: Widths in hundredths of the font size, a little more than those of the usual sans-serif fonts.
_NARROW: Final = dict.fromkeys("iIjl.,:;'|!`", 32) | dict.fromkeys('frt()[]{}/\\-" ', 42)
_WIDE: Final = dict.fromkeys("mwMW@%", 96) | dict.fromkeys("ABCDEGHKNOPQRSUVXYZ&<>=+~", 76) | {"_": 56}
_LETTER: Final = 62
_IDEOGRAPH: Final = 105
_OTHER: Final = 85

#: Where a long name may be broken: behind these, and before a capital that follows a small letter.
_BREAKS: Final = re.compile(r"(?<=[ _\-./:,])|(?<=[a-z0-9])(?=[A-Z])")


def clean(text: str) -> str:
    """One line without control characters, direction overrides, surrogates and heaps of accents, of bounded length."""
    made: list[str] = []
    marks = 0
    for char in " ".join(text.split())[:_LONGEST]:
        kind = unicodedata.category(char)
        marks = marks + 1 if kind in ("Mn", "Me") else 0
        if kind in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
            made.append(_REPLACEMENT)
        elif marks <= _MOST_MARKS:
            made.append(char)
    return "".join(made)


def width(text: str, size: float) -> float:
    """About how wide a (clean) text is in a sans-serif font of that size; rather too wide than too narrow."""
    return sum(map(_char_width, text)) * size / 100


def _char_width(char: str) -> int:
    known = _NARROW.get(char) or _WIDE.get(char)
    if known is not None:
        return known
    if char.isascii():
        return _LETTER
    if unicodedata.category(char) in ("Mn", "Me"):
        return 0
    if unicodedata.east_asian_width(char) in ("W", "F"):
        return _IDEOGRAPH
    return _LETTER + 8 if char.isalpha() and char.islower() else _OTHER


def wrapped(text: str, *, size: float, most: float, lines: int) -> list[str]:
    """A clean text in at most so many lines of at most that width, ending in an ellipsis where it does not fit."""
    rows: list[str] = []
    left = text
    while left and len(rows) < lines - 1 and width(left, size) > most:
        cut = _cut(left, size, most)
        rows.append(left[:cut].rstrip())
        left = left[cut:].lstrip()
    rows.append(shortened(left, size=size, most=most))
    return rows


def shortened(text: str, *, size: float, most: float) -> str:
    """A clean text in one line of at most that width."""
    if width(text, size) <= most:
        return text
    return text[: _fitting(text, size, most - width("\u2026", size))].rstrip() + "\u2026"


def _fitting(text: str, size: float, most: float) -> int:
    """How many characters fit."""
    used = 0.0
    for index, char in enumerate(text):
        used += _char_width(char) * size / 100
        if used > most:
            return index
    return len(text)


def _cut(text: str, size: float, most: float) -> int:
    """Where to break a text that is too wide: at the last good place, else where the room ends."""
    room = max(1, _fitting(text, size, most))
    good = [found.start() for found in _BREAKS.finditer(text) if room // 3 < found.start() <= room]
    return good[-1] if good else room
