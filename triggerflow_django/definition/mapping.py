"""What goes into a sub flow and what comes back: ``capture=`` and ``write_back=`` of ``to_sub_flow``, checked where
they are written and applied where the sub flow starts and ends.

A mapping names places by scope and dotted path: ``{"input": {"order": "value.order"}}`` puts what is under ``order`` of
the parent's value under ``order`` of the child's input.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from triggerflow_django import exceptions

Path = tuple[str, ...]

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: For each direction: the scopes written to, the scopes read from, and the one a bare text may stand for.
_RULES: Final = {
    "capture": (
        ("input", "runtime_data", "flow_data", "resources"),
        ("value", "runtime_data", "flow_data", "resources"),
        "input",
    ),
    "write_back": (("value", "runtime_data", "flow_data"), ("result",), "value"),
}


@dataclass(frozen=True, slots=True)
class Binding:
    """Put what is at one place to another."""

    target: str
    #: Empty: the whole scope.
    target_path: Path
    source: str
    source_path: Path


#: What ``None`` stands for in ``capture``: the value becomes the input.
WHOLE_VALUE: Final = (Binding("input", (), "value", ()),)


def bindings(direction: str, mapping: Any) -> tuple[Binding, ...]:
    """A checked ``capture`` or ``write_back``.

    Raises: MappingTypeError (a TypeError) for what is not a mapping of texts; DefinitionError (a ValueError) for a
    scope there is none of, a path that cannot be one, and two paths that get in each other's way.
    """
    targets, sources, bare = _RULES[direction]
    if not isinstance(mapping, Mapping):
        _refuse_type(f"{direction} is a mapping by scope ({', '.join(targets)}), not {type(mapping).__name__}")
    found: list[Binding] = []
    for scope, wanted in mapping.items():
        if not isinstance(scope, str):
            _refuse_type(f"{direction}: a scope is a text, not {type(scope).__name__}")
        if scope not in targets:
            _refuse(f"{direction}: there is no scope {scope!r} to write to; use {', '.join(targets)}")
        if isinstance(wanted, str) and scope == bare:
            found.append(Binding(scope, (), *_source(direction, wanted, sources)))
            continue
        if not isinstance(wanted, Mapping):
            _refuse_type(f"{direction}[{scope!r}] is a mapping of paths, not {type(wanted).__name__}")
        paths: list[Path] = []
        for target, source in wanted.items():
            if not isinstance(target, str) or not isinstance(source, str):
                _refuse_type(f"{direction}[{scope!r}] maps texts to texts, not {target!r} to {source!r}")
            paths.append(_path(direction, target, target.split(".")))
            found.append(Binding(scope, paths[-1], *_source(direction, source, sources)))
        _require_apart(f"{direction}[{scope!r}]", paths)
    return tuple(found)


def _source(direction: str, text: str, sources: Iterable[str]) -> tuple[str, Path]:
    scope, *path = text.split(".")
    if scope not in sources:
        _refuse(f"{direction}: {text!r} reads from {scope!r}; it can read from {', '.join(sources)}")
    return scope, _path(direction, text, path)


def _path(direction: str, text: str, parts: list[str]) -> Path:
    for part in parts:
        if not _NAME.fullmatch(part):
            _refuse(f"{direction}: {text!r} is no path: letters, digits and _ between its dots, and no digit first")
    return tuple(parts)


def _require_apart(place: str, paths: list[Path]) -> None:
    for path in paths:
        for depth in range(1, len(path)):
            if path[:depth] in paths:
                _refuse(f"{place}: {'.'.join(path)!r} lies below {'.'.join(path[:depth])!r}")


def _refuse(why: str) -> NoReturn:
    raise exceptions.DefinitionError(why)


def _refuse_type(why: str) -> NoReturn:
    raise exceptions.MappingTypeError(why)


# -- applying


def look_up(value: Any, path: Path, *, scope: str) -> Any:
    """What is at a path. Not a copy.

    Raises: MappingPathError (a KeyError) where there is nothing.
    """
    for part in path:
        if not isinstance(value, Mapping) or part not in value:
            raise exceptions.MappingPathError(f"there is nothing at {'.'.join((scope, *path))}")
        value = value[part]
    return value


def read(binding: Binding, sources: Mapping[str, Callable[[], Any]]) -> Any:
    """What a binding reads; ``sources`` fetch what the scopes hold, each only where it is asked for.

    Raises: MappingPathError (a KeyError) where there is nothing.
    """
    return look_up(sources[binding.source](), binding.source_path, scope=binding.source)


def look_up_result(snapshot: Any, path: Path, *, final: str) -> Any:
    """What is at a path of a child's result: of what ``$final_result`` (``final``) holds where that has it, else of the
    snapshot.

    Raises: MappingPathError (a KeyError).
    """
    if isinstance(snapshot, Mapping) and final in snapshot:
        try:
            return look_up(snapshot[final], path, scope="result")
        except exceptions.MappingPathError:
            pass
    return look_up(snapshot, path, scope="result")


def put(root: Any, path: Path, value: Any) -> Any:
    """``root`` with a value at a path; an empty path replaces it, and what is no dict on the way becomes one."""
    if not path:
        return value
    place = copy.copy(root) if isinstance(root, dict) else {}
    place[path[0]] = put(place.get(path[0]), path[1:], value)
    return place
