"""The pages of interrupts: what waits for whom, and the form that answers.

An interrupt's own page is open to who has the view permission, and to whom its policy lets decide: the one who is asked
must see the question. The list needs the permission.
"""

from __future__ import annotations

import copy
from typing import Any, Final

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from triggerflow_django.admin import answering, belongings, links, values
from triggerflow_django.admin.filters import InterruptStatusFilter
from triggerflow_django.admin.read_only import ReadOnlyAdmin
from triggerflow_django.approvals import policy
from triggerflow_django.models import Decision, Execution, Interrupt, Step

#: Links to pages of their own, shown to who may open those.
_LINKED: Final[dict[str, Any]] = {"execution": Execution, "step": Step, "decision": Decision}


class InterruptAdmin(ReadOnlyAdmin):
    """Interrupts: a list by status, and a page with the question and the form for its answer."""

    related = ("execution", "decision", "step")
    related_large = (
        "execution__input", "execution__snapshot", "step__input", "step__output", "step__error", "step__scope",
    )  # fmt: skip
    large = ("payload", "response_schema", "approvers", "on_due", "decision__payload")
    list_display = ("type", "flow", "status", "due_at", "key", "created_at", "decided_by", "interrupt_id")
    list_filter = (InterruptStatusFilter,)
    fieldsets = (
        (gettext_lazy("Question"), {"fields": ("payload_shown",), "classes": ("triggerflow-wide",)}),
        (
            gettext_lazy("About"),
            {
                "classes": ("triggerflow-plain",),
                "fields": (
                    "status", "type", "flow", "key", "execution", "started_by", "may_decide", "created_at", "due_at",
                    "overdue_at", "decided_by", "answer_shown", "comment_shown",
                ),
            },
        ),
        (
            gettext_lazy("More"),
            {
                "classes": ("collapse",),
                "fields": (
                    "step", "decision", "id", "interrupt_id", "round", "resume_to", "resume_event",
                    "schema_shown", "on_due_shown", "resume_count", "max_resumes", "resolved_at",
                ),
            },
        ),
    )  # fmt: skip

    # -- columns

    @admin.display(description=gettext_lazy("flow"))
    def flow(self, row: Interrupt) -> str:
        """The flow that asks."""
        return row.execution.flow_name

    @admin.display(description=gettext_lazy("key"))
    def key(self, row: Interrupt) -> str:
        """The business key of its execution."""
        return row.execution.key or "-"

    @admin.display(description=gettext_lazy("started by"))
    def started_by(self, row: Interrupt) -> str:
        """Who started its execution."""
        return row.execution.started_by_label or "-"

    @admin.display(description=gettext_lazy("may decide"))
    def may_decide(self, row: Interrupt) -> str:
        """Who may answer, in words."""
        return policy.who_may(row.approvers, exclude_starter=row.exclude_starter)

    @admin.display(description=gettext_lazy("decided by"))
    def decided_by(self, row: Interrupt) -> str:
        """Who answered, as they were called then, or the door where that was nobody."""
        decision = row.decision
        return "-" if decision is None else decision.actor_label or decision.get_door_display()

    # -- values

    @admin.display(description="")
    def payload_shown(self, row: Interrupt) -> str:
        """What is asked: its question in large, the rest of it as JSON."""
        question, rest = _question(row.payload)
        heading = format_html('<p class="triggerflow-question">{}</p>', values.plain(question)) if question else ""
        return format_html("{}{}", heading, "" if question and not rest else values.as_json(rest))

    @admin.display(description=gettext_lazy("answer"))
    def answer_shown(self, row: Interrupt) -> str:
        """What was answered."""
        return "-" if row.decision is None else values.as_json(row.decision.payload)

    @admin.display(description=gettext_lazy("comment"))
    def comment_shown(self, row: Interrupt) -> str:
        """What the one who decided wrote beside it."""
        return values.as_text(row.decision.comment) if row.decision is not None and row.decision.comment else "-"

    @admin.display(description=gettext_lazy("response schema"))
    def schema_shown(self, row: Interrupt) -> str:
        """What an answer has to look like."""
        return "-" if row.response_schema is None else values.as_json(row.response_schema)

    @admin.display(description=gettext_lazy("on due"))
    def on_due_shown(self, row: Interrupt) -> str:
        """What happens at the deadline."""
        return "-" if row.on_due is None else values.as_json(row.on_due)

    # -- who sees what

    def has_view_permission(self, request, obj=None):
        """Who has the permission; one interrupt also whom its policy lets decide, and who did."""
        if super().has_view_permission(request, obj):
            return True
        if obj is None:
            return False
        decided = obj.decision is not None and obj.decision.actor_id == str(request.user.pk)
        return decided or self._refusal(request, obj) is None

    def get_fieldsets(self, request, obj=None):
        """Without links that would lead this person to a refusal, and without an answer while there is none."""
        left_out = {name for name, model in _LINKED.items() if not self._may_view(request, model)}
        if obj is not None and obj.decision is None:
            left_out |= {"decided_by", "answer_shown", "comment_shown", "decision"}
        return [
            (title, {**part, "fields": tuple(name for name in part["fields"] if name not in left_out)})
            for title, part in super().get_fieldsets(request, obj)
        ]

    def _may_view(self, request, model: Any) -> bool:
        site = self.admin_site
        return site.is_registered(model) and site.get_model_admin(model).has_view_permission(request)

    def _refusal(self, request, row: Any) -> str | None:
        """What the policy says to this person; asked once for each row that was read."""
        if not hasattr(row, "_refusal_shown"):
            row._refusal_shown = answering.refusal(row, request.user)
        reason: str | None = row._refusal_shown
        return reason

    # -- answering

    def change_view(self, request, object_id, form_url="", extra_context=None):
        """The page. A POST is an answer: it decides and comes back, or shows the page with the refusal."""
        form, status = None, 200
        if request.method == "POST":
            row = self.get_object(request, unquote(object_id))
            if row is None or not self.has_view_permission(request, row):
                raise PermissionDenied
            form = answering.AnswerForm(request.POST)
            outcome = answering.submit(form, row, request.user)
            if outcome.record is not None:
                self._tell(request, row, outcome.record)
                return HttpResponseRedirect(links.row_address(self.admin_site, Interrupt, row.pk))
            # Django's own view then only shows: nothing on this page is saved by it.
            status, request = outcome.status, copy.copy(request)
            request.method = "GET"
        context = {**(extra_context or {}), "answer_form": form}
        response = super().change_view(request, object_id, form_url, context)
        if isinstance(response, TemplateResponse):
            response.status_code = status
        return response

    def render_change_form(self, request, context, add=False, change=False, form_url="", obj=None):
        """The page, with the form or with why there is none."""
        if obj is not None:
            why_not = answering.why_not(obj, self._refusal(request, obj))
            form = context.get("answer_form")
            context["why_not"] = why_not
            context["answer_form"] = form if form is not None or why_not else answering.blank()
            context["keys"] = answering.keys(obj.response_schema)
            context["schema"] = "" if obj.response_schema is None else values.as_json(obj.response_schema)
        return super().render_change_form(request, context, add, change, form_url, obj)

    def _tell(self, request, row: Interrupt, record: dict[str, Any]) -> None:
        told = _("Stored: %(who)s decided this.") % {"who": record["resumed_by"]}
        execution = Execution.objects.using(row._state.db).defer("input", "snapshot").get(pk=row.execution_id)
        messages.success(request, format_html("{} {}", told, belongings.inline_note(execution)))


def _question(payload: Any) -> tuple[str, Any]:
    """The question in words, if a payload has one, and what else it has."""
    if isinstance(payload, str):
        return payload, None
    if isinstance(payload, dict) and isinstance(payload.get("question"), str):
        return payload["question"], {key: value for key, value in payload.items() if key != "question"}
    return "", payload
