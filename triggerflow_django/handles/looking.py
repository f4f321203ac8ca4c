"""How an execution stands, as its rows say it: nothing here changes anything."""

from __future__ import annotations

from typing import Any

from triggerflow_django.handles import reading
from triggerflow_django.handles.part import HandlePart
from triggerflow_django.models import Execution


class LookingMethods(HandlePart):
    """The part of the handle that looks."""

    @property
    def has_sub_flows(self) -> bool:
        """Whether its flow contains other flows."""
        raise NotImplementedError

    def get_status(self) -> str:
        """created, running, waiting, completed, failed or cancelled."""
        status: str = self._read(reading.status, self.has_sub_flows)
        return status

    async def async_get_status(self) -> str:
        """See ``get_status``."""
        status: str = await self._async_read(reading.status, self.has_sub_flows)
        return status

    def get_lifecycle_state(self) -> str:
        """open, sealed or closed."""
        state: str = self._read(reading.lifecycle_state)
        return state

    async def async_get_lifecycle_state(self) -> str:
        """See ``get_lifecycle_state``."""
        state: str = await self._async_read(reading.lifecycle_state)
        return state

    def is_open(self) -> bool:
        """Whether it accepts events and answers."""
        return self.get_lifecycle_state() == "open"

    async def async_is_open(self) -> bool:
        """See ``is_open``."""
        return await self.async_get_lifecycle_state() == "open"

    def is_sealed(self) -> bool:
        """Whether it is sealed and not closed."""
        return self.get_lifecycle_state() == "sealed"

    async def async_is_sealed(self) -> bool:
        """See ``is_sealed``."""
        return await self.async_get_lifecycle_state() == "sealed"

    def is_closed(self) -> bool:
        """Whether it is closed for good."""
        return self.get_lifecycle_state() == "closed"

    async def async_is_closed(self) -> bool:
        """See ``is_closed``."""
        return await self.async_get_lifecycle_state() == "closed"

    def is_waiting(self) -> bool:
        """Whether nothing runs and at least one interrupt waits."""
        return self.get_status() == "waiting"

    async def async_is_waiting(self) -> bool:
        """See ``is_waiting``."""
        return await self.async_get_status() == "waiting"

    def get_pending_interrupts(self) -> dict[str, dict[str, Any]]:
        """Copies of the waiting interrupts' records by id, oldest first."""
        pending: dict[str, dict[str, Any]] = self._read(reading.pending_interrupts, self.has_sub_flows)
        return pending

    async def async_get_pending_interrupts(self) -> dict[str, dict[str, Any]]:
        """See ``get_pending_interrupts``."""
        pending: dict[str, dict[str, Any]] = await self._async_read(reading.pending_interrupts, self.has_sub_flows)
        return pending

    def get_interrupt(self, interrupt_id: str) -> dict[str, Any] | None:
        """A copy of the newest record under an id, or ``None``."""
        record: dict[str, Any] | None = self._read(reading.interrupt, interrupt_id, self.has_sub_flows)
        return record

    async def async_get_interrupt(self, interrupt_id: str) -> dict[str, Any] | None:
        """See ``get_interrupt``."""
        record: dict[str, Any] | None = await self._async_read(reading.interrupt, interrupt_id, self.has_sub_flows)
        return record

    def get_snapshot(self) -> Any:
        """The snapshot it was closed with; ``None`` until then."""
        return self._read(reading.snapshot)

    async def async_get_snapshot(self) -> Any:
        """See ``get_snapshot``."""
        return await self._async_read(reading.snapshot)

    def row(self) -> Execution | None:
        """The model instance as committed, or ``None`` before the first write."""
        row: Execution | None = self._read(reading.row)
        return row

    async def async_row(self) -> Execution | None:
        """See ``row``."""
        row: Execution | None = await self._async_read(reading.row)
        return row
