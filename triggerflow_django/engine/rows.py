"""The writes every step runs, without building them anew each time: insert rows, update one under guards.

The ORM takes longer to compose such a statement than the database takes to run it. Here the SQL is composed once per
shape; the fields' own conversions stay in charge of every value. Only equality guards and plain values; everything else
goes through the ORM.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connections, models


def insert(rows: Sequence[models.Model], *, using: str) -> None:
    """Insert rows of one model; primary keys the database gives are set on them, in order."""
    if not rows:
        return
    connection = connections[using]
    model = type(rows[0])
    if not connection.features.can_return_rows_from_bulk_insert:
        model._base_manager.using(using).bulk_create(rows)
        return
    head, one, tail, fields = _insert_shape(using, model)
    values = [field.get_db_prep_save(getattr(row, field.attname), connection) for row in rows for field in fields]
    most = connection.features.max_query_params
    per_statement = len(rows) if most is None else max(1, most // len(fields))
    with connection.cursor() as cursor:
        for start in range(0, len(rows), per_statement):
            some = rows[start : start + per_statement]
            part = values[start * len(fields) : (start + len(some)) * len(fields)]
            cursor.execute(head + ", ".join([one] * len(some)) + tail, part)
            if tail:
                for row, (pk,) in zip(some, cursor.fetchall(), strict=True):
                    row.pk = pk
    for row in rows:
        row._state.adding = False
        row._state.db = using


def update(model: type[models.Model], *, using: str, where: Mapping[str, Any], values: Mapping[str, Any]) -> int:
    """Set columns of the rows that are exactly as ``where`` says. Returns how many there were."""
    connection = connections[using]
    sql, set_fields, where_fields = _update_shape(using, model, tuple(values), tuple(where))
    parameters = [field.get_db_prep_save(values[field.attname], connection) for field in set_fields]
    parameters += [field.get_db_prep_value(where[field.attname], connection) for field in where_fields]
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return int(cursor.rowcount)


@functools.cache
def _insert_shape(using: str, model: type[models.Model]) -> tuple[str, str, str, list[Any]]:
    quote: Any = connections[using].ops.quote_name
    pk: Any = model._meta.pk
    given = isinstance(pk, models.AutoField)
    fields = [field for field in model._meta.concrete_fields if not (given and field is pk)]
    columns = ", ".join(quote(field.column) for field in fields)
    head = f"INSERT INTO {quote(model._meta.db_table)} ({columns}) VALUES "  # noqa: S608 - names of our own models
    one = "(" + ", ".join(["%s"] * len(fields)) + ")"
    tail = f" RETURNING {quote(pk.column)}" if given else ""
    return head, one, tail, fields


@functools.cache
def _update_shape(
    using: str, model: type[models.Model], values: tuple[str, ...], where: tuple[str, ...]
) -> tuple[str, list[Any], list[Any]]:
    quote: Any = connections[using].ops.quote_name
    by_name: dict[str, Any] = {field.attname: field for field in model._meta.concrete_fields}
    set_fields = [by_name[name] for name in values]
    where_fields = [by_name[name] for name in where]
    changes = ", ".join(f"{quote(field.column)} = %s" for field in set_fields)
    guards = " AND ".join(f"{quote(field.column)} = %s" for field in where_fields)
    table = quote(model._meta.db_table)
    return f"UPDATE {table} SET {changes} WHERE {guards}", set_fields, where_fields  # noqa: S608 - names of our own models
