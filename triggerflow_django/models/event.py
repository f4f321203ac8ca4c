"""``Event``: one line of an execution's append-only history.

Lifecycle changes, everything a person or an outside system does, and events emitted from outside. What chunks do is
told by steps.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from triggerflow_django.models.append_only import AppendOnlyModel
from triggerflow_django.models.execution import Execution
from triggerflow_django.models.fields import StoredJSONField


class EventKind(models.TextChoices):
    """What happened. The set is closed; labels are what the history shows."""

    STARTED = "started", _("started")
    EMITTED = "emitted", _("event emitted from outside")
    STATE_CHANGED = "state_changed", _("state changed from outside")
    INTERRUPT_DECIDED = "interrupt_decided", _("interrupt decided")
    INTERRUPT_OVERDUE = "interrupt_overdue", _("interrupt overdue")
    INTERRUPT_EXPIRED = "interrupt_expired", _("interrupt expired")
    INTERRUPT_CANCELLED = "interrupt_cancelled", _("interrupt cancelled")
    STEP_FAILED = "step_failed", _("step failed")
    STEP_RETRIED = "step_retried", _("step retried")
    INTERVENED = "intervened", _("intervention left")
    SEALED = "sealed", _("sealed")
    UNSEALED = "unsealed", _("unsealed")
    CLOSE_REQUESTED = "close_requested", _("close requested")
    CLOSE_REFUSED = "close_refused", _("close refused: an interrupt waits")
    CLOSED = "closed", _("closed")
    CANCELLED = "cancelled", _("cancelled")
    SUB_FLOW_STARTED = "sub_flow_started", _("sub flow started")
    SUB_FLOW_ENDED = "sub_flow_ended", _("sub flow ended")
    HANDED_OVER = "handed_over", _("handed over to workers")
    LOADED = "loaded", _("loaded from a saved snapshot")


class Event(AppendOnlyModel):
    """One line of history. Inserted in the transaction of the change it reports; never changed."""

    execution = models.ForeignKey(
        Execution,
        on_delete=models.CASCADE,
        related_name="events",
        db_index=False,
        help_text=_("Whose history it belongs to."),
    )
    sequence = models.PositiveIntegerField(help_text=_("Its number in that history, without gaps."))
    kind = models.CharField(max_length=30, choices=EventKind.choices, help_text=_("What happened."))
    name = models.CharField(
        max_length=200, default="", help_text=_("The event's name, the interrupt's id or the node, by kind.")
    )
    actor_id = models.CharField(
        max_length=255, default="", help_text=_("The acting user's primary key as text; empty for code and rules.")
    )
    actor_label = models.CharField(
        max_length=255, default="", help_text=_("The acting user's name then, or the name of the rule.")
    )
    data = StoredJSONField(default=dict, help_text=_("Particulars, by kind."))
    created_at = models.DateTimeField(help_text=_("When it was committed, in database time."))

    class Meta:
        default_permissions = ("view",)
        verbose_name = _("event")
        verbose_name_plural = _("events")
        constraints = [models.UniqueConstraint(fields=["execution", "sequence"], name="triggerflow_event_sequence")]
        indexes = [
            models.Index(
                fields=["execution", "name", "sequence"], condition=Q(kind="emitted"), name="triggerflow_event_emitted"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.sequence} {self.kind} {self.name}".strip()
