"""Rows that are inserted once and never changed: decisions and history.

The ORM refuses updates and deletes of them. Retention, the only thing that may remove them, deletes the whole
execution.
"""

from __future__ import annotations

from typing import Any, NoReturn

from django.db import models


class AppendOnlyQuerySet(models.QuerySet[Any]):
    """A queryset that reads and inserts."""

    def update(self, **_values: Any) -> NoReturn:
        """Refused."""
        raise TypeError(f"{self.model.__name__} rows are never changed")

    def delete(self) -> NoReturn:
        """Refused; delete the execution they belong to."""
        raise TypeError(f"{self.model.__name__} rows are deleted only together with their execution")


class AppendOnlyManager(models.Manager[Any]):
    """Gives the queryset above. (Written out, since type checkers cannot see into ``from_queryset`` reliably.)"""

    def get_queryset(self) -> AppendOnlyQuerySet:
        """Rows to read."""
        return AppendOnlyQuerySet(self.model, using=self._db)


class AppendOnlyModel(models.Model):
    """A row that is inserted once and never changed."""

    objects = AppendOnlyManager()

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert the row.

        Raises: TypeError where it exists already.
        """
        if not self._state.adding:
            raise TypeError(f"{type(self).__name__} rows are never changed")
        kwargs["force_insert"] = True
        super().save(*args, **kwargs)

    def delete(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Refused; delete the execution it belongs to."""
        raise TypeError(f"{type(self).__name__} rows are deleted only together with their execution")
