"""``settings.TRIGGERFLOW`` (a dict) in, one frozen typed ``Settings`` out.

Everything reads its settings through ``get_settings()``, at the moment it needs them, so that
``override_settings`` acts at once. A dict with mistakes gives no ``Settings`` at all:
``problems()`` lists them for the system check, and ``get_settings()`` raises the same sentences.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, TypeVar

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from triggerflow_django import jsongate

_T = TypeVar("_T")

#: What a rule accepts (is this value right?), and how to say it ("give ...").
_Rule = tuple[Callable[[Any], bool], str]

_DOTTED_PATH: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
#: Beyond this some readers of JSON give up; the gate alone would not mind.
_DEEPEST: Final = 200
#: Seconds a timer can take; it overflows some centuries later.
_LONGEST: Final = 100 * 366 * 86400


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return math.isfinite(value)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_providers(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        _is_text(name) and isinstance(path, str) and _DOTTED_PATH.fullmatch(path) for name, path in value.items()
    )


_RUNNER: Final[_Rule] = (lambda value: value in ("inline", "rq"), 'give "inline" or "rq"')
_ALIAS: Final[_Rule] = (
    lambda value: isinstance(value, str) and value in settings.DATABASES,
    "give an alias that settings.DATABASES has",
)
_TEXT: Final[_Rule] = (_is_text, "give a text that is not empty")
_PROVIDERS: Final[_Rule] = (
    _is_providers,
    'give a dict of names and dotted paths, {"mailer": "shop.mail.make_mailer"}',
)
_POSITIVE: Final[_Rule] = (
    lambda value: _is_number(value) and value > 0,
    "give a number of seconds greater than 0",
)
_POSITIVE_OR_NONE: Final[_Rule] = (
    lambda value: value is None or (_is_number(value) and 0 < value < _LONGEST),
    "give a number of seconds greater than 0, or None for no limit",
)
_NOT_NEGATIVE: Final[_Rule] = (
    lambda value: _is_number(value) and value >= 0,
    "give a number of seconds, 0 or more",
)
_COUNT: Final[_Rule] = (
    lambda value: _is_integer(value) and value >= 1,
    "give a whole number, 1 or more",
)
_DEPTH: Final[_Rule] = (
    lambda value: _is_integer(value) and 1 <= value <= _DEEPEST,
    f"give a whole number from 1 to {_DEEPEST}",
)


def _setting(default: _T, rule: _Rule, help: str) -> _T:
    """A field; the sentence documents it here and in the README."""
    # By factory, since a dataclass takes no default that cannot be hashed. The type checker shall
    # see the default's type, not the field's.
    metadata = {"default": default, "rule": rule, "help": help}
    field: _T = dataclasses.field(default_factory=lambda: default, metadata=metadata)
    return field


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every key of ``settings.TRIGGERFLOW`` with its default. All durations are seconds."""

    RUNNER: Literal["inline", "rq"] = _setting(
        "inline",
        _RUNNER,
        'Where chunks run unless an execution says otherwise: "inline", in the process that holds '
        'the execution, or "rq", on workers.',
    )
    DATABASE: str = _setting("default", _ALIAS, "Alias of the database that executions are created in.")
    LEASE_SECONDS: float = _setting(
        60,
        _POSITIVE,
        "How long a running step stays with a worker that gives no sign of life.",
    )
    SWEEP_SECONDS: float = _setting(
        5,
        _POSITIVE,
        "How often workers together look for steps that lost their worker or wake-up, and for what is due.",
    )
    MAX_LOST: int = _setting(5, _COUNT, "How often a step may lose its worker before it counts as failed.")
    CHUNK_TIMEOUT: float | None = _setting(
        300,
        _POSITIVE_OR_NONE,
        "How long a chunk may run if it sets no timeout of its own. None: as long as it likes.",
    )
    RETRY_BACKOFF: float = _setting(
        1.0,
        _NOT_NEGATIVE,
        "The wait before the first retry of a chunk that sets no backoff of its own; it doubles "
        "with each further retry.",
    )
    RETRY_BACKOFF_MAX: float = _setting(3600, _NOT_NEGATIVE, "The longest wait between two retries.")
    MISSING_CHUNK_GRACE: float = _setting(
        600,
        _NOT_NEGATIVE,
        "How long a step waits for a worker whose code knows its chunk before it fails; inline it fails at once.",
    )
    FOR_EACH_WINDOW: int = _setting(
        100,
        _COUNT,
        "How many items of a for_each without a concurrency of its own are under way at a time.",
    )
    CONCURRENT_CHUNKS: int = _setting(
        100,
        _COUNT,
        "How many async chunks of one execution run together on one event loop.",
    )
    DEFAULT_QUEUE: str = _setting(
        "triggerflow", _TEXT, "RQ queue of chunks that name none; one that nothing else uses."
    )
    DRAIN_SECONDS: float = _setting(
        10, _POSITIVE, "How long a worker goes on with ready steps for one wake-up before it takes the next."
    )
    MAX_BELLS: int = _setting(
        16,
        _COUNT,
        "How many wake-ups lie in a queue at most; as many as there are workers is enough.",
    )
    AUTO_CLOSE_TIMEOUT: float = _setting(
        10.0,
        _NOT_NEGATIVE,
        "How long an execution that closes by itself stays open after its last activity.",
    )
    RESOURCES: Mapping[str, str] = _setting(
        {},
        _PROVIDERS,
        "Resources every process can make for itself: name, and dotted path of a callable "
        "without arguments that returns it.",
    )
    ANSWER_MAX_BYTES: int = _setting(
        jsongate.ANSWER.total_bytes, _COUNT, "The largest input or answer, in bytes of JSON."
    )
    ANSWER_MAX_NODES: int = _setting(
        10_000, _COUNT, "How many values an input or answer may hold, at all levels together."
    )
    ANSWER_MAX_STRING_BYTES: int = _setting(
        64 * 1024, _COUNT, "The longest string in an input or answer, in bytes of UTF-8."
    )
    VALUE_MAX_BYTES: int = _setting(
        jsongate.VALUE.total_bytes,
        _COUNT,
        "The largest value between chunks and the largest state, in bytes of JSON.",
    )
    FANOUT_MAX_BYTES: int = _setting(
        jsongate.FANOUT.total_bytes,
        _COUNT,
        "The largest list to fan out over and the largest result of a join, in bytes of JSON.",
    )
    STREAM_ITEM_BYTES: int = _setting(64 * 1024, _COUNT, "The largest item of a runtime stream, in bytes of JSON.")
    STREAM_MAX_ITEMS: int = _setting(
        100_000, _COUNT, "How many items of one runtime stream are kept at most; then the oldest go."
    )
    STREAM_RETENTION_SECONDS: float | None = _setting(
        7 * 86_400, _POSITIVE_OR_NONE, "How long the runtime stream of a closed execution is kept. None: for good."
    )
    JSON_MAX_DEPTH: int = _setting(jsongate.VALUE.depth, _DEPTH, "How many lists and dicts may lie inside one another.")

    @property
    def answer_limits(self) -> jsongate.Limits:
        """For inputs and answers."""
        return jsongate.Limits(
            total_bytes=self.ANSWER_MAX_BYTES,
            nodes=self.ANSWER_MAX_NODES,
            string_bytes=self.ANSWER_MAX_STRING_BYTES,
            depth=self.JSON_MAX_DEPTH,
        )

    @property
    def value_limits(self) -> jsongate.Limits:
        """For values between chunks and the state."""
        return jsongate.Limits(self.VALUE_MAX_BYTES, None, None, self.JSON_MAX_DEPTH)

    @property
    def stream_limits(self) -> jsongate.Limits:
        """For items of runtime streams."""
        return jsongate.Limits(self.STREAM_ITEM_BYTES, None, None, self.JSON_MAX_DEPTH)

    @property
    def fanout_limits(self) -> jsongate.Limits:
        """For lists to fan out over and results of joins."""
        return jsongate.Limits(self.FANOUT_MAX_BYTES, None, None, self.JSON_MAX_DEPTH)


_FIELDS: Final = {field.name: field for field in dataclasses.fields(Settings)}


def get_settings() -> Settings:
    """The settings as they are now.

    Raises:
        ImproperlyConfigured: with every sentence of ``problems()``.
    """
    return _load()


def problems() -> list[str]:
    """What is wrong with ``settings.TRIGGERFLOW``; each sentence names the key and what to do."""
    given = getattr(settings, "TRIGGERFLOW", {})
    if not isinstance(given, Mapping):
        return [f"settings.TRIGGERFLOW is {_shown(given)}: give a dict"]
    found = [_unknown(key) for key in given if key not in _FIELDS]
    wrong = {
        key: f"TRIGGERFLOW[{key!r}] is {_shown(given[key])}: {field.metadata['rule'][1]}"
        for key, field in _FIELDS.items()
        if key in given and not field.metadata["rule"][0](given[key])
    }
    found.extend(wrong.values())
    if not wrong.keys() & {"RETRY_BACKOFF", "RETRY_BACKOFF_MAX"}:
        first, longest = (
            given.get(key, _FIELDS[key].metadata["default"]) for key in ("RETRY_BACKOFF", "RETRY_BACKOFF_MAX")
        )
        if first > longest:
            found.append(
                f"TRIGGERFLOW['RETRY_BACKOFF'] is {first}, more than RETRY_BACKOFF_MAX, "
                f"{longest}: lower the first or raise the second"
            )
    return found


def settings_table() -> str:
    """All settings as a Markdown table: key, default, meaning. The README shows this text."""
    rows = ["| Setting | Default | Meaning |", "|---|---|---|"]
    for key, field in _FIELDS.items():
        default = field.metadata["default"]
        shown = f'"{default}"' if isinstance(default, str) else repr(default)
        rows.append(f"| `{key}` | `{shown}` | {field.metadata['help']} |")
    return "\n".join(rows) + "\n"


@functools.cache
def _load() -> Settings:
    found = problems()
    if found:
        raise ImproperlyConfigured("\n".join(found))
    given = dict(getattr(settings, "TRIGGERFLOW", {}))
    given["RESOURCES"] = MappingProxyType(dict(given.get("RESOURCES", {})))
    return Settings(**given)


def _forget(*, setting: str, **_kwargs: object) -> None:
    if setting in {"TRIGGERFLOW", "DATABASES"}:
        _load.cache_clear()


setting_changed.connect(_forget, dispatch_uid="triggerflow_django.conf")


def _unknown(key: object) -> str:
    near = difflib.get_close_matches(str(key).upper(), _FIELDS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "take it out"
    return f"TRIGGERFLOW[{key!r}] is not a setting: {hint}"


def _shown(value: object) -> str:
    # Only the type of what is not a plain value: a repr may be long, or hold a password.
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:40] + "...")  # noqa: PLR2004 - a line's worth
    return f"a {type(value).__name__}"
