"""``execution.intervene`` and its kin."""

from __future__ import annotations

from typing import Any

from triggerflow_django.engine import intervene
from triggerflow_django.engine.calls import Db
from triggerflow_django.handles import reading
from triggerflow_django.handles.part import HandlePart
from triggerflow_django.handles.trampoline import Verb
from triggerflow_django.runtime.interventions import chosen


class InterventionMethods(HandlePart):
    """The part of the handle that is about interventions: notes for the chunks still to come."""

    def intervene(
        self,
        payload: Any,
        *,
        author: str | None = None,
        note: str | None = None,
        target: str | None = None,
        metadata: dict[str, Any] | None = None,
        actor: Any = None,
    ) -> dict[str, Any]:
        """Leave something for later chunks to see. It starts and answers nothing. Returns its record, ``pending``.

        ``target``: the ``target`` of the intervention point it is for, or with mode ``auto`` the chunk. ``actor``: the
        user who does it, for history.

        Raises: ExecutionNotOpenError; InterventionsOffError (both RuntimeError); JsonValueError.
        """
        made: dict[str, Any] = self._sync(
            _intervene(self, payload, author, note, target, metadata, actor), "intervene", runs_chunks=False
        )
        return made

    async def async_intervene(
        self,
        payload: Any,
        *,
        author: str | None = None,
        note: str | None = None,
        target: str | None = None,
        metadata: dict[str, Any] | None = None,
        actor: Any = None,
    ) -> dict[str, Any]:
        """See ``intervene``."""
        made: dict[str, Any] = await self._async(_intervene(self, payload, author, note, target, metadata, actor))
        return made

    def get_interventions(
        self,
        status: str | None = None,
        target: str | None = None,
        since_version: int | None = None,
    ) -> list[dict[str, Any]]:
        """Copies of all records, oldest first; with a status (``pending``, ``inserted``, ``consumed``, ``expired``),
        for a target, newer than a version.
        """
        return chosen(self._read(reading.interventions), status, target, since_version)

    async def async_get_interventions(
        self,
        status: str | None = None,
        target: str | None = None,
        since_version: int | None = None,
    ) -> list[dict[str, Any]]:
        """See ``get_interventions``."""
        return chosen(await self._async_read(reading.interventions), status, target, since_version)


def _intervene(
    handle: HandlePart,
    payload: Any,
    author: str | None,
    note: str | None,
    target: str | None,
    metadata: Any,
    actor: Any,
) -> Verb[dict[str, Any]]:
    def act() -> dict[str, Any]:
        handle.ensure()
        return intervene.intervene(
            handle.pk,
            payload,
            author=author,
            note=note,
            target=target,
            metadata=metadata,
            using=handle.using,
            actor=actor,
        )

    made: dict[str, Any] = yield Db(act)
    return made
