"""Functions by name: what a flow as data binds to when it is loaded.

The only way from a name in data to code. Functions come in through ``register_...`` or because they are part of the
flow already; nothing is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

from triggerflow_django import exceptions, jsongate
from triggerflow_django.definition.chunk import function_name, identity

HandlerKind = Literal["chunk", "condition"]
KINDS: Final[tuple[HandlerKind, ...]] = ("chunk", "condition")
Function = Callable[[Any], Any]
#: Begins the names that stand for functions without one; nothing can be registered under such a name.
ANONYMOUS: Final = "<"


class Handlers:
    """The functions a flow was given names for."""

    def __init__(self) -> None:
        self._named: dict[HandlerKind, dict[str, Function]] = {"chunk": {}, "condition": {}}

    def register(self, kind: HandlerKind, handler: Any, name: str | None) -> None:
        """Bind a name; without one that of the function.

        Raises: DefinitionError for a lambda without a name, and for a name that is bound to another function.
        """
        if not callable(handler):
            raise exceptions.DefinitionError(f"register_{kind}_handler({handler!r}): give a function")
        wanted = name if name is not None else natural_name(handler)
        if wanted is None:
            raise exceptions.DefinitionError(
                f"register_{kind}_handler(): a lambda has no name to be found by; give it one with name="
            )
        if not jsongate.is_name(wanted) or wanted.startswith(ANONYMOUS):
            raise exceptions.DefinitionError(
                f"register_{kind}_handler(name={wanted!r}): give a text of 1 to 200 characters that does not start "
                f"with {ANONYMOUS}"
            )
        known = self._named[kind].setdefault(wanted, handler)
        if known is not handler and identity(known) != identity(handler):
            raise exceptions.DefinitionError(
                f"another {kind} handler is registered as {wanted!r}; give this one a name="
            )

    def find(self, kind: HandlerKind, name: str) -> Function | None:
        """The function under a name."""
        return self._named[kind].get(name)

    def name_of(self, kind: HandlerKind, handler: Function) -> str | None:
        """The name a function was registered under."""
        wanted = identity(handler)
        return next((name for name, known in self._named[kind].items() if identity(known) == wanted), None)


def natural_name(handler: Any) -> str | None:
    """What a function is called; ``None`` for lambdas."""
    name = function_name(handler)
    return None if name.startswith(ANONYMOUS) else name
