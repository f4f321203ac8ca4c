"""Stored values as HTML, escaped: JSON in a ``<pre>``, times and names in words."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any, Final

from django.utils import formats, timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

#: Beyond this a value is not for reading on a page; some are megabytes.
LONGEST: Final = 50_000

_encoder: Final = json.JSONEncoder(indent=2, ensure_ascii=False)
#: Characters that turn the direction of what follows: with them a text reads as what it is not.
_TURNING: Final = {code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}


def as_json(value: Any) -> SafeString:
    """A JSON value for reading, cut where it is very long."""
    text, cut = _written(value)
    return _block(text, cut)


def as_text(text: str) -> SafeString:
    """Lines of text as they are: a traceback, a comment."""
    return _block(text[:LONGEST].translate(_TURNING), len(text) > LONGEST)


def plain(text: str) -> str:
    """A text that stands in a line, without what turns its direction. Not escaped yet."""
    return text[:LONGEST].translate(_TURNING)


def moment(when: dt.datetime | None) -> str:
    """A time in the reader's time zone and language; a dash for none."""
    if when is None:
        return "-"
    local = timezone.localtime(when) if timezone.is_aware(when) else when
    return str(formats.date_format(local, "DATETIME_FORMAT"))


def _written(value: Any) -> tuple[str, bool]:
    parts: list[str] = []
    room = LONGEST
    for part in _encoder.iterencode(value):  # piece by piece, so that megabytes are not written out to be cut off
        parts.append(part[:room])
        room -= len(part)
        if room < 0:
            break
    return "".join(parts).translate(_TURNING), room < 0


def _block(text: str, cut: bool) -> SafeString:
    if not cut:
        return format_html('<pre class="triggerflow-value">{}</pre>', text)
    note = _("Cut after %(number)s characters; the commands and the models show all of it.") % {"number": LONGEST}
    return format_html('<pre class="triggerflow-value">{}</pre><p class="help">{}</p>', text, note)
