"""Answer an interrupt from a form: the text in, ``engine.decide``, every refusal in words.

Whether somebody may answer is asked before (``why_not``), to show it, and again by ``decide`` on the locked row, which
alone counts.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import OperationalError
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from triggerflow_django import conf, exceptions, jsongate
from triggerflow_django.admin import values
from triggerflow_django.approvals import policy
from triggerflow_django.engine import actor as actors
from triggerflow_django.engine.decide import decide
from triggerflow_django.models import Door, Interrupt, InterruptStatus, Lifecycle


class AnswerForm(forms.Form):
    """An answer as JSON, and what its author has to say about it."""

    answer = forms.CharField(
        label=gettext_lazy("Answer"),
        strip=False,
        widget=forms.Textarea(attrs={"rows": 5, "spellcheck": "false", "class": "vLargeTextField"}),
        help_text=gettext_lazy('As JSON: {"approved": true}, "a text", 12.5, true, null.'),
    )
    comment = forms.CharField(
        label=gettext_lazy("Comment"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 2, "class": "vLargeTextField"}),
        help_text=gettext_lazy("Kept with the decision; the flow does not get it."),
    )
    #: Made with the page, so that a form that is sent twice is answered alike twice.
    request_id = forms.CharField(widget=forms.HiddenInput, max_length=200)

    def clean_answer(self) -> jsongate.Json:
        """The value; where the text is no JSON, line and column of the fault."""
        try:
            return jsongate.parse(self.cleaned_data["answer"], limits=conf.get_settings().answer_limits)
        except exceptions.JsonValueError as error:
            raise ValidationError(_told(str(error))) from None

    def clean_comment(self) -> str:
        """The text with the line ends of the rest of the world."""
        text = self.cleaned_data["comment"].replace("\r\n", "\n")
        try:
            return actors.words(text, root="$")
        except exceptions.JsonValueError as error:
            raise ValidationError(_told(str(error))) from None


def blank() -> AnswerForm:
    """A form to fill in, with a request id of its own."""
    return AnswerForm(initial={"request_id": uuid.uuid4().hex})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an answer: the decided interrupt's record, or ``None`` and the HTTP status of the refusal.

    The words are then in the form's errors.
    """

    record: dict[str, Any] | None
    status: int = 200


def submit(form: AnswerForm, row: Interrupt, user: Any) -> Outcome:
    """Decide the very question that ``row`` is, as ``user``, with what the form says. Raises nothing a person can be
    told of instead.
    """
    if not form.is_valid():
        return Outcome(None, 400)
    try:
        record = decide(
            row.execution_id,
            row.interrupt_id,
            form.cleaned_data["answer"],
            door=Door.ADMIN,
            using=row._state.db or conf.get_settings().DATABASE,
            actor=user,
            request_id=form.cleaned_data["request_id"],
            round=row.round,
            comment=form.cleaned_data["comment"],
        )
    except (exceptions.TriggerFlowError, OperationalError) as error:
        return Outcome(None, _refuse(form, row, error))
    return Outcome(record)


def _refuse(form: AnswerForm, row: Interrupt, error: Exception) -> int:
    """Say in the form what was wrong. Returns the HTTP status."""
    match error:
        case exceptions.AnswerSchemaError():
            for fault in error.errors:
                form.add_error("answer", _told(f"{fault['path']}: {fault['message']}"))
            return 422
        case exceptions.DecisionRefusedError():
            form.add_error(None, _refused(str(error).rpartition("not allowed to decide: ")[2]))
            return 403
        case exceptions.RequestIdConflictError():
            told = _("This form was sent before, with another answer. That one counts; nothing was changed.")
            form.add_error(None, told)
            return 422
        case OperationalError():
            told = _("The database did not answer in time. Send the form again: what was stored is not stored twice.")
            form.add_error(None, told)
            return 503
    rows: Any = Interrupt.objects.using(row._state.db)
    fresh = rows.select_related("execution", "decision").filter(pk=row.pk).first()
    form.add_error(None, (fresh and not_waiting(fresh)) or capfirst(str(error)))
    return 409


def why_not(row: Interrupt, reason: str | None) -> str:
    """Why this interrupt takes no answer from this person, in words; empty if it does.

    ``reason``: what ``refusal`` said.
    """
    return not_waiting(row) or ("" if reason is None else _refused(reason))


def refusal(row: Interrupt, user: Any) -> str | None:
    """Why the policy does not let somebody decide, in words; ``None`` if it does. Whether the interrupt still waits
    makes no difference.
    """
    return policy.refusal(
        user,
        approvers=row.approvers,
        exclude_starter=row.exclude_starter,
        started_by_id=row.execution.started_by_id,
        interrupt=row,
    )


def not_waiting(row: Interrupt) -> str:
    """Why nobody can answer any more, or not now; empty while the interrupt waits in an open execution."""
    decision = row.decision
    if decision is not None:
        who = decision.actor_label or decision.get_door_display()
        return _("Decided by %(who)s on %(when)s") % {"who": who, "when": values.moment(decision.created_at)}
    if row.status != InterruptStatus.WAITING:
        told = {"status": row.get_status_display(), "when": values.moment(row.resolved_at)}
        return _("Nobody can answer this any more: %(status)s on %(when)s") % told
    if row.execution.lifecycle == Lifecycle.OPEN:
        return ""
    told = {"lifecycle": row.execution.get_lifecycle_display()}
    return _("The execution is %(lifecycle)s and takes no answers.") % told


def keys(schema: Any) -> list[tuple[str, str]]:
    """What an answer may hold by its schema, for people: name, and kind and description in words. Never raises."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict):
        return []
    needed = schema.get("required")
    needed = needed if isinstance(needed, list) else []
    return [(name, _key(rule, name in needed)) for name, rule in properties.items()]


def _key(rule: Any, is_needed: bool) -> str:
    rule = rule if isinstance(rule, dict) else {}
    kinds = rule.get("enum") if isinstance(rule.get("enum"), list) else rule.get("type", [])
    shown = [
        jsongate.dumps(kind) if "enum" in rule else str(kind)
        for kind in (kinds if isinstance(kinds, list) else [kinds])
    ]
    told = [_(" or ").join(shown), _("required") if is_needed else _("may be left out")]
    description = rule.get("description")
    return ", ".join(filter(None, told)) + (f". {description}" if isinstance(description, str) else "")


def _refused(reason: str) -> str:
    return _("You cannot decide this: %(reason)s.") % {"reason": reason}


def _told(fault: str) -> str:
    """A fault without the path where that is the whole value."""
    return capfirst(fault.removeprefix("$: "))
