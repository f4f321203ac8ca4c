"""The SELECTs of the hot path, compiled once per connection: whole rows of one model, found by plain values.

The ORM takes longer to compose a wide SELECT than the database takes to run it. Here it composes each of them once; the
fields' own conversions stay in charge of every value.
"""

from __future__ import annotations

import datetime as dt
import uuid
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from triggerflow_django.engine import clock
from triggerflow_django.models import Execution, Interrupt, InterruptStatus, Step, StepStatus

M = TypeVar("M", bound=models.Model)


class Select(Generic[M]):
    """A query of one shape.

    ``build`` gives it as a queryset for an alias and a value of each parameter; ``parameters`` names the fields they
    are compared with. Annotations become attributes, as with the ORM. Related rows are not joined.
    """

    def __init__(self, build: Callable[..., models.QuerySet[M]], **parameters: models.Field[Any, Any]) -> None:
        self._build = build
        self._parameters = parameters
        # By connection. An expression of the clock has its offset compiled in.
        self._compiled: weakref.WeakKeyDictionary[BaseDatabaseWrapper, tuple[dt.timedelta, _Compiled]] = (
            weakref.WeakKeyDictionary()
        )

    def all(self, using: str, **values: Any) -> list[M]:
        """The rows for these values of the parameters."""
        connection = connections[using]
        known = self._compiled.get(connection)
        if known is None or known[0] != clock.offset():
            known = clock.offset(), _Compiled(connection, self._build, self._parameters)
            self._compiled[connection] = known
        return known[1].execute(connection, values)

    def first(self, using: str, **values: Any) -> M | None:
        """The first of the rows, if there is one."""
        found = self.all(using, **values)
        return found[0] if found else None


class _Compiled:
    """The SQL of a ``Select`` for one connection, and how its columns become a row."""

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        build: Callable[..., models.QuerySet[Any]],
        parameters: dict[str, models.Field[Any, Any]],
    ) -> None:
        samples = {name: _sample(field) for name, field in parameters.items()}
        rows = build(connection.alias, **samples)
        self.model = rows.model
        self.compiler: Any = rows.query.get_compiler(connection=connection)
        self.sql, arguments = self.compiler.as_sql()
        self.arguments = list(arguments)
        self.places = [
            (self.arguments.index(field.get_db_prep_value(samples[name], connection)), name, field)
            for name, field in parameters.items()
        ]
        self.converters = self.compiler.get_converters([column[0] for column in self.compiler.select])
        annotations = {place: name for name, place in self.compiler.annotation_col_map.items()}
        self.fields: list[tuple[int, str]] = []
        self.annotations: list[tuple[int, str]] = []
        for place, (expression, _sql, _alias) in enumerate(self.compiler.select):
            if place in annotations:
                self.annotations.append((place, annotations[place]))
            else:
                self.fields.append((place, expression.target.attname))
        self.names = [name for _place, name in self.fields]

    def execute(self, connection: BaseDatabaseWrapper, values: dict[str, Any]) -> list[Any]:
        """The rows."""
        arguments = self.arguments.copy()
        for place, name, field in self.places:
            arguments[place] = field.get_db_prep_value(values[name], connection)
        with connection.cursor() as cursor:
            cursor.execute(self.sql, arguments)
            found = cursor.fetchall()
        if self.converters and found:
            found = self.compiler.apply_converters(found, self.converters)
        return [self._row(connection, columns) for columns in found]

    def _row(self, connection: BaseDatabaseWrapper, columns: Any) -> Any:
        row = self.model.from_db(connection.alias, self.names, [columns[place] for place, _name in self.fields])
        for place, name in self.annotations:
            setattr(row, name, columns[place])
        return row


def _sample(field: models.Field[Any, Any]) -> Any:
    """A value that no other parameter of the query has."""
    if isinstance(field, models.UUIDField):
        return uuid.uuid4()
    if isinstance(field, models.CharField):
        return uuid.uuid4().hex
    return uuid.uuid4().int % 2**62


def _locked(using: str, pk: uuid.UUID) -> models.QuerySet[Execution]:
    """``SELECT ... FOR NO KEY UPDATE``. On SQLite the IMMEDIATE transaction is the lock. Without the large columns that
    few verbs look at.
    """
    no_key = connections[using].features.has_select_for_no_key_update
    return (
        Execution.objects.using(using)
        .select_for_update(no_key=no_key, of=("self",) if no_key else ())
        .defer("input", "snapshot")
        .annotate(db_now=clock.expression())
        .filter(pk=pk)
    )


_ID: models.Field[Any, Any] = Execution._meta.get_field("id")
_STEP: models.Field[Any, Any] = Step._meta.get_field("id")
_NAME: models.Field[Any, Any] = Interrupt._meta.get_field("interrupt_id")

#: An execution's row, locked until the transaction ends, with the database's now as ``db_now``.
LOCKED_EXECUTION: Select[Execution] = Select(_locked, pk=_ID)

#: An execution's row without its input, with the database's now as ``db_now``.
EXECUTION: Select[Execution] = Select(
    lambda using, pk: Execution.objects.using(using).annotate(db_now=clock.expression()).defer("input").filter(pk=pk),
    pk=_ID,
)

STEP: Select[Step] = Select(lambda using, pk: Step.objects.using(using).filter(pk=pk), pk=_STEP)

#: The paused steps of an execution.
PAUSED_STEPS: Select[Step] = Select(
    lambda using, execution: Step.objects.using(using).filter(execution_id=execution, status=StepStatus.PAUSED),
    execution=_ID,
)

#: The waiting interrupts of an execution, oldest first.
WAITING_INTERRUPTS: Select[Interrupt] = Select(
    lambda using, execution: (
        Interrupt.objects.using(using).filter(execution_id=execution, status=InterruptStatus.WAITING).order_by("pk")
    ),
    execution=_ID,
)

#: The newest round of an interrupt.
NEWEST_INTERRUPT: Select[Interrupt] = Select(
    lambda using, execution, name: (
        Interrupt.objects.using(using).filter(execution_id=execution, interrupt_id=name).order_by("-round")[:1]
    ),
    execution=_ID,
    name=_NAME,
)
