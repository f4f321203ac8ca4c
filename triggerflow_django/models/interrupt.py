"""``Interrupt``: a step's request for an outside answer. ``Decision``: the stored answer, immutable.

The check constraint is the last guard of the first promise: no row can say ``resumed`` without a decision.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from triggerflow_django.models.append_only import AppendOnlyModel
from triggerflow_django.models.execution import Execution
from triggerflow_django.models.fields import StoredJSONField, new_id
from triggerflow_django.models.step import Step


class InterruptStatus(models.TextChoices):
    """Where an interrupt stands."""

    WAITING = "waiting", _("waiting")
    RESUMED = "resumed", _("resumed")
    CANCELLED = "cancelled", _("cancelled")
    EXPIRED = "expired", _("expired")


class Door(models.TextChoices):
    """Where an answer came from."""

    ADMIN = "admin", _("admin")
    API = "api", _("REST API")
    COMMAND = "command", _("command")
    CODE = "code", _("code")
    EVENT = "event", _("event")
    DEADLINE = "deadline", _("deadline")
    LINK = "link", _("link")


class Decision(AppendOnlyModel):
    """The answer to an interrupt: who or which named rule, what, when, through which door. Inserted by
    ``engine.decide``, never changed.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False, help_text=_("UUIDv7."))
    execution = models.ForeignKey(
        Execution, on_delete=models.CASCADE, related_name="decisions", help_text=_("The execution it was made in.")
    )
    payload = StoredJSONField(help_text=_("The answer."))
    actor_id = models.CharField(
        max_length=255, default="", help_text=_("The deciding user's primary key as text; empty for code and rules.")
    )
    actor_label = models.CharField(
        max_length=255, default="", help_text=_("The deciding user's name then, or the name of the rule.")
    )
    door = models.CharField(max_length=10, choices=Door.choices, help_text=_("Where the answer came from."))
    request_id = models.CharField(
        max_length=200,
        default="",
        help_text=_("The caller's id of the request; the same id with the same answer is answered alike again."),
    )
    comment = models.TextField(default="", help_text=_("What the deciding person wrote beside the answer."))
    created_at = models.DateTimeField(help_text=_("When it was committed, in database time."))

    class Meta:
        default_permissions = ("view",)
        verbose_name = _("decision")
        verbose_name_plural = _("decisions")

    def __str__(self) -> str:
        return f"{self.door} {self.actor_label}".strip()


class Interrupt(models.Model):
    """A question that waits for an answer. Inserted by the commit of the step that paused; resolved once."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False, help_text=_("UUIDv7."))
    execution = models.ForeignKey(
        Execution,
        on_delete=models.CASCADE,
        related_name="interrupts",
        db_index=False,
        help_text=_("The execution it belongs to."),
    )
    step = models.ForeignKey(
        Step, on_delete=models.CASCADE, related_name="interrupts", db_index=False, help_text=_("The step that paused.")
    )
    interrupt_id = models.CharField(
        max_length=200,
        help_text=_("The id that code uses: given by the chunk, or the hexadecimal form of the primary key."),
    )
    round = models.PositiveIntegerField(default=1, help_text=_("Counts the questions asked under one interrupt_id."))
    type = models.CharField(max_length=100, help_text=_("The label by which applications choose how to show it."))
    payload = StoredJSONField(help_text=_("What the person or system that answers needs to see."))
    resume_to = models.CharField(max_length=10, help_text=_("Where the answer goes: next, self or event."))
    resume_event = models.CharField(
        max_length=200, default="", help_text=_("The event the answer is emitted as, and that answers it.")
    )
    response_schema = StoredJSONField(null=True, help_text=_("JSON Schema the answer must match, if any."))
    status = models.CharField(
        max_length=10,
        choices=InterruptStatus.choices,
        default=InterruptStatus.WAITING,
        help_text=_("Where it stands; leaves waiting once, by a conditional update."),
    )
    resume_count = models.PositiveIntegerField(
        default=0, help_text=_("How often the chunk had resumed itself when it asked.")
    )
    max_resumes = models.PositiveIntegerField(
        null=True, help_text=_("How often the chunk may resume itself; null: any number.")
    )
    approvers = StoredJSONField(
        default=list,
        help_text=_("Who may decide: users, groups, permissions, registered callables; empty: nobody named."),
    )
    exclude_starter = models.BooleanField(
        default=False, help_text=_("Whether the user who started the execution may not decide.")
    )
    due_at = models.DateTimeField(null=True, help_text=_("When its deadline passes; set by the pause."))
    on_due = StoredJSONField(null=True, help_text=_("What the sweep does then: overdue, fail, an answer or an event."))
    overdue_at = models.DateTimeField(null=True, help_text=_("When the sweep marked it overdue."))
    decision = models.OneToOneField(
        Decision,
        null=True,
        on_delete=models.RESTRICT,
        related_name="interrupt",
        help_text=_("The answer; set together with the status resumed."),
    )
    created_at = models.DateTimeField(help_text=_("When it was asked."))
    resolved_at = models.DateTimeField(null=True, help_text=_("When it left waiting."))

    class Meta:
        default_permissions = ("view",)
        permissions = [("resume_interrupt", _("Can decide interrupts that name nobody"))]
        verbose_name = _("interrupt")
        verbose_name_plural = _("interrupts")
        constraints = [
            models.UniqueConstraint(fields=["execution", "interrupt_id", "round"], name="triggerflow_interrupt_round"),
            models.CheckConstraint(
                condition=(Q(status=InterruptStatus.RESUMED) & Q(decision__isnull=False))
                | (~Q(status=InterruptStatus.RESUMED) & Q(decision__isnull=True)),
                name="triggerflow_interrupt_resumed_has_decision",
            ),
        ]
        indexes = [
            models.Index(fields=["status", "-created_at"], name="triggerflow_interrupt_inbox"),
            models.Index(fields=["step"], name="triggerflow_interrupt_step"),
            models.Index(fields=["execution"], condition=Q(status="waiting"), name="triggerflow_interrupt_waiting"),
            models.Index(
                fields=["due_at"],
                condition=Q(status="waiting", due_at__isnull=False, overdue_at__isnull=True),
                name="triggerflow_interrupt_due",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.interrupt_id}"
