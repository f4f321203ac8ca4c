"""The pages of decisions: who answered what, when and through which door."""

from __future__ import annotations

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from triggerflow_django.admin import links, values
from triggerflow_django.admin.read_only import ReadOnlyAdmin
from triggerflow_django.models import Decision, Interrupt


class DecisionAdmin(ReadOnlyAdmin):
    """Decisions: a list, newest first, and a page for each."""

    related = ("execution", "interrupt")
    related_large = (
        "execution__input", "execution__snapshot", "interrupt__payload", "interrupt__response_schema",
        "interrupt__approvers", "interrupt__on_due",
    )  # fmt: skip
    large = ("payload",)
    list_display = ("created_at", "who", "door", "of_interrupt", "comment", "of_execution")
    fieldsets = (
        (
            None,
            {"fields": ("who", "created_at", "door", "of_interrupt", "execution"), "classes": ("triggerflow-plain",)},
        ),
        (_("Answer"), {"fields": ("payload_shown",), "classes": ("triggerflow-wide",)}),
        (_("Comment"), {"fields": ("comment_shown",), "classes": ("triggerflow-wide",)}),
        (_("More"), {"fields": ("id", "actor_id", "request_id"), "classes": ("collapse",)}),
    )

    @admin.display(description=_("decided by"))
    def who(self, row: Decision) -> str:
        """The name as it was then, or that of the rule."""
        return row.actor_label or "-"

    @admin.display(description=_("interrupt"))
    def of_interrupt(self, row: Decision) -> str:
        """A link to what was asked."""
        return links.to_row(self.admin_site, Interrupt, row.interrupt.pk, row.interrupt)

    @admin.display(description=_("execution"))
    def of_execution(self, row: Decision) -> str:
        """A link to it."""
        return links.to_row(self.admin_site, type(row.execution), row.execution_id, row.execution)

    @admin.display(description="")
    def payload_shown(self, row: Decision) -> str:
        """What was answered."""
        return values.as_json(row.payload)

    @admin.display(description="")
    def comment_shown(self, row: Decision) -> str:
        """What was written beside it."""
        return values.as_text(row.comment) if row.comment else "-"
