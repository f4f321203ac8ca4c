"""What the parts of the handle (``result``, ``intervening``, ...) use of the whole."""

from __future__ import annotations

import uuid
from typing import Any

from triggerflow_django.handles.trampoline import Verb


class HandlePart:
    """A part of ``TriggerFlowExecution``, which gives the rest."""

    using: str

    @property
    def id(self) -> str:
        """The execution's id, hexadecimal."""
        raise NotImplementedError

    @property
    def pk(self) -> uuid.UUID:
        """The row's primary key."""
        raise NotImplementedError

    @property
    def _whole(self) -> Any:
        """The handle it is a part of, as ``verbs`` take it."""
        return self

    def ensure(self) -> None:
        """Insert the row unless it exists. (A database function.)"""
        raise NotImplementedError

    def _sync(self, verb: Verb[Any], name: str, *, runs_chunks: bool = True) -> Any:
        raise NotImplementedError

    async def _async(self, verb: Verb[Any]) -> Any:
        raise NotImplementedError

    def _once(self, function: Any) -> Verb[Any]:
        raise NotImplementedError

    def _read(self, function: Any, *arguments: Any) -> Any:
        raise NotImplementedError

    async def _async_read(self, function: Any, *arguments: Any) -> Any:
        raise NotImplementedError
