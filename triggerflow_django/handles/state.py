"""The execution's state, read and written from outside."""

from __future__ import annotations

from typing import Any, Literal

from triggerflow_django import conf, jsongate
from triggerflow_django.handles import reading, verbs
from triggerflow_django.handles.part import HandlePart
from triggerflow_django.handles.trampoline import Verb
from triggerflow_django.runtime import state
from triggerflow_django.runtime.state import StateChange


class StateMethods(HandlePart):
    """The part of the handle that is about the state."""

    def get_state(self, key: str | None = None, default: Any = None) -> Any:
        """A copy of the committed value under a dotted key, or the default; without a key the whole state."""
        return self._read(reading.state, key, default)

    async def async_get_state(self, key: str | None = None, default: Any = None) -> Any:
        """See ``get_state``."""
        return await self._async_read(reading.state, key, default)

    def set_state(self, key: str, value: Any, *, emit: bool = True) -> None:
        """Set a dotted key from outside. Allowed until it is closed.

        Raises: ExecutionNotOpenError; JsonValueError.
        """
        self._sync(self._change("set", key, value, emit), "set_state")

    async def async_set_state(self, key: str, value: Any, *, emit: bool = True) -> None:
        """See ``set_state``."""
        await self._async(self._change("set", key, value, emit))

    def append_state(self, key: str, value: Any, *, emit: bool = True) -> None:
        """Append to the list under a key from outside. See ``data.append_state``."""
        self._sync(self._change("append", key, value, emit), "append_state")

    async def async_append_state(self, key: str, value: Any, *, emit: bool = True) -> None:
        """See ``append_state``."""
        await self._async(self._change("append", key, value, emit))

    def del_state(self, key: str, *, emit: bool = True) -> None:
        """Delete a key from outside; nothing where it is absent."""
        self._sync(self._change("delete", key, None, emit), "del_state")

    async def async_del_state(self, key: str, *, emit: bool = True) -> None:
        """See ``del_state``."""
        await self._async(self._change("delete", key, None, emit))

    def _change(self, op: Literal["set", "append", "delete"], key: str, value: Any, emit: bool) -> Verb[None]:
        checked = jsongate.check(value, limits=conf.get_settings().value_limits, root=f"state.{key}")
        return verbs.change_state(self._whole, StateChange(op, state.check_key(key), checked), signal=emit)
