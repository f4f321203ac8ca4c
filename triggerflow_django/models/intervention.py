"""``Intervention``: what somebody outside wants later chunks to know."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from triggerflow_django.models.execution import Execution
from triggerflow_django.models.fields import StoredJSONField, new_id


class InterventionMode(models.TextChoices):
    """When an execution's interventions are inserted. Empty: it takes none."""

    PLANNED = "planned", _("at the intervention points of the flow")
    AUTO = "auto", _("before the next chunk they are for")


class InterventionStatus(models.TextChoices):
    """How an intervention stands."""

    PENDING = "pending", _("pending")
    INSERTED = "inserted", _("inserted")
    CONSUMED = "consumed", _("consumed")
    EXPIRED = "expired", _("expired")


class Intervention(models.Model):
    """A note for the chunks still to come. It starts nothing, stops nothing and answers nothing.

    Inserted by ``intervene``; its status is set by commits of steps and by the close.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False, help_text=_("UUIDv7."))
    execution = models.ForeignKey(
        Execution,
        on_delete=models.CASCADE,
        related_name="interventions",
        db_index=False,
        help_text=_("Whose chunks it is for."),
    )
    version = models.PositiveIntegerField(help_text=_("Its number in the execution, from 1."))
    status = models.CharField(
        max_length=10,
        choices=InterventionStatus.choices,
        default=InterventionStatus.PENDING,
        help_text=_("Set by the commit that inserts or consumes it, or by the close."),
    )
    payload = StoredJSONField(help_text=_("What chunks get to see."))
    author = models.CharField(max_length=255, default="", help_text=_("Who it is from, as the caller says."))
    note = models.TextField(default="", help_text=_("Why, for people."))
    target = models.CharField(
        max_length=200, default="", help_text=_("Which point (planned) or chunk (auto) it is for; empty: any chunk.")
    )
    metadata = StoredJSONField(help_text=_("Whatever the caller wants to keep beside it."))
    point = models.CharField(max_length=200, default="", help_text=_("The node at which it was inserted."))
    created_at = models.DateTimeField(help_text=_("When it was made."))
    inserted_at = models.DateTimeField(null=True, help_text=_("When it was inserted."))
    ended_at = models.DateTimeField(null=True, help_text=_("When it was consumed or expired."))

    class Meta:
        default_permissions = ("view",)
        verbose_name = _("intervention")
        verbose_name_plural = _("interventions")
        constraints = [
            models.UniqueConstraint(fields=["execution", "version"], name="triggerflow_intervention_version"),
        ]

    def __str__(self) -> str:
        return f"{self.execution_id} #{self.version} ({self.status})"
