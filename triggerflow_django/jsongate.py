"""The JSON gate: every value that is going to be stored passes here, at every door.

In comes any Python value (``check``) or JSON text from outside (``parse``); out comes a plain deep
copy made of dict, list, str, int, float, bool and None, which every supported database and every
JSON reader takes. What cannot be stored as it is gets refused with its path
(``$.order.when: datetime is not JSON``), never changed in silence. Nothing here recurses, so
hostile nesting costs nothing. Nothing here imports Django.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from triggerflow_django import exceptions

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one value may hold. ``None`` means no limit of that kind; sizes are UTF-8 bytes."""

    #: The whole value as compact JSON; for ``parse`` also the text as it came.
    total_bytes: int
    #: Values of every kind together: the containers and all that is in them (keys not counted).
    nodes: int | None
    #: One string, or one key.
    string_bytes: int | None
    #: Containers inside one another; a list of numbers has depth 1.
    depth: int = 32


#: Inputs and answers: what people and other systems send.
ANSWER: Final = Limits(total_bytes=256 * 1024, nodes=10_000, string_bytes=64 * 1024)
#: Values between chunks, and the state.
VALUE: Final = Limits(total_bytes=4 * 1024 * 1024, nodes=None, string_bytes=None)
#: Lists to fan out over, and what joins collect.
FANOUT: Final = Limits(total_bytes=32 * 1024 * 1024, nodes=None, string_bytes=None)

_encoder: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_sorting_encoder: Final = json.JSONEncoder(sort_keys=True)


def dumps(value: Json) -> str:
    """Write a value that passed the gate as compact JSON; non-ASCII characters stay as they are."""
    return _encoder.encode(value)


def same(one: Json, other: Json) -> bool:
    """Whether two values that passed the gate are the same JSON, whatever the order of keys; ``1`` is not ``true``."""
    return _sorting_encoder.encode(one) == _sorting_encoder.encode(other)


def check(value: object, *, limits: Limits, root: str = "$") -> Json:
    """Return a plain deep copy of ``value``, or say what in it is not JSON.

    Tuples become lists; subclasses of dict, list, str, int and float (enums of them too) become
    the plain type. Integers must fit 64 bits. A value that contains itself is refused as too deep
    or too large.

    Raises:
        JsonValueError: the message starts with the path, and the path with ``root``.
    """
    if value is None or value is True or value is False:
        return value
    # Containers are copied when they are met and checked in place when their turn comes. The list
    # around the value spares the root a case of its own.
    holder: list[Any] = [value]
    todo: list[tuple[Any, int, _Path | None]] = [(holder, 0, None)]
    nodes = 1
    chars = 0
    longest = limits.total_bytes if limits.string_bytes is None else limits.string_bytes
    while todo:
        target, depth, above = todo.pop()
        try:
            for key, item in target.items() if type(target) is dict else enumerate(target):
                kind = type(item)
                if kind not in _PLAIN:
                    item = target[key] = _plain(item)  # noqa: PLW2901 - that is the item now
                    kind = type(item)
                if kind is str:
                    if len(item) > longest or not item.isascii() or "\0" in item:
                        _check_string(item, "the string", limits)
                    chars += len(item) + 1
                elif kind is dict or kind is list:
                    nodes += len(item)
                    _check_room(nodes, chars, depth, limits)
                    copy, key_chars = _copy(item, longest, limits)
                    chars += key_chars
                    target[key] = copy
                    if copy:
                        todo.append((copy, depth + 1, () if above is None else (*above, key)))
                elif kind is int or kind is float:
                    _check_number(item)
        except _FaultError as fault:
            here = () if above is None or fault.is_of_the_whole else (*above, key)
            raise exceptions.JsonValueError(f"{_path(root, here)}: {fault}") from None
    try:
        _check_size(holder[0], nodes, chars, limits)
    except _FaultError as fault:
        raise exceptions.JsonValueError(f"{root}: {fault}") from None
    copied: Json = holder[0]
    return copied


def parse(text: str | bytes, *, limits: Limits, root: str = "$") -> Json:
    """Read JSON text from outside under the rules of ``check``; a key given twice is refused too.

    The size and the depth of the text are looked at before the parser is called.

    Raises:
        JsonValueError: not UTF-8, not JSON, or against a rule; the message starts with the path.
    """
    try:
        text = _decode(text, limits)
        _check_text_depth(text, limits)
        value = _decoder.decode(text)
    except _FaultError as fault:
        raise exceptions.JsonValueError(f"{root}: {fault}") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise exceptions.JsonValueError(f"{root}: not JSON: {error.msg} ({place})") from None
    return check(value, limits=limits, root=root)


def is_name(value: object, *, most: int = 200) -> bool:
    """Whether it is a text of 1 to ``most`` characters that every database takes, as names, keys and ids have to be."""
    if not isinstance(value, str) or not 0 < len(value) <= most or "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


class _FaultError(Exception):
    """What is wrong with the value at hand; ``check`` and ``parse`` know the path and add it."""

    is_of_the_whole = False


class _WholeFaultError(_FaultError):
    """No single place is at fault."""

    is_of_the_whole = True


# -- paths -----------------------------------------------------------------------------------------

#: Keys and indexes from the root down.
_Path: TypeAlias = "tuple[str | int, ...]"

_SHOWN_CHARS: Final = 60


def _path(root: str, path: _Path) -> str:
    return root + "".join(_path_part(key) for key in path)


def _path_part(key: str | int) -> str:
    if isinstance(key, int):
        return f"[{key}]"
    is_word = len(key) <= _SHOWN_CHARS and key.isidentifier()
    return f".{key}" if is_word else f"[{_quoted(key)}]"


def _quoted(key: str) -> str:
    # In ASCII, so that the message can be stored and logged whatever the key is made of.
    return json.dumps(key if len(key) <= _SHOWN_CHARS else key[:_SHOWN_CHARS] + "...")


# -- parts of check --------------------------------------------------------------------------------

_PLAIN: Final = frozenset({str, int, float, bool, type(None), dict, list})

_INT_MIN: Final = -(2**63)
_INT_MAX: Final = 2**63 - 1
_INT_FAULT: Final = "the integer does not fit 64 bits"
_FLOAT_NAMES: Final = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}

#: No scalar but a string takes more bytes with its comma (``-1.7976931348623157e+308,``).
_SCALAR_BYTES: Final = 26
#: No character takes more bytes in a JSON string (``\u001f``).
_CHAR_BYTES: Final = 6
#: From here on the exact size is not worth the memory it takes to find out.
_FAR_TOO_LARGE: Final = 4


def _plain(item: object) -> object:
    """The built-in value an instance of a subclass stands for."""
    # The base classes' own methods, since str() of a (str, Enum) member gives "Color.RED".
    if isinstance(item, str):
        return str.__str__(item)
    if isinstance(item, int):
        return int.__int__(item)
    if isinstance(item, float):
        return float.__float__(item)
    if isinstance(item, dict):
        return dict(item.items())
    if isinstance(item, (list, tuple)):
        return list(item)
    raise _FaultError(item.reason if isinstance(item, _Refused) else f"{type(item).__name__} is not JSON")


def _copy(item: Any, longest: int, limits: Limits) -> tuple[Any, int]:
    """A shallow copy with plain keys, and how many characters its keys take at least."""
    if type(item) is list:
        return list(item), 0
    copy = dict(item)
    chars = 0
    is_plain = True
    for key in copy:
        if type(key) is not str:
            is_plain = False
            if not isinstance(key, str):
                shown = f" {key!r}" if key is None or type(key) in {int, float, bool} else ""
                name = type(key).__name__
                raise _FaultError(f"the key{shown} is of type {name}; JSON keys are strings")
        if len(key) > longest or not key.isascii() or "\0" in key:
            _check_string(key, f"the key {_quoted(key)}", limits)
        chars += len(key) + 3
    if not is_plain:
        copy = {str.__str__(key): value for key, value in copy.items()}
        if len(copy) != len(item):
            raise _FaultError("two keys are the same text")
    return copy, chars


def _check_string(text: str, what: str, limits: Limits) -> None:
    if "\0" in text:
        raise _FaultError(f"{what} contains NUL")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise _FaultError(f"{what} contains a lone surrogate") from None
    if limits.string_bytes is not None and size > limits.string_bytes:
        raise _FaultError(f"{what} has {size} bytes, more than the {limits.string_bytes} allowed")


def _check_number(item: int | float) -> None:
    if type(item) is int:
        if not _INT_MIN <= item <= _INT_MAX:
            raise _FaultError(_INT_FAULT)
    elif not math.isfinite(item):
        raise _FaultError(f"{_FLOAT_NAMES[str(item)]} is not a finite number")


def _check_room(nodes: int, chars: int, depth: int, limits: Limits) -> None:
    """Before a container is copied: a list put into itself many times is small only in memory."""
    if depth >= limits.depth:
        raise _FaultError(f"nested deeper than the {limits.depth} levels allowed")
    if limits.nodes is not None and nodes > limits.nodes:
        raise _WholeFaultError(f"more than the {limits.nodes} values allowed")
    if _at_least(nodes, chars) > limits.total_bytes:
        raise _too_large(_at_least(nodes, chars), limits, at_least=True)


def _check_size(value: Json, nodes: int, chars: int, limits: Limits) -> None:
    """Hold the compact JSON to the limit; write it out only where estimates cannot tell."""
    if _SCALAR_BYTES * nodes + _CHAR_BYTES * chars <= limits.total_bytes:
        return
    if _at_least(nodes, chars) > _FAR_TOO_LARGE * limits.total_bytes:
        raise _too_large(_at_least(nodes, chars), limits, at_least=True)
    size = len(dumps(value).encode())
    if size > limits.total_bytes:
        raise _too_large(size, limits)


def _at_least(nodes: int, chars: int) -> int:
    # Every value takes a byte and, but for the root, a comma or its container's brackets.
    return 2 * nodes - 1 + chars


def _too_large(size: int, limits: Limits, *, at_least: bool = False) -> _FaultError:
    prefix = "at least " if at_least else ""
    return _WholeFaultError(f"{prefix}{size} bytes, more than the {limits.total_bytes} allowed")


# -- parts of parse --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Refused:
    """Put where the parser met something it must refuse; ``check`` finds it and knows the path."""

    reason: str


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | _Refused:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            break
        seen.add(key)
    return _Refused(f"the key {_quoted(key)} is given twice")


def _int(digits: str) -> int | _Refused:
    # Thousands of digits take quadratic time, and beyond a limit of its own Python raises.
    return int(digits) if len(digits) <= len(str(_INT_MIN)) else _Refused(_INT_FAULT)


_decoder: Final = json.JSONDecoder(object_pairs_hook=_object, parse_int=_int)

#: A whole string, closed or not (it always matches, so it never goes back), or one bracket.
_STRING_OR_BRACKET: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)


def _decode(text: str | bytes, limits: Limits) -> str:
    if len(text) > limits.total_bytes:
        raise _too_large(len(text), limits, at_least=isinstance(text, str))
    try:
        if isinstance(text, bytes):
            text = text.decode()
        elif len(text.encode()) > limits.total_bytes:
            raise _too_large(len(text.encode()), limits)
    except UnicodeDecodeError as error:
        raise _FaultError(f"not UTF-8 (byte {error.start})") from None
    except UnicodeEncodeError as error:
        raise _FaultError(f"the text contains a lone surrogate (character {error.start})") from None
    if text.startswith("\ufeff"):
        raise _FaultError("the text starts with a byte order mark; send UTF-8 without one")
    return text


def _check_text_depth(text: str, limits: Limits) -> None:
    """Refuse what the parser would recurse into too deep; where it is not JSON the parser says."""
    if text.count("[") + text.count("{") <= limits.depth:
        return
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        match text[match.start()]:
            case "[" | "{":
                depth += 1
                if depth > limits.depth:
                    raise _FaultError(f"nested deeper than the {limits.depth} levels allowed")
            case "]" | "}":
                depth -= 1
