"""``data.put_into_stream`` and what belongs to it: tell readers something while the chunk still runs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Protocol

from triggerflow_django import conf, jsongate
from triggerflow_django.definition.contract import Contract


class Stream(Protocol):
    """Where the items of one run of a chunk go; the engine gives it."""

    @property
    def is_stopped(self) -> bool:
        """Whether the stream has ended."""

    def put(self, item: Any) -> None:
        """Take an item."""

    async def async_put(self, item: Any) -> None:
        """See ``put``."""

    def stop(self) -> None:
        """End the stream."""


class StreamMethods:
    """The part of ``data`` that is about the runtime stream."""

    @property
    def _contract(self) -> Contract:
        raise NotImplementedError

    @property
    def _stream(self) -> Callable[[], Stream] | None:
        raise NotImplementedError

    def put_into_stream(self, item: Any) -> None:
        """Put an item into the execution's runtime stream. Readers get it while this chunk still runs; it stays there
        if the chunk fails. After ``stop_stream`` it is ignored with a warning; in a condition it goes nowhere.

        Raises: JsonValueError for what is not JSON or larger than ``TRIGGERFLOW["STREAM_ITEM_BYTES"]``; ContractError.
        """
        checked = self._checked_item(item)
        stream = self._open_stream()
        if stream is not None:
            stream.put(checked)

    async def async_put_into_stream(self, item: Any) -> None:
        """See ``put_into_stream``."""
        checked = self._checked_item(item)
        stream = self._open_stream()
        if stream is not None:
            await stream.async_put(checked)

    def put(self, item: Any) -> None:
        """The same as ``put_into_stream``."""
        self.put_into_stream(item)

    async def async_put(self, item: Any) -> None:
        """See ``put_into_stream``."""
        await self.async_put_into_stream(item)

    def stop_stream(self) -> None:
        """End the stream: readers end once they have read what was put before. The execution goes on."""
        stream = self._open_stream()
        if stream is not None:
            stream.stop()

    async def async_stop_stream(self) -> None:
        """See ``stop_stream``."""
        self.stop_stream()

    def _checked_item(self, item: Any) -> Any:
        made = self._contract.checked("stream", item)
        return jsongate.check(made, limits=conf.get_settings().stream_limits, root="stream item")

    def _open_stream(self) -> Stream | None:
        stream = None if self._stream is None else self._stream()
        if stream is not None and stream.is_stopped:
            warnings.warn("the runtime stream was stopped; the item is ignored", RuntimeWarning, stacklevel=3)
            return None
        return stream
