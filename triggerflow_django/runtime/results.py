"""``data.set_result`` and what belongs to it: the deprecated way to give a result besides the state."""

from __future__ import annotations

from typing import Any

from triggerflow_django import conf, jsongate
from triggerflow_django.definition import deprecated
from triggerflow_django.definition.contract import Contract
from triggerflow_django.definition.deprecated import FINAL_RESULT
from triggerflow_django.runtime.journal import Journal
from triggerflow_django.runtime.state import MISSING, StateChange, detached, lookup


class ResultMethods:
    """The part of ``data`` that is about the final result."""

    _journal: Journal

    @property
    def _contract(self) -> Contract:
        raise NotImplementedError

    def set_result(self, value: Any) -> None:
        """Deprecated: the final result, ``$final_result`` in the snapshot. A later one replaces it.

        Raises: JsonValueError; ContractError where it is not as the flow's contract says.
        """
        deprecated.warn("set_result()", "write what matters into the state; the snapshot is the result")
        self._journal.write(StateChange("set", FINAL_RESULT, self._checked_result(value)), signal=False)

    async def async_set_result(self, value: Any) -> None:
        """See ``set_result``."""
        self.set_result(value)

    def get_result(self, default: Any = None) -> Any:
        """Deprecated: a copy of the final result as far as there is one."""
        deprecated.warn("get_result()", "read the state")
        found = lookup(self._journal.state(), FINAL_RESULT)
        return default if found is MISSING else detached(found)

    async def async_get_result(self, default: Any = None) -> Any:
        """See ``get_result``."""
        return self.get_result(default)

    def _offer_result(self, value: Any) -> None:
        """What ``.end()`` does: the final result, unless there is one when this chunk commits."""
        self._journal.write(StateChange("default", FINAL_RESULT, self._checked_result(value)), signal=False)

    def _checked_result(self, value: Any) -> Any:
        value = self._contract.checked("result", value)
        return jsongate.check(value, limits=conf.get_settings().value_limits, root="result")
