"""``execution.result``: how an execution ended, or stands."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from django.db import connections

from triggerflow_django import exceptions
from triggerflow_django.definition import deprecated
from triggerflow_django.definition.deprecated import FINAL_RESULT
from triggerflow_django.engine import records
from triggerflow_django.engine.calls import Db
from triggerflow_django.handles import reading, trampoline, verbs
from triggerflow_django.handles.part import HandlePart
from triggerflow_django.handles.trampoline import Sleep, Verb
from triggerflow_django.runtime import bridge

if TYPE_CHECKING:
    from triggerflow_django.handles.execution import TriggerFlowExecution


class ExecutionResult:
    """What came of an execution. Read from its rows each time."""

    def __init__(self, execution: TriggerFlowExecution) -> None:
        self._execution = execution

    def get_state(self, path: str | None = None, default: Any = None) -> Any:
        """The state, or what is under a dotted path."""
        return self._execution.get_state(path, default)

    async def async_get_state(self, path: str | None = None, default: Any = None) -> Any:
        """See ``get_state``."""
        return await self._execution.async_get_state(path, default)

    def get_meta(self) -> dict[str, Any]:
        """``execution_id``, ``run_id`` (the same), ``flow_name``, ``status``, ``lifecycle_state``, ``created_at``,
        ``started_at``, ``closed_at`` (seconds since the epoch, or ``None``), ``close_reason``, ``state_version``.
        """
        meta: dict[str, Any] = bridge.call(self._meta)
        return meta

    async def async_get_meta(self) -> dict[str, Any]:
        """See ``get_meta``."""

        def read() -> Verb[dict[str, Any]]:
            meta: dict[str, Any] = yield Db(self._meta)
            return meta

        return await trampoline.run_async(read())

    def _meta(self) -> dict[str, Any]:
        handle = self._execution
        row = reading.row(handle.pk, handle.using)
        return {
            "execution_id": handle.id,
            "run_id": handle.id,
            "flow_name": handle.flow.name,
            "status": reading.status(handle.pk, handle.using, handle.has_sub_flows),
            "lifecycle_state": "open" if row is None else str(row.lifecycle),
            "created_at": None if row is None else records.stamp(row.created_at),
            "started_at": None if row is None else records.stamp(row.started_at),
            "closed_at": None if row is None else records.stamp(row.closed_at),
            "close_reason": (row.close_reason or None) if row is not None else None,
            "state_version": 0 if row is None else row.state_revision,
        }

    def get_final_result(self, timeout: float | None = None) -> Any:
        """What ``set_result`` or ``end()`` gave, at once if it is there; else the snapshot, once the execution has
        closed.

        ``timeout``: seconds to wait for one of the two.

        Raises: WaitTimeoutError; the first error of a chunk that failed for good in this process meanwhile.
        """
        return self._execution._sync(self._final(timeout), "get_final_result")

    async def async_get_final_result(self, timeout: float | None = None) -> Any:
        """See ``get_final_result``."""
        return await self._execution._async(self._final(timeout))

    def _final(self, timeout: float | None) -> Verb[Any]:
        handle = self._execution
        deadline = None if timeout is None else time.monotonic() + timeout
        polls = 0
        while True:
            row = yield Db(lambda: verbs.finish_due(handle))
            state: dict[str, Any] = yield Db(lambda: reading.whole_state(handle.pk, handle.using))
            if FINAL_RESULT in state:
                return state[FINAL_RESULT]
            if row.is_closed:
                return row.snapshot
            stuck = yield Db(lambda: connections[handle.using].in_atomic_block)
            if stuck or (deadline is not None and time.monotonic() >= deadline):
                raise exceptions.WaitTimeoutError(f"execution {handle.id} has no final result and is not closed")
            yield from verbs.drained(handle, patient=timeout is None)
            yield Sleep(verbs.pause(polls))
            polls += 1


class ResultMethods(HandlePart):
    """The part of the handle that is about the result."""

    @property
    def result(self) -> ExecutionResult:
        """How it ended, or stands."""
        return ExecutionResult(self._whole)

    def get_result(self, timeout: float | None = None) -> Any:
        """Deprecated: ``execution.result.get_final_result(timeout)``."""
        deprecated.warn("get_result()", "use execution.result.get_final_result()")
        return self.result.get_final_result(timeout)

    async def async_get_result(self, timeout: float | None = None) -> Any:
        """See ``get_result``."""
        deprecated.warn("get_result()", "use execution.result.get_final_result()")
        return await self.result.async_get_final_result(timeout)
