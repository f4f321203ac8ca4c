"""``flow.get_flow_data`` and its kin: what all executions of a flow share, from outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import transaction

from triggerflow_django import conf
from triggerflow_django.definition.graph import Graph
from triggerflow_django.engine import flow_data
from triggerflow_django.engine.calls import Db
from triggerflow_django.handles import trampoline
from triggerflow_django.handles.trampoline import Verb
from triggerflow_django.runtime import bridge
from triggerflow_django.runtime import state as state_ops
from triggerflow_django.runtime.flow_data import checked, warn
from triggerflow_django.runtime.state import StateChange, check_key


class FlowDataMethods:
    """The part of ``TriggerFlow`` that is about flow data. All commit at once, or in the caller's transaction.

    ``using``: the database alias (default: that of the settings).
    """

    name: str
    graph: Graph

    def get_flow_data(
        self, key: str | None = None, default: Any = None, *, no_warning: bool = False, using: str | None = None
    ) -> Any:
        """The value under a dotted key, or the default; without a key all of it."""
        warn(no_warning)
        return bridge.call(self._reads(key, default, using))

    async def async_get_flow_data(
        self, key: str | None = None, default: Any = None, *, no_warning: bool = False, using: str | None = None
    ) -> Any:
        """See ``get_flow_data``."""
        warn(no_warning)
        return await trampoline.run_async(_once(self._reads(key, default, using)))

    def set_flow_data(
        self, key: str, value: Any, *, emit: bool = True, no_warning: bool = False, using: str | None = None
    ) -> None:
        """Set a dotted key. Unless ``emit=False``, ``when({"flow_data": key})`` fires in every open execution.

        Raises: JsonValueError naming the path of what is not JSON.
        """
        warn(no_warning)
        bridge.call(self._writes(StateChange("set", key, checked(key, value)), emit, using))

    async def async_set_flow_data(
        self, key: str, value: Any, *, emit: bool = True, no_warning: bool = False, using: str | None = None
    ) -> None:
        """See ``set_flow_data``."""
        warn(no_warning)
        await trampoline.run_async(_once(self._writes(StateChange("set", key, checked(key, value)), emit, using)))

    def append_flow_data(
        self, key: str, value: Any, *, emit: bool = True, no_warning: bool = False, using: str | None = None
    ) -> None:
        """Append to the list under a key; see ``set_flow_data``."""
        warn(no_warning)
        bridge.call(self._writes(StateChange("append", key, checked(key, value)), emit, using))

    async def async_append_flow_data(
        self, key: str, value: Any, *, emit: bool = True, no_warning: bool = False, using: str | None = None
    ) -> None:
        """See ``append_flow_data``."""
        warn(no_warning)
        await trampoline.run_async(_once(self._writes(StateChange("append", key, checked(key, value)), emit, using)))

    def del_flow_data(self, key: str, *, emit: bool = True, no_warning: bool = False, using: str | None = None) -> None:
        """Delete a key; nothing where it is absent. See ``set_flow_data``."""
        warn(no_warning)
        bridge.call(self._writes(StateChange("delete", check_key(key)), emit, using))

    async def async_del_flow_data(
        self, key: str, *, emit: bool = True, no_warning: bool = False, using: str | None = None
    ) -> None:
        """See ``del_flow_data``."""
        warn(no_warning)
        await trampoline.run_async(_once(self._writes(StateChange("delete", check_key(key)), emit, using)))

    def _reads(self, key: str | None, default: Any, using: str | None) -> Callable[[], Any]:
        alias = using or conf.get_settings().DATABASE

        def read() -> Any:
            data = flow_data.read(self.name, using=alias)
            if key is None:
                return data
            value = state_ops.lookup(data, check_key(key))
            return default if value is state_ops.MISSING else value

        return read

    def _writes(self, change: StateChange, emit: bool, using: str | None) -> Callable[[], None]:
        alias, graph = using or conf.get_settings().DATABASE, self.graph

        def write() -> None:
            with transaction.atomic(using=alias):
                after = flow_data.write(self.name, [change], using=alias)
                if not emit or after is None:
                    return
                value = None if change.op == "delete" else state_ops.lookup(after, change.key)
                transaction.on_commit(
                    lambda: flow_data.signal_all(self.name, [(change.key, value)], using=alias, graph=graph),
                    using=alias,
                    robust=True,
                )

        return write


def _once(function: Callable[[], Any]) -> Verb[Any]:
    return (yield Db(function))
