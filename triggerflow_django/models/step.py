"""``Step``: one run of one chunk (or of one deferred routing) for one signal, with its attempts, lease and outcome.

Steps are their own history: they are never deleted while the execution lives, and ``cause_id`` says what led to each.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from triggerflow_django.models.execution import Execution
from triggerflow_django.models.fields import StoredJSONField


class StepKind(models.TextChoices):
    """What running the step means."""

    CHUNK = "chunk", _("run a chunk")
    ROUTE = "route", _("evaluate conditions and route")
    SUB_FLOW = "sub_flow", _("run a sub flow")


class StepStatus(models.TextChoices):
    """Where a step stands."""

    HELD = "held", _("held back by a limit")
    READY = "ready", _("ready to run")
    RUNNING = "running", _("running")
    DONE = "done", _("done")
    PAUSED = "paused", _("paused")
    DELEGATED = "delegated", _("delegated to a sub flow")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")


ACTIVE_STATUSES = (StepStatus.HELD, StepStatus.READY, StepStatus.RUNNING, StepStatus.DELEGATED)


class Step(models.Model):
    """One unit of work.

    Inserted by the commit that caused it; claimed, finished or cancelled by conditional updates.
    """

    execution = models.ForeignKey(
        Execution,
        on_delete=models.CASCADE,
        related_name="steps",
        db_index=False,
        help_text=_("The execution it belongs to."),
    )
    kind = models.CharField(
        max_length=10, choices=StepKind.choices, default=StepKind.CHUNK, help_text=_("What running it means.")
    )
    node = models.CharField(
        max_length=255,
        default="",
        help_text=_("The node of the flow; empty for a whole signal that a worker is to route."),
    )
    source = models.CharField(max_length=300, help_text=_("What caused it, as type:name (event:START, done:ask, ...)."))
    input = StoredJSONField(help_text=_("The value it was given."))
    scope = StoredJSONField(
        default=list, help_text=_("The fan-outs it belongs to, outermost first: [node, activation, ordinal].")
    )
    path = models.CharField(
        max_length=24, help_text=_("A digest of its causal path; the base of data.idempotency_key.")
    )
    status = models.CharField(
        max_length=10, choices=StepStatus.choices, help_text=_("Where it stands; set by every transition.")
    )
    attempt = models.PositiveIntegerField(default=0, help_text=_("How often it was claimed; counted at the claim."))
    failures = models.PositiveIntegerField(
        default=0, help_text=_("Attempts that raised or timed out since it was created or last retried by a person.")
    )
    lost = models.PositiveIntegerField(default=0, help_text=_("Attempts whose worker vanished; counted by the sweep."))
    resume_count = models.PositiveIntegerField(
        default=0, help_text=_("How often this chunk has resumed itself on the way here.")
    )
    resumed_from_id = models.UUIDField(
        null=True, help_text=_("The interrupt whose answer this run of the chunk receives.")
    )
    available_at = models.DateTimeField(
        help_text=_("Not claimed before this time; later than now while a retry backs off.")
    )
    missing_since = models.DateTimeField(
        null=True, help_text=_("When a worker first met it without having its chunk in the code; cleared when it runs.")
    )
    lease_token = models.UUIDField(
        null=True, help_text=_("The drain that claimed it last; kept afterwards, to recognise its own commit.")
    )
    lease_expires_at = models.DateTimeField(
        null=True, help_text=_("Until when that drain holds it; renewed by its heartbeat.")
    )
    held_by = models.CharField(
        max_length=16,
        default="",
        help_text=_(
            "The activation of the fan-out whose limit holds it back; 'yielded' once it has given back its places "
            "because its sub flow waits; else empty."
        ),
    )
    queue = models.CharField(
        max_length=100, default="", help_text=_("The RQ queue whose workers run it; empty where it runs inline.")
    )
    output = StoredJSONField(
        null=True, help_text=_("What the chunk returned, or the answer that resumed it; set by its commit.")
    )
    error = StoredJSONField(
        null=True, help_text=_("The last failed attempt: type, message and traceback, never local variables.")
    )
    cause_id = models.BigIntegerField(
        null=True, help_text=_("The step whose commit inserted this one; null for a signal from outside.")
    )
    first_claim_sequence = models.PositiveIntegerField(
        null=True,
        help_text=_("The execution's event_sequence at its first claim: events after it count as not yet seen."),
    )
    created_at = models.DateTimeField(help_text=_("When it was inserted."))
    started_at = models.DateTimeField(null=True, help_text=_("When its last attempt was claimed."))
    finished_at = models.DateTimeField(null=True, help_text=_("When it reached its last status."))

    class Meta:
        default_permissions = ("view",)
        verbose_name = _("step")
        verbose_name_plural = _("steps")
        constraints = [
            models.CheckConstraint(
                condition=~Q(status=StepStatus.RUNNING) | Q(lease_token__isnull=False, lease_expires_at__isnull=False),
                name="triggerflow_step_running_has_lease",
            ),
        ]
        indexes = [
            models.Index(fields=["execution", "id"], name="triggerflow_step_timeline"),
            models.Index(
                fields=["execution", "status"],
                condition=Q(status__in=["held", "ready", "running", "paused", "delegated", "failed"]),
                name="triggerflow_step_live",
            ),
            models.Index(
                fields=["queue", "available_at", "id"], condition=Q(status="ready"), name="triggerflow_step_ready"
            ),
            models.Index(fields=["lease_expires_at"], condition=Q(status="running"), name="triggerflow_step_lease"),
        ]

    def __str__(self) -> str:
        return f"{self.node or self.source} ({self.status})"
