"""What the search box of a list finds: rows by their id or how it begins, by their execution's id, or by its key.

Every condition has an index to serve it. Keys are unique within a flow, so they are looked up in the flows that this
process knows.
"""

from __future__ import annotations

import re
import uuid
from typing import Any, Final

from django.db.models import Model, Q, UUIDField

from triggerflow_django.definition import registry
from triggerflow_django.models import Execution

#: Ids begin with the time they were made: fewer digits tell hours, not rows, apart.
_FEWEST_DIGITS: Final = 8
#: More than any number of flows that share a key.
_MOST: Final = 100
#: Below the largest number a primary key may be.
_NUMBER: Final = re.compile(r"[0-9]{1,18}")


def matching(model: type[Model], text: str, *, using: str) -> Q:
    """The condition for what ``text`` may mean in a list of ``model``; it may hold for no row."""
    text = text.strip()
    by_key = Q(flow_name__in=[flow.name for flow in registry.flows()], key=text)
    if model is Execution:
        return Q(flow_name=text) | by_key | _begins("pk", text)
    found = _begins("execution_id", text)
    # Looked up first: as a part of the condition it would keep the database from using any index for the others.
    named: Any = Execution.objects.using(using).filter(by_key).values_list("pk", flat=True)
    if ids := list(named[:_MOST]):
        found |= Q(execution_id__in=ids)
    if isinstance(model._meta.pk, UUIDField):
        found |= _begins("pk", text)
    elif _NUMBER.fullmatch(text):
        found |= Q(pk=int(text))
    return found


def _begins(column: str, text: str) -> Q:
    digits = text.replace("-", "").lower()
    if not re.fullmatch(f"[0-9a-f]{{{_FEWEST_DIGITS},32}}", digits):
        return Q(pk__in=[])
    first, last = uuid.UUID(digits.ljust(32, "0")), uuid.UUID(digits.ljust(32, "f"))
    return Q(**{f"{column}__gte": first, f"{column}__lte": last})
