"""The pages of steps: what ran, with what, and how it ended."""

from __future__ import annotations

from django.contrib import admin
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from triggerflow_django.admin import links, values
from triggerflow_django.admin.filters import StepStatusFilter
from triggerflow_django.admin.read_only import ReadOnlyAdmin
from triggerflow_django.models import Interrupt, Step


class StepAdmin(ReadOnlyAdmin):
    """Steps: a list by status, and a page with the values and the last error of one."""

    large = ("input", "output", "error", "scope")
    list_display = ("name", "status", "attempt", "created_at", "finished_at", "of_execution", "id")
    list_filter = (StepStatusFilter,)
    fieldsets = (
        (
            None,
            {
                "classes": ("triggerflow-plain",),
                "fields": ("name", "status", "execution", "asked", "created_at", "started_at", "finished_at"),
            },
        ),
        (_("Error"), {"fields": ("error_shown",), "classes": ("triggerflow-wide",)}),
        (_("Input"), {"fields": ("input_shown",), "classes": ("triggerflow-wide",)}),
        (_("Output"), {"fields": ("output_shown",), "classes": ("triggerflow-wide",)}),
        (
            _("More"),
            {
                "classes": ("collapse",),
                "fields": (
                    "id", "kind", "source", "cause", "resumed_from", "attempt", "failures", "lost", "resume_count",
                    "available_at", "missing_since", "lease_expires_at", "held_by", "queue", "scope_shown",
                ),
            },
        ),
    )  # fmt: skip

    @admin.display(description=_("step"))
    def name(self, row: Step) -> str:
        """The node of the flow, or the signal that is to be routed."""
        return row.node or row.source

    @admin.display(description=_("execution"))
    def of_execution(self, row: Step) -> str:
        """A link to it."""
        return links.to_row(self.admin_site, type(row.execution), row.execution_id, row.execution)

    @admin.display(description=_("asked"))
    def asked(self, row: Step) -> str:
        """The interrupt it paused with."""
        found = Interrupt.objects.using(row._state.db).filter(step_id=row.pk).only("type", "interrupt_id").first()
        return "-" if found is None else links.to_row(self.admin_site, Interrupt, found.pk, found)

    @admin.display(description=_("caused by"))
    def cause(self, row: Step) -> str:
        """The step whose commit inserted this one."""
        return links.to_row(self.admin_site, Step, row.cause_id, row.cause_id)

    @admin.display(description=_("answer received from"))
    def resumed_from(self, row: Step) -> str:
        """The interrupt whose answer it was given."""
        return links.to_row(self.admin_site, Interrupt, row.resumed_from_id, row.resumed_from_id)

    @admin.display(description="")
    def error_shown(self, row: Step) -> str:
        """Type, message and traceback of the last failed attempt."""
        error = row.error or {}
        head = f"{error.get('type', '')}: {error.get('message', '')}"
        return format_html("{}{}", values.as_text(head), values.as_text(str(error.get("traceback") or "")))

    @admin.display(description="")
    def input_shown(self, row: Step) -> str:
        """What it was given."""
        return values.as_json(row.input)

    @admin.display(description="")
    def output_shown(self, row: Step) -> str:
        """What it gave."""
        return values.as_json(row.output)

    @admin.display(description=_("scope"))
    def scope_shown(self, row: Step) -> str:
        """The fan-outs it belongs to."""
        return values.as_json(row.scope)

    def get_fieldsets(self, request, obj=None):
        """No error where there is none."""
        shown = super().get_fieldsets(request, obj)
        return shown if obj is None or obj.error else [part for part in shown if "error_shown" not in part[1]["fields"]]
