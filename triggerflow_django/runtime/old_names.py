"""The state's former names, ``*_runtime_data``: they warn once a process and do what their successors do."""

from __future__ import annotations

from typing import Any

from triggerflow_django.definition import deprecated


class OldStateNames:
    """Mixed into ``data`` and into the handle, which have the methods named here."""

    get_state: Any
    set_state: Any
    append_state: Any
    del_state: Any
    async_get_state: Any
    async_set_state: Any
    async_append_state: Any
    async_del_state: Any

    def get_runtime_data(self, key: str | None = None, default: Any = None) -> Any:
        """Deprecated: ``get_state``."""
        deprecated.warn("get_runtime_data()", "use get_state()")
        return self.get_state(key, default)

    def set_runtime_data(self, key: str, value: Any, *, emit: bool = True) -> None:
        """Deprecated: ``set_state``."""
        deprecated.warn("set_runtime_data()", "use set_state()")
        self.set_state(key, value, emit=emit)

    def append_runtime_data(self, key: str, value: Any, *, emit: bool = True) -> None:
        """Deprecated: ``append_state``."""
        deprecated.warn("append_runtime_data()", "use append_state()")
        self.append_state(key, value, emit=emit)

    def del_runtime_data(self, key: str, *, emit: bool = True) -> None:
        """Deprecated: ``del_state``."""
        deprecated.warn("del_runtime_data()", "use del_state()")
        self.del_state(key, emit=emit)

    async def async_get_runtime_data(self, key: str | None = None, default: Any = None) -> Any:
        """Deprecated: ``async_get_state``."""
        deprecated.warn("get_runtime_data()", "use get_state()")
        return await self.async_get_state(key, default)

    async def async_set_runtime_data(self, key: str, value: Any, *, emit: bool = True) -> None:
        """Deprecated: ``async_set_state``."""
        deprecated.warn("set_runtime_data()", "use set_state()")
        await self.async_set_state(key, value, emit=emit)

    async def async_append_runtime_data(self, key: str, value: Any, *, emit: bool = True) -> None:
        """Deprecated: ``async_append_state``."""
        deprecated.warn("append_runtime_data()", "use append_state()")
        await self.async_append_state(key, value, emit=emit)

    async def async_del_runtime_data(self, key: str, *, emit: bool = True) -> None:
        """Deprecated: ``async_del_state``."""
        deprecated.warn("del_runtime_data()", "use del_state()")
        await self.async_del_state(key, emit=emit)
