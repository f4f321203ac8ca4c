"""``StreamItem``: one item of an execution's runtime stream, which readers in other processes follow by its number.

Items of sub flows are kept in the stream of the outermost execution, so that there is one order and one position.
"""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from triggerflow_django.models.execution import Execution
from triggerflow_django.models.fields import StoredJSONField


class StreamItemKind(models.TextChoices):
    """What a reader makes of a row."""

    ITEM = "item", _("put by a chunk")
    INTERRUPT = "interrupt", _("an interrupt was opened or decided")
    RESTART = "restart", _("a chunk that had put items begins anew")
    GAP = "gap", _("items were lost")
    STOP = "stop", _("the stream ends")


class StreamItem(models.Model):
    """One item of a runtime stream. Inserted while the chunk runs, on a connection of its own; never changed; deleted
    by retention, and when there are too many.
    """

    root = models.ForeignKey(
        Execution,
        on_delete=models.CASCADE,
        related_name="stream_items",
        db_index=False,
        help_text=_("Whose stream it is in: the outermost execution."),
    )
    sequence = models.PositiveBigIntegerField(help_text=_("Its position in the stream, from 1, without gaps."))
    source_id = models.UUIDField(help_text=_("The execution it came from: the root, or a sub flow of it."))
    step_id = models.BigIntegerField(null=True, help_text=_("The step whose chunk put it; null: none did."))
    attempt = models.PositiveIntegerField(default=0, help_text=_("The attempt of that step."))
    kind = models.CharField(max_length=10, choices=StreamItemKind.choices, help_text=_("What readers make of it."))
    item = StoredJSONField(help_text=_("What the chunk put; particulars of the other kinds."))
    created_at = models.DateTimeField(help_text=_("When it was inserted, in database time."))

    class Meta:
        default_permissions = ("view",)
        verbose_name = _("stream item")
        verbose_name_plural = _("stream items")
        constraints = [models.UniqueConstraint(fields=["root", "sequence"], name="triggerflow_streamitem_sequence")]

    def __str__(self) -> str:
        return f"{self.sequence} {self.kind}"
