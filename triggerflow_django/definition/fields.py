"""Taking a document apart field by field; a refusal starts with the path (``$.nodes[3].cases[0]``)."""

from __future__ import annotations

from typing import Any, Final, NoReturn

from triggerflow_django import exceptions, jsongate

_REQUIRED: Final = object()


class Fields:
    """The fields of one mapping in a document, taken one by one."""

    def __init__(self, value: Any, path: str) -> None:
        if not isinstance(value, dict):
            refuse(path, f"a mapping belongs here, not {called(value)}")
        self.left: dict[str, Any] = dict(value)
        self.path = path

    def take(self, name: str, kind: type, word: str, default: Any = _REQUIRED) -> Any:
        """A field of a type; ``word``: what it should be, in words."""
        if name not in self.left:
            if default is _REQUIRED:
                refuse(self.path, f"{name} is missing")
            return default
        value = self.left.pop(name)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            refuse(self.at(name), f"{word} belongs here, not {called(value)}")
        return value

    def text(self, name: str, default: Any = _REQUIRED, *, most: int = 200) -> Any:
        """A name: a text of bounded length."""
        value = self.take(name, str, "a text", default)
        if value is not default and not jsongate.is_name(value, most=most):
            refuse(self.at(name), f"a text of 1 to {most} characters belongs here")
        return value

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """One of some texts."""
        value: str = self.take(name, str, "a text")
        if value not in choices:
            refuse(self.at(name), f"use {', '.join(choices)}")
        return value

    def texts(self, name: str) -> list[str]:
        """A list of names, at least one, none of them twice."""
        value: list[Any] = self.take(name, list, "a list")
        for index, item in enumerate(value):
            if not jsongate.is_name(item, most=300):
                refuse(f"{self.at(name)}[{index}]", "a text of 1 to 300 characters belongs here")
        if not value or len(set(value)) != len(value):
            refuse(self.at(name), "at least one, and none of them twice")
        return value

    def at(self, name: str) -> str:
        """The path of a field."""
        return f"{self.path}.{name}"

    def done(self) -> None:
        """Refuse what nobody asked for."""
        if self.left:
            refuse(self.path, f"unknown: {', '.join(repr(name)[:50] for name in sorted(self.left))}")


def called(value: Any) -> str:
    """What a value is called where it does not belong."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true or false"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case str():
            return "a text"
    return "a number"


def refuse(path: str, why: str) -> NoReturn:
    """Say that a document is malformed there."""
    raise exceptions.BlueprintError(f"{path}: {why}")
