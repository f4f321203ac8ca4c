"""The pages of executions: how each stands, what it asks, did and was told."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from triggerflow_django.admin import belongings, links, values
from triggerflow_django.admin.filters import ExecutionStatusFilter, FlowFilter
from triggerflow_django.admin.read_only import ReadOnlyAdmin
from triggerflow_django.engine import family
from triggerflow_django.models import Execution, ExecutionStatus, Lifecycle, State


class ExecutionAdmin(ReadOnlyAdmin):
    """Executions: a list by flow, status and key, and a page with all that belongs to one."""

    related = ()
    large = ("input", "snapshot")
    lookups = frozenset()
    list_display = ("flow_name", "key", "standing", "started_by", "created_at")
    list_filter = (ExecutionStatusFilter, FlowFilter)
    search_help_text = _("An id or how it begins (8 digits or more), a key, or the name of a flow.")
    fieldsets = (
        (
            None,
            {
                "classes": ("triggerflow-plain",),
                "fields": (
                    "standing", "flow_name", "key", "about", "part_of", "started_by", "started_at", "closed_at",
                    "close_reason", "id",
                ),
            },
        ),
        (_("Input"), {"fields": ("input_shown",), "classes": ("triggerflow-wide",)}),
        (_("State"), {"fields": ("state_shown",), "classes": ("triggerflow-wide",)}),
        (_("Snapshot"), {"fields": ("snapshot_shown",), "classes": ("triggerflow-wide",)}),
        (
            _("More"),
            {
                "classes": ("collapse",),
                "fields": (
                    "runner", "lifecycle", "active_steps", "pending_interrupts", "failed_steps", "auto_close",
                    "auto_close_timeout", "auto_close_at", "closing", "close_by", "flow_fingerprint",
                    "root_id", "parent_step_id", "revision", "created_at", "sealed_at",
                ),
            },
        ),
    )  # fmt: skip

    @admin.display(description=_("status"))
    def standing(self, row: Execution) -> str:
        """The status in words, with what the lifecycle adds."""
        is_idle = row.status == ExecutionStatus.RUNNING and row.is_idle and not row.is_closed
        told = str(_("idle") if is_idle else row.get_status_display())
        if row.closing:
            return f"{told} ({_('closing')})"
        return told if row.lifecycle != Lifecycle.SEALED else f"{told} ({row.get_lifecycle_display()})"

    @admin.display(description=_("started by"))
    def started_by(self, row: Execution) -> str:
        """The name as it was then."""
        return row.started_by_label or "-"

    @admin.display(description=_("about"))
    def about(self, row: Execution) -> str:
        """The row it is about, with a link where that has a page here."""
        if not row.subject_id:
            return "-"
        kind = row.subject_type
        model = kind.model_class() if kind is not None else None
        name = f"{kind.name} {row.subject_id}" if kind is not None else row.subject_id
        return name if model is None else links.to_row(self.admin_site, model, row.subject_id, name)

    @admin.display(description=_("sub flow of"))
    def part_of(self, row: Execution) -> str:
        """The execution that waits for it, where it runs as a sub flow."""
        above = family.ancestors(row.pk, row._state.db) if row.root_id is not None else ()
        return links.to_row(self.admin_site, Execution, above[0].id, above[0].flow_name) if above else "-"

    @admin.display(description="")
    def input_shown(self, row: Execution) -> str:
        """What it was started with."""
        return values.as_json(row.input)

    @admin.display(description="")
    def state_shown(self, row: Execution) -> str:
        """Its state as committed."""
        data = State.objects.using(row._state.db).filter(execution_id=row.pk).values_list("data", flat=True).first()
        return values.as_json(data or {})

    @admin.display(description="")
    def snapshot_shown(self, row: Execution) -> str:
        """What it was closed with."""
        return values.as_json(row.snapshot)

    def get_fieldsets(self, request, obj=None):
        """The state of an open execution, the snapshot of a closed one."""
        shown: Any = super().get_fieldsets(request, obj)
        if obj is None:
            return shown
        left_out = "state_shown" if obj.is_closed else "snapshot_shown"
        return [part for part in shown if left_out not in part[1]["fields"]]

    def render_change_form(self, request, context, add=False, change=False, form_url="", obj=None):
        """The page, with what belongs to the execution as far as this person may see it."""
        if obj is not None:
            context["parts"] = belongings.of(obj, self.admin_site, request)
            context["inline_note"] = belongings.inline_note(obj)
        return super().render_change_form(request, context, add, change, form_url, obj)
