"""``get_runtime_stream`` of handles and flows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from triggerflow_django.handles import verbs
from triggerflow_django.handles.part import HandlePart
from triggerflow_django.handles.stream import AsyncRuntimeStream, RuntimeStream

if TYPE_CHECKING:
    from triggerflow_django.handles.execution import TriggerFlowExecution


class StreamMethods(HandlePart):
    """The part of the handle that is about the runtime stream."""

    def get_runtime_stream(self, value: Any = None, *, timeout: float | None = 10, position: int = 0) -> RuntimeStream:
        """An iterator over the items its chunks put, from the first on or from behind a ``position``; in any process,
        as often as you like. It ends when the execution closes or a chunk stops the stream.

        An execution that is not started is started with ``value`` and runs while you read. ``timeout``: seconds to
        wait for each item (``None``: as long as it takes); then a RuntimeWarning, and the iterator ends.

        Raises (while iterating): the first error of a chunk that failed for good, where this call started it;
        InsideChunkError and SyncInLoopError (both RuntimeError) where it would wait for the chunk that calls.
        """
        verbs.refuse_waiting(self._whole, "get_runtime_stream")
        return RuntimeStream(self._whole, value, timeout=timeout, position=position, is_hidden=False)

    def get_async_runtime_stream(
        self, value: Any = None, *, timeout: float | None = 10, position: int = 0
    ) -> AsyncRuntimeStream:
        """See ``get_runtime_stream``; for ``async for``."""
        verbs.refuse_waiting(self._whole, "get_async_runtime_stream")
        return AsyncRuntimeStream(self._whole, value, timeout=timeout, position=position, is_hidden=False)


class FlowStreamMethods:
    """The part of the flow that is about the runtime stream."""

    if TYPE_CHECKING:

        def _hidden(self, options: dict[str, Any]) -> TriggerFlowExecution: ...

    def get_runtime_stream(self, value: Any = None, *, timeout: float | None = 10, **options: Any) -> RuntimeStream:
        """Run the flow and read its runtime stream meanwhile. Like ``start`` it gives nobody a handle: an error of a
        chunk is raised here, after the items before it, and a pause is one (NoHandleError, a RuntimeError).

        ``timeout``: see the handle's ``get_runtime_stream``. Options: those of ``create_execution``.
        """
        return RuntimeStream(self._hidden(options), value, timeout=timeout, position=0, is_hidden=True)

    def get_async_runtime_stream(
        self, value: Any = None, *, timeout: float | None = 10, **options: Any
    ) -> AsyncRuntimeStream:
        """See ``get_runtime_stream``; for ``async for``."""
        return AsyncRuntimeStream(self._hidden(options), value, timeout=timeout, position=0, is_hidden=True)
