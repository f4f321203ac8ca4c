"""How values are stored: JSON that comes back exactly as it was put in, and ids that sort by time.

PostgreSQL's ``jsonb`` sorts the keys of objects; the order of a batch's result and of a for_each is part of its
meaning. So JSON is kept in a ``json`` column there, which stores the text as it is.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from uuid_utils.compat import uuid7

from triggerflow_django import jsongate


def new_id() -> uuid.UUID:
    """A fresh UUIDv7: unguessable enough to show outside, and ordered by creation time."""
    return uuid7()


class StoredJSONField(models.JSONField):
    """A JSON value that keeps the order of its keys. ``None`` is SQL NULL where ``null=True``, JSON ``null`` elsewhere.

    Only for values that have passed the JSON gate; it is not meant to be queried by key.
    """

    def db_type(self, connection: BaseDatabaseWrapper) -> str | None:
        """``json`` on PostgreSQL, Django's choice elsewhere."""
        return "json" if connection.vendor == "postgresql" else super().db_type(connection)

    def get_db_prep_value(self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False) -> Any:
        """JSON text."""
        if hasattr(value, "as_sql") or (value is None and self.null):
            return value
        return jsongate.dumps(value)

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        """JSON text; unlike Django's own field this also holds for a bare ``None``."""
        return self.get_db_prep_value(value, connection)

    def from_db_value(self, value: Any, expression: Any, connection: BaseDatabaseWrapper) -> Any:
        """The value; PostgreSQL's drivers have parsed a ``json`` column already."""
        if value is None or connection.vendor == "postgresql":
            return value
        return json.loads(value)
