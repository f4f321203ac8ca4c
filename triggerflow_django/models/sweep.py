"""``SweepTurn``: the one row by which workers take turns at the sweep."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _


class SweepTurn(models.Model):
    """When somebody last began a sweep of this database.

    One row; inserted by the first sweep, updated under a condition.
    """

    #: The primary key of the only row.
    ONLY: ClassVar[int] = 1

    id = models.PositiveSmallIntegerField(primary_key=True, help_text=_("Always 1."))
    taken_at = models.DateTimeField(
        help_text=_("When the last sweep began, in database time; set by who takes the turn.")
    )

    objects: ClassVar[models.Manager[SweepTurn]] = models.Manager()

    class Meta:
        default_permissions = ()
        verbose_name = _("sweep turn")
        verbose_name_plural = _("sweep turns")

    def __str__(self) -> str:
        return str(self.taken_at)
