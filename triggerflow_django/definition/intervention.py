"""The chunk behind ``.intervention_point()``: a place at which pending interventions are inserted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from triggerflow_django import exceptions, jsongate


@dataclass(frozen=True, slots=True)
class InterventionPoint:
    """Inserts those interventions that are for its target, and passes the value on."""

    target: str | None = None

    def __post_init__(self) -> None:
        if self.target is not None and not jsongate.is_name(self.target):
            raise exceptions.DefinitionError(f"target={self.target!r}: give a text of 1 to 200 characters, or None")

    def __call__(self, data: Any) -> Any:
        """The chunk."""
        data._insert_interventions(self.target)
        return data.input
