"""``Execution``: one run of a flow. ``State``: its key/value data.

Written by ``engine`` only. The counters and the status are kept under the row's lock in the transaction of each change.
"""

from __future__ import annotations

from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from triggerflow_django.models.fields import StoredJSONField, new_id


class Runner(models.TextChoices):
    """Who runs the steps of an execution."""

    RQ = "rq", _("RQ workers")
    INLINE = "inline", _("the calling process")


class Lifecycle(models.TextChoices):
    """What an execution accepts."""

    OPEN = "open", _("open")
    SEALED = "sealed", _("sealed")
    CLOSED = "closed", _("closed")


class ExecutionStatus(models.TextChoices):
    """How an execution stands. Derived in ``engine.status``, in the order of design.md 5.7."""

    CREATED = "created", _("created")
    RUNNING = "running", _("running")
    WAITING = "waiting", _("waiting")
    COMPLETED = "completed", _("completed")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")


class StreamStatus(models.TextChoices):
    """Whether there are rows of an execution's runtime stream. Most executions never stream."""

    NONE = "", _("not kept")
    KEPT = "kept", _("kept")
    STOPPED = "stopped", _("stopped by a chunk")
    EXPIRED = "expired", _("deleted by retention")


class Execution(models.Model):
    """One run of a flow. Inserted by start (or the first write before it), updated by every transition, never deleted
    but by retention.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False, help_text=_("UUIDv7, given by the handle."))
    flow_name = models.CharField(max_length=200, help_text=_("The flow it runs; set once, when the row is inserted."))
    flow_fingerprint = models.CharField(
        max_length=16,
        help_text=_(
            "The shape of the flow in the process that last ran one of its steps; others leave routing to a worker."
        ),
    )
    runner = models.CharField(
        max_length=10,
        choices=Runner.choices,
        help_text=_("Who runs its steps; set when the row is inserted, and by handing over."),
    )
    lifecycle = models.CharField(
        max_length=10,
        choices=Lifecycle.choices,
        default=Lifecycle.OPEN,
        help_text=_("What it accepts; set by seal, unseal, close and cancel."),
    )
    status = models.CharField(
        max_length=10,
        choices=ExecutionStatus.choices,
        default=ExecutionStatus.CREATED,
        help_text=_("Follows from the counters and the lifecycle; set by every transition that changes them."),
    )
    interactive = models.BooleanField(
        default=True,
        help_text=_("Whether somebody can answer its interrupts; false for flow.start(), where a pause is an error."),
    )
    skip_exceptions = models.BooleanField(
        default=False, help_text=_("Whether a chunk that raises only ends its own chain; set when the row is inserted.")
    )
    input = StoredJSONField(help_text=_("The value it was started with; set by start."))
    snapshot = StoredJSONField(
        null=True, help_text=_("Its state at the moment it closed; set once, by the commit that closes it.")
    )
    key = models.CharField(  # noqa: DJ001 - NULLs are distinct in the unique constraint, empty strings would collide
        max_length=200,
        null=True,
        help_text=_("The caller's business key; unique within the flow; set when the row is inserted."),
    )
    subject_type = models.ForeignKey(
        ContentType,
        null=True,
        on_delete=models.SET_NULL,
        db_index=False,
        related_name="+",
        help_text=_("The model of the row it is about; set when the row is inserted."),
    )
    subject_id = models.CharField(max_length=255, default="", help_text=_("The primary key of the row it is about."))
    subject = GenericForeignKey("subject_type", "subject_id")

    auto_close = models.BooleanField(default=True, help_text=_("Whether it closes by itself once it has been idle."))
    auto_close_timeout = models.FloatField(
        null=True, help_text=_("Seconds it must have been idle before it closes by itself; null: never.")
    )
    auto_close_at = models.DateTimeField(
        null=True, help_text=_("When it closes by itself; set when it becomes idle, cleared when it does not stay so.")
    )
    closing = models.BooleanField(
        default=False, help_text=_("Whether a close waits for active steps; set by close, cleared when it is done.")
    )
    close_reason = models.CharField(
        max_length=200, default="", help_text=_("Why it closes or closed; set by close and cancel.")
    )
    close_policy = models.CharField(
        max_length=10,
        default="",
        help_text=_("What a close does with pending interrupts (error, cancel); set by close."),
    )
    close_by = models.DateTimeField(
        null=True, help_text=_("When a close that still waits cancels the rest; set by close, acted on by the sweep.")
    )

    active_steps = models.PositiveIntegerField(
        default=0, help_text=_("Steps that are held, ready, running or delegated; kept by every transition.")
    )
    pending_interrupts = models.PositiveIntegerField(
        default=0, help_text=_("Interrupts that wait; kept by every transition.")
    )
    failed_steps = models.PositiveIntegerField(
        default=0, help_text=_("Steps that failed for good and were not retried; kept by every transition.")
    )
    concurrency = models.PositiveIntegerField(
        null=True, help_text=_("How many of its steps may be ready or running at once; set when the row is inserted.")
    )
    places = models.PositiveIntegerField(
        default=0, help_text=_("Steps that are ready or running; kept by every transition where there is a limit.")
    )
    intervention_mode = models.CharField(
        max_length=10,
        default="",
        help_text=_("When interventions are inserted (planned, auto); empty: it takes none; set when it is inserted."),
    )
    intervention_version = models.PositiveIntegerField(
        default=0, help_text=_("The number of its newest intervention; grows with each.")
    )
    pending_interventions = models.PositiveIntegerField(
        default=0, help_text=_("Interventions not inserted yet; kept by every transition.")
    )
    event_sequence = models.PositiveIntegerField(
        default=0, help_text=_("The number of the newest event of its history.")
    )

    stream = models.CharField(
        max_length=10,
        choices=StreamStatus.choices,
        default=StreamStatus.NONE,
        blank=True,
        help_text=_("Its runtime stream; kept from the first item, or the first reader, on."),
    )
    root_id = models.UUIDField(null=True, help_text=_("The outermost execution, where this one runs as a sub flow."))
    parent_step_id = models.BigIntegerField(
        null=True, help_text=_("The step of the parent that waits for this sub flow.")
    )
    cancels_sub_flows = models.BooleanField(
        default=False,
        help_text=_(
            "Whether sub flows of it are still to be cancelled; set by the commit that cut the steps that waited for "
            "them, cleared when that is done."
        ),
    )
    started_by_id = models.CharField(
        max_length=255,
        default="",
        help_text=_("The primary key of the user who started it, as text; kept when the user is deleted."),
    )
    started_by_label = models.CharField(max_length=255, default="", help_text=_("That user's name at the time."))
    revision = models.PositiveBigIntegerField(default=0, help_text=_("Grows with every update of this row."))
    state_revision = models.PositiveBigIntegerField(default=0, help_text=_("Grows with every change of the state."))

    created_at = models.DateTimeField(help_text=_("When the row was inserted, in database time."))
    started_at = models.DateTimeField(null=True, help_text=_("When start was committed."))
    sealed_at = models.DateTimeField(null=True, help_text=_("When it was last sealed."))
    closed_at = models.DateTimeField(null=True, help_text=_("When it closed."))

    class Meta:
        default_permissions = ("view",)
        permissions = [
            ("start_execution", _("Can start executions")),
            ("emit_event", _("Can emit events to executions")),
            ("retry_step", _("Can retry failed steps")),
            ("seal_execution", _("Can seal executions")),
            ("close_execution", _("Can close executions")),
            ("cancel_execution", _("Can cancel executions")),
            ("view_sensitive", _("Can see unredacted values")),
        ]
        verbose_name = _("execution")
        verbose_name_plural = _("executions")
        constraints = [
            models.UniqueConstraint(fields=["flow_name", "key"], name="triggerflow_execution_key"),
            models.CheckConstraint(
                condition=Q(lifecycle=Lifecycle.CLOSED, snapshot__isnull=False, closed_at__isnull=False)
                | (~Q(lifecycle=Lifecycle.CLOSED) & Q(snapshot__isnull=True, closed_at__isnull=True)),
                name="triggerflow_execution_closed",
            ),
        ]
        indexes = [
            models.Index(fields=["flow_name", "status", "-created_at"], name="triggerflow_exec_flow"),
            models.Index(fields=["subject_type", "subject_id"], name="triggerflow_exec_subject"),
            models.Index(
                fields=["auto_close_at"], condition=Q(auto_close_at__isnull=False), name="triggerflow_exec_auto_close"
            ),
            models.Index(fields=["id"], condition=Q(closing=True), name="triggerflow_exec_closing"),
            models.Index(fields=["id"], condition=Q(cancels_sub_flows=True), name="triggerflow_exec_cancels"),
            models.Index(fields=["close_by"], condition=Q(close_by__isnull=False), name="triggerflow_exec_close_by"),
            models.Index(
                fields=["closed_at"],
                condition=Q(stream__in=("kept", "stopped"), closed_at__isnull=False, root_id__isnull=True),
                name="triggerflow_exec_stream",
            ),
            models.Index(fields=["root_id"], condition=Q(root_id__isnull=False), name="triggerflow_exec_root"),
            models.Index(
                fields=["parent_step_id"], condition=Q(parent_step_id__isnull=False), name="triggerflow_exec_parent"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.flow_name} {self.id.hex}"

    @property
    def is_closed(self) -> bool:
        """Whether it is closed for good."""
        return self.lifecycle == Lifecycle.CLOSED

    @property
    def is_idle(self) -> bool:
        """Whether nothing is active and nothing is pending."""
        return self.active_steps == 0 and self.pending_interrupts == 0


class State(models.Model):
    """An execution's key/value data.

    Inserted by its first write; updated by commits that change it; absent means empty.
    """

    execution = models.OneToOneField(
        Execution,
        primary_key=True,
        on_delete=models.CASCADE,
        related_name="state_row",
        help_text=_("Whose data it is."),
    )
    data = StoredJSONField(help_text=_("The whole state, one JSON object; replaced by each commit that changes it."))
    revision = models.PositiveBigIntegerField(help_text=_("Equals the execution's state_revision."))

    class Meta:
        default_permissions = ("view",)
        verbose_name = _("state")
        verbose_name_plural = _("states")

    def __str__(self) -> str:
        return f"state of {self.execution_id}"
