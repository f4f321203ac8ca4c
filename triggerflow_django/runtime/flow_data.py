"""``data.get_flow_data`` and its kin: what all executions of a flow share, as a chunk sees it."""

from __future__ import annotations

import warnings
from typing import Any

from triggerflow_django import conf, jsongate
from triggerflow_django.runtime.journal import Journal
from triggerflow_django.runtime.state import MISSING, StateChange, check_key, detached, lookup


def warn(no_warning: bool) -> None:
    """Say that flow data is shared, at the caller's caller, unless told not to."""
    if not no_warning:
        warnings.warn(
            "flow data is shared by all executions of the flow and is not in their snapshots; pass no_warning=True if "
            "that is what you want, else use the state",
            RuntimeWarning,
            stacklevel=3,
        )


def checked(key: str, value: Any) -> Any:
    """A value for a key, through the JSON gate."""
    return jsongate.check(value, limits=conf.get_settings().value_limits, root=f"flow_data.{check_key(key)}")


class FlowDataMethods:
    """The part of ``data`` that is about flow data.

    A chunk reads what was committed when it first looked, and its own writes; these take effect when it commits.
    """

    _journal: Journal

    def get_flow_data(self, key: str | None = None, default: Any = None, *, no_warning: bool = False) -> Any:
        """A copy of the value under a dotted key, or the default; without a key all of it."""
        warn(no_warning)
        whole = self._journal.flow_data()
        if key is None:
            return detached(whole)
        value = lookup(whole, check_key(key))
        return default if value is MISSING else detached(value)

    def set_flow_data(self, key: str, value: Any, *, emit: bool = True, no_warning: bool = False) -> None:
        """Set a dotted key. ``emit=False``: ``when({"flow_data": key})`` of this execution does not fire.

        Raises: JsonValueError naming the path of what is not JSON.
        """
        warn(no_warning)
        self._journal.write_flow(StateChange("set", key, checked(key, value)), signal=emit)

    def append_flow_data(self, key: str, value: Any, *, emit: bool = True, no_warning: bool = False) -> None:
        """Append to the list under a key; see ``append_state``."""
        warn(no_warning)
        self._journal.write_flow(StateChange("append", key, checked(key, value)), signal=emit)

    def del_flow_data(self, key: str, *, emit: bool = True, no_warning: bool = False) -> None:
        """Delete a key; nothing where it is absent."""
        warn(no_warning)
        self._journal.write_flow(StateChange("delete", check_key(key)), signal=emit)

    async def async_get_flow_data(
        self, key: str | None = None, default: Any = None, *, no_warning: bool = False
    ) -> Any:
        """See ``get_flow_data``."""
        warn(no_warning)
        return self.get_flow_data(key, default, no_warning=True)

    async def async_set_flow_data(self, key: str, value: Any, *, emit: bool = True, no_warning: bool = False) -> None:
        """See ``set_flow_data``."""
        warn(no_warning)
        self.set_flow_data(key, value, emit=emit, no_warning=True)

    async def async_append_flow_data(
        self, key: str, value: Any, *, emit: bool = True, no_warning: bool = False
    ) -> None:
        """See ``append_flow_data``."""
        warn(no_warning)
        self.append_flow_data(key, value, emit=emit, no_warning=True)

    async def async_del_flow_data(self, key: str, *, emit: bool = True, no_warning: bool = False) -> None:
        """See ``del_flow_data``."""
        warn(no_warning)
        self.del_flow_data(key, emit=emit, no_warning=True)
