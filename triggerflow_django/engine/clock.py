"""The only source of now: the database's clock, so that machines need not agree, plus an offset that tests may move.

``expression()`` is for WHERE and SET, ``bound()`` for searching an index; ``read()`` and the lock's annotation give a
datetime that all writes of a transition share.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from django.conf import settings
from django.db import connections
from django.db.models import DateTimeField, Func
from django.db.models.expressions import Combinable
from django.utils import timezone
from django.utils.dateparse import parse_datetime

_SQL: Final = {
    "postgresql": "CLOCK_TIMESTAMP()",
    # Compared as text with what Python stores: six digits, or a moment would come after itself.
    "sqlite": "(STRFTIME('%Y-%m-%d %H:%M:%f', 'NOW') || '000')",
}

#: Without time zones Django stores local time; PostgreSQL converts by itself.
_LOCAL_SQLITE: Final = "STRFTIME('%Y-%m-%d %H:%M:%f', 'NOW', 'localtime')"

_offset = dt.timedelta()


class DatabaseNow(Func):
    """The database's clock at the moment the row is looked at (not at the start of the transaction)."""

    output_field = DateTimeField()

    def as_sql(self, compiler: Any, connection: Any, **_extra: Any) -> tuple[str, list[Any]]:  # type: ignore[override]
        """The vendor's function."""
        return _sql(connection).replace("%", "%%"), []


class DatabaseNowOnce(DatabaseNow):
    """The database's clock, read once for a statement, so that an index can be searched up to it.

    PostgreSQL takes its clock for something that changes from row to row, and would compare every entry of the index.
    """

    def as_sql(self, compiler: Any, connection: Any, **extra: Any) -> tuple[str, list[Any]]:  # type: ignore[override]
        """The vendor's function as a value of its own."""
        sql, params = super().as_sql(compiler, connection, **extra)
        return (f"(SELECT {sql})" if connection.vendor == "postgresql" else sql), params


def _sql(connection: Any) -> str:
    if connection.vendor == "sqlite" and not settings.USE_TZ:
        return _LOCAL_SQLITE
    return _SQL[connection.vendor]


def expression(*, plus: float = 0.0) -> Combinable:
    """Now, ``plus`` seconds, as a database expression."""
    shift = _offset + dt.timedelta(seconds=plus)
    return DatabaseNow() + shift if shift else DatabaseNow()


def bound(*, plus: float = 0.0) -> Combinable:
    """Now, ``plus`` seconds, for finding what is due: an index on a time ends there, and what is due later is not even
    looked at.
    """
    shift = _offset + dt.timedelta(seconds=plus)
    return DatabaseNowOnce() + shift if shift else DatabaseNowOnce()


def read(using: str) -> dt.datetime:
    """Now, as a datetime of the kind the project uses (aware, or naive with ``USE_TZ=False``)."""
    connection = connections[using]
    with connection.cursor() as cursor:
        cursor.execute("SELECT " + _sql(connection))
        (value,) = cursor.fetchone()
    if isinstance(value, str):
        parsed = parse_datetime(value)
        assert parsed is not None  # noqa: S101 - the format is ours
        value = parsed
    if settings.USE_TZ:
        if timezone.is_naive(value):
            value = value.replace(tzinfo=connection.timezone)
    elif timezone.is_aware(value):
        value = value.replace(tzinfo=None)
    now: dt.datetime = value + _offset
    return now


def offset() -> dt.timedelta:
    """How far tests have moved the clock."""
    return _offset


def set_offset(offset: dt.timedelta) -> None:
    """Move the engine's clock in this process. For ``triggerflow_django.testing``."""
    global _offset  # noqa: PLW0603 - one clock a process
    _offset = offset
