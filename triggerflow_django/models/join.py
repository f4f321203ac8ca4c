"""``Join`` and ``JoinSlot``: a node that waits for several values, while it waits.

Opened, filled and fired under the execution's lock; ``filled`` is a counter, so that a fan-out of a thousand never
counts rows.
"""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from triggerflow_django.models.execution import Execution
from triggerflow_django.models.fields import StoredJSONField


class JoinStatus(models.TextChoices):
    """Whether a join still takes values."""

    OPEN = "open", _("open")
    FIRED = "fired", _("fired")


class Join(models.Model):
    """One activation of a joining node.

    Inserted when a fan-out opens it, or by the first value of a ``when`` or ``collect``.
    """

    execution = models.ForeignKey(
        Execution,
        on_delete=models.CASCADE,
        related_name="joins",
        db_index=False,
        help_text=_("The execution it belongs to."),
    )
    node = models.CharField(max_length=255, help_text=_("The joining node of the flow."))
    activation = models.CharField(
        max_length=16,
        default="",
        help_text=_("Which entry into the fan-out this is; for when and collect the scope, empty at the top."),
    )
    scope = StoredJSONField(default=list, help_text=_("The scope its result will have."))
    generation = models.PositiveIntegerField(
        default=0, help_text=_("How often it has fired; when and collect start anew.")
    )
    slots = StoredJSONField(
        default=list, help_text=_("Slot names in the order of the result; frozen at opening; empty for for_each.")
    )
    expected = models.PositiveIntegerField(help_text=_("How many slots must be filled; frozen at opening."))
    filled = models.PositiveIntegerField(default=0, help_text=_("How many slots are filled."))
    next_index = models.PositiveIntegerField(default=0, help_text=_("for_each: the next item to enter."))
    concurrency = models.PositiveIntegerField(
        null=True, help_text=_("How many steps below it may be ready or running at once.")
    )
    places = models.PositiveIntegerField(
        default=0,
        help_text=_(
            "Steps below it that are ready or running; kept while there is a limit or items are left to enter."
        ),
    )
    #: Not a column: whether the transition that holds this instance has changed it.
    is_dirty = False
    #: Not a column: the node that opened it, known where one of its steps has just ended.
    opener = ""
    status = models.CharField(
        max_length=10, choices=JoinStatus.choices, default=JoinStatus.OPEN, help_text=_("Whether it takes values.")
    )

    class Meta:
        default_permissions = ("view",)
        verbose_name = _("join")
        verbose_name_plural = _("joins")
        constraints = [
            models.UniqueConstraint(
                # The activation before the node: a step's commit looks up the fan-outs around it by that alone.
                fields=["execution", "activation", "node", "generation"],
                name="triggerflow_join_activation",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.node} {self.filled}/{self.expected}"


class JoinSlot(models.Model):
    """One value a join holds. Inserted or overwritten by a fill, deleted when the join has fired and starts anew."""

    join = models.ForeignKey(
        Join, on_delete=models.CASCADE, related_name="values", db_index=False, help_text=_("The join.")
    )
    slot = models.CharField(max_length=300, help_text=_("The slot: a branch's name, an event, an item's index."))
    value = StoredJSONField(help_text=_("The value that arrived last."))

    class Meta:
        default_permissions = ("view",)
        verbose_name = _("join slot")
        verbose_name_plural = _("join slots")
        constraints = [models.UniqueConstraint(fields=["join", "slot"], name="triggerflow_joinslot_once")]

    def __str__(self) -> str:
        return self.slot


class JoinPage(models.Model):
    """A stretch of the items of a ``for_each`` that could not all be entered at once. Inserted when it opens, deleted
    when it fires; so entering an item costs the same however many there are.
    """

    join = models.ForeignKey(
        Join, on_delete=models.CASCADE, related_name="pages", db_index=False, help_text=_("The join.")
    )
    number = models.PositiveIntegerField(help_text=_("Which stretch, from 0; all but the last are equally long."))
    items = StoredJSONField(help_text=_("The items."))

    class Meta:
        default_permissions = ("view",)
        verbose_name = _("join page")
        verbose_name_plural = _("join pages")
        constraints = [models.UniqueConstraint(fields=["join", "number"], name="triggerflow_joinpage_once")]

    def __str__(self) -> str:
        return f"page {self.number}"
