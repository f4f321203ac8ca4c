"""The execution's state as operations: set, append, delete, with dotted keys for nested objects.

Operations rather than whole states are committed, so that parallel branches compose. ``apply`` never changes the dict
it is given.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from triggerflow_django import exceptions, jsongate

MISSING: Final = object()


@dataclass(frozen=True, slots=True)
class StateChange:
    """One write: what, where, and the value (of set and append)."""

    #: ``default``: set where nothing is.
    op: Literal["set", "append", "delete", "default"]
    key: str
    value: Any = None


def check_key(key: object) -> str:
    """A usable state key.

    Raises: JsonValueError for anything but a text of 1 to 200 characters without an empty part between its dots.
    """
    if not isinstance(key, str) or not jsongate.is_name(key) or not all(key.split(".")):
        raise exceptions.JsonValueError(f"state key {key!r}: give a text like 'order' or 'order.total'")
    if key.startswith("$"):
        raise exceptions.JsonValueError(f"state key {key!r}: keys that begin with $ are this package's")
    return key


def visible(state: dict[str, Any]) -> dict[str, Any]:
    """The part of a state that chunks and callers wrote: without ``$final_result`` and its kin."""
    return {key: value for key, value in state.items() if not key.startswith("$")}


def lookup(state: dict[str, Any], key: str) -> Any:
    """The value under a dotted key, or ``MISSING``. Not a copy."""
    value: Any = state
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            return MISSING
        value = value[part]
    return value


def apply(state: dict[str, Any], change: StateChange) -> dict[str, Any]:
    """The state after one write; shares with the old one whatever the write does not touch."""
    *parents, last = change.key.split(".")
    root = dict(state)
    place = root
    for part in parents:
        child = place.get(part)
        if change.op == "delete" and not isinstance(child, dict):
            return state
        place[part] = child = dict(child) if isinstance(child, dict) else {}
        place = child
    if change.op == "delete":
        if last not in place:
            return state
        del place[last]
    elif change.op == "default" and last in place:
        return state
    elif change.op == "append" and last in place:
        old = place[last]
        place[last] = [*old, change.value] if isinstance(old, list) else [old, change.value]
    else:
        place[last] = [change.value] if change.op == "append" else change.value
    return root


def apply_all(state: dict[str, Any], changes: Iterable[StateChange]) -> dict[str, Any]:
    """The state after several writes, in their order."""
    for change in changes:
        state = apply(state, change)
    return state


def detached(value: Any) -> Any:
    """A copy that its reader may change without changing the state."""
    return copy.deepcopy(value) if isinstance(value, dict | list) else value
