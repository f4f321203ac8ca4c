"""Who acts, as history stores it: plain ids and names, so that deleting a user changes no history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from triggerflow_django import conf, jsongate


@dataclass(frozen=True, slots=True)
class Actor:
    """``id``: the user's primary key as text, empty for code and rules. ``label``: the user's name, or the rule's."""

    id: str = ""
    label: str = ""


NOBODY: Final = Actor()


def of(who: Any) -> Actor:
    """The actor for a user instance, a bare label (code that says for whom it acts), or ``None``.

    Raises: JsonValueError for a label that cannot be stored.
    """
    if who is None:
        return NOBODY
    if isinstance(who, Actor):
        return who
    if isinstance(who, str):
        return Actor(label=words(who, root="actor")[:255])
    # An anonymous user has neither.
    return Actor(id="" if who.pk is None else str(who.pk), label=str(who.get_username())[:255])


def words(text: object, *, root: str) -> str:
    """What somebody says (a reason, a comment, a name), as history stores it.

    Raises: JsonValueError starting with ``root`` where it cannot be stored.
    """
    return str(jsongate.check(str(text), limits=conf.get_settings().answer_limits, root=root))


def rule(name: str) -> Actor:
    """The actor for an act of the system under a named rule."""
    return Actor(label=f"rule:{name}")
