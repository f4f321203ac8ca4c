"""The pages of history: what people, other systems and the lifecycle did to executions."""

from __future__ import annotations

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from triggerflow_django.admin import links, values
from triggerflow_django.admin.read_only import ReadOnlyAdmin
from triggerflow_django.models import Event


class EventAdmin(ReadOnlyAdmin):
    """Events: a list, newest first, and a page for each."""

    large = ("data",)
    list_display = ("created_at", "kind", "name", "who", "of_execution", "sequence")
    fieldsets = (
        (
            None,
            {
                "fields": ("kind", "name", "who", "created_at", "execution", "sequence"),
                "classes": ("triggerflow-plain",),
            },
        ),
        (_("Particulars"), {"fields": ("data_shown",), "classes": ("triggerflow-wide",)}),
        (_("More"), {"fields": ("id", "actor_id"), "classes": ("collapse",)}),
    )

    @admin.display(description=_("by"))
    def who(self, row: Event) -> str:
        """The name as it was then, or that of the rule."""
        return row.actor_label or "-"

    @admin.display(description=_("execution"))
    def of_execution(self, row: Event) -> str:
        """A link to it."""
        return links.to_row(self.admin_site, type(row.execution), row.execution_id, row.execution)

    @admin.display(description="")
    def data_shown(self, row: Event) -> str:
        """Particulars of the kind."""
        return values.as_json(row.data)
