"""What stays the same about an execution while its steps run."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from triggerflow_django.models import Execution


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a drain needs to know of an execution and what does not change while it runs."""

    id: uuid.UUID
    flow_name: str
    interactive: bool
    skip_exceptions: bool
    intervention_mode: str = ""

    @classmethod
    def of(cls, row: Execution) -> Facts:
        """The facts of a stored execution."""
        return cls(
            id=row.pk,
            flow_name=row.flow_name,
            interactive=row.interactive,
            skip_exceptions=row.skip_exceptions,
            intervention_mode=row.intervention_mode,
        )
