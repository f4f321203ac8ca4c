"""``data.interventions`` and its kin: what somebody outside wants this chunk to know."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from triggerflow_django import exceptions
from triggerflow_django.runtime.journal import Journal
from triggerflow_django.runtime.state import detached


@dataclass(frozen=True, slots=True)
class Change:
    """What a step does to interventions: insert those for a target, or these very ones; or consume these."""

    op: Literal["insert", "consume"]
    target: str | None = None
    ids: Sequence[uuid.UUID] = ()


def chosen(
    found: Iterable[dict[str, Any]], status: str | None, target: str | None, since_version: int | None
) -> list[dict[str, Any]]:
    """The records with that status and target, newer than a version; each only if given."""
    return [
        record
        for record in found
        if (status is None or record["status"] == status)
        and (target is None or record["target"] == target)
        and (since_version is None or record["version"] > since_version)
    ]


class InterventionMethods:
    """The part of ``data`` that is about interventions: those inserted by the time this step looked."""

    _journal: Journal
    _read_interventions: Callable[[], list[dict[str, Any]]]

    @property
    def interventions(self) -> list[dict[str, Any]]:
        """Copies of the records of what was inserted, oldest first."""
        return self.get_interventions()

    def get_interventions(
        self, status: str | None = None, target: str | None = None, since_version: int | None = None
    ) -> list[dict[str, Any]]:
        """Those of ``interventions`` with a status (``inserted``, ``consumed``), for a target, newer than a version."""
        return chosen(detached(self._seen()), status, target, since_version)

    def get_latest_intervention(
        self, status: str | None = None, target: str | None = None, since_version: int | None = None
    ) -> dict[str, Any] | None:
        """The newest of ``get_interventions``, or ``None``."""
        found = self.get_interventions(status, target, since_version)
        return found[-1] if found else None

    def mark_intervention_consumed(self, intervention_id: str) -> dict[str, Any]:
        """Say that an inserted one has been heeded; it takes effect when this chunk commits. Returns its record.

        Raises: UnknownInterventionError (KeyError); InterventionStatusError (ValueError) where it is not inserted.
        """
        for record in self._seen():
            if record["id"] == intervention_id:
                if record["status"] != "inserted":
                    raise exceptions.InterventionStatusError(
                        f"intervention {intervention_id!r} is {record['status']}, not inserted"
                    )
                record["status"] = "consumed"
                self._journal.interventions.append(Change("consume", ids=[uuid.UUID(intervention_id)]))
                return dict(record)
        raise exceptions.UnknownInterventionError(f"no intervention {intervention_id!r} has been inserted by now")

    async def async_get_interventions(
        self, status: str | None = None, target: str | None = None, since_version: int | None = None
    ) -> list[dict[str, Any]]:
        """See ``get_interventions``."""
        return self.get_interventions(status, target, since_version)

    async def async_get_latest_intervention(
        self, status: str | None = None, target: str | None = None, since_version: int | None = None
    ) -> dict[str, Any] | None:
        """See ``get_latest_intervention``."""
        return self.get_latest_intervention(status, target, since_version)

    async def async_mark_intervention_consumed(self, intervention_id: str) -> dict[str, Any]:
        """See ``mark_intervention_consumed``."""
        return self.mark_intervention_consumed(intervention_id)

    def _insert_interventions(self, target: str | None) -> None:
        """Insert those for a target when this chunk commits: what ``.intervention_point()`` does."""
        self._journal.interventions.append(Change("insert", target=target))

    def _seen(self) -> list[dict[str, Any]]:
        if self._journal.seen_interventions is None:
            self._journal.seen_interventions = self._read_interventions()
        return self._journal.seen_interventions
