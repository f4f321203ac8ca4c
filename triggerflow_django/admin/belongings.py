"""What belongs to an execution, as tables on its page: waiting interrupts, decisions, steps, history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.contrib.admin import AdminSite
from django.utils.html import format_html
from django.utils.translation import gettext as _

from triggerflow_django.admin import links, values
from triggerflow_django.engine import family
from triggerflow_django.models import (
    Decision,
    Event,
    Execution,
    Interrupt,
    InterruptStatus,
    Runner,
    Step,
    StepStatus,
)

#: Rows of a kind; the lists have the others.
SHOWN: Final = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One table."""

    title: str
    heads: tuple[str, ...]
    lines: list[tuple[str, ...]]
    #: The address of the list with all of them.
    address: str
    has_more: bool


def of(row: Execution, site: AdminSite, request: Any) -> list[Part]:
    """The tables whose pages are on this site and open to this person. At most ``SHOWN`` rows of each, newest first;
    of what waits, the oldest.
    """
    parts = [
        part(row, site)
        for model, part in _PARTS.items()
        if site.is_registered(model) and site.get_model_admin(model).has_view_permission(request)
    ]
    below = _sub_flows(row, site)
    return [*parts, below] if below.lines else parts


def inline_note(row: Execution) -> str:
    """What becomes of the ready steps of an inline execution, which no page runs; empty where there are none."""
    if row.runner != Runner.INLINE or not row.active_steps:
        return ""
    ready = Step.objects.using(row._state.db).filter(execution_id=row.pk, status=StepStatus.READY).count()
    if not ready:
        return ""
    told = _(
        "This execution runs inline: its ready steps (%(number)s) are left to the process that holds it, when that "
        "next uses its handle. If none does, hand it to workers:"
    )
    return format_html(
        "{} <code>manage.py triggerflow_handover {} --reason TEXT</code>", told % {"number": ready}, row.id.hex
    )


def _waiting(row: Execution, site: AdminSite) -> Part:
    rows = _rows(Interrupt, row).filter(status=InterruptStatus.WAITING).order_by("pk")
    return _part(
        row,
        site,
        _("Waiting for an answer"),
        rows.only("type", "interrupt_id", "created_at", "due_at"),
        (_("question"), _("asked"), _("due")),
        lambda asked: (str(asked), values.moment(asked.created_at), values.moment(asked.due_at)),
    )


def _decisions(row: Execution, site: AdminSite) -> Part:
    rows = _rows(Decision, row).select_related("interrupt").order_by("-pk")
    return _part(
        row,
        site,
        _("Decisions"),
        rows.only("actor_label", "door", "created_at", "comment", "interrupt__type", "interrupt__interrupt_id"),
        (_("question"), _("decided by"), _("door"), _("time"), _("comment")),
        lambda made: (
            str(made.interrupt),
            made.actor_label or "-",
            made.get_door_display(),
            values.moment(made.created_at),
            made.comment,
        ),
    )


def _steps(row: Execution, site: AdminSite) -> Part:
    return _part(
        row,
        site,
        _("Steps"),
        _rows(Step, row).only("node", "source", "status", "attempt", "created_at", "finished_at").order_by("-pk"),
        (_("step"), _("status"), _("attempt"), _("created"), _("finished")),
        lambda step: (
            step.node or step.source,
            step.get_status_display(),
            str(step.attempt),
            values.moment(step.created_at),
            values.moment(step.finished_at),
        ),
    )


def _sub_flows(row: Execution, site: AdminSite) -> Part:
    """What it has started, newest first."""
    rows = family.children(row.pk, str(row._state.db)).reverse()
    return _part(
        row,
        site,
        _("Sub flows"),
        rows.only("flow_name", "status", "started_at", "closed_at"),
        (_("flow"), _("status"), _("started"), _("closed")),
        lambda child: (
            child.flow_name,
            child.get_status_display(),
            values.moment(child.started_at),
            values.moment(child.closed_at),
        ),
        address=links.list_address(site, Execution),
    )


def _history(row: Execution, site: AdminSite) -> Part:
    rows = _rows(Event, row).order_by("-sequence")
    return _part(
        row,
        site,
        _("History"),
        rows.only("sequence", "kind", "name", "actor_label", "created_at"),
        (_("what"), _("about"), _("by"), _("time")),
        lambda event: (event.get_kind_display(), event.name, event.actor_label, values.moment(event.created_at)),
    )


_PARTS: Final[dict[Any, Callable[[Execution, AdminSite], Part]]] = {
    Interrupt: _waiting,
    Decision: _decisions,
    Step: _steps,
    Event: _history,
}


def _rows(model: Any, row: Execution) -> Any:
    return model.objects.using(row._state.db).filter(execution_id=row.pk)


def _part(
    row: Execution,
    site: AdminSite,
    title: str,
    rows: Any,
    heads: tuple[str, ...],
    told: Callable[[Any], tuple[str, ...]],
    address: str = "",
) -> Part:
    found = list(rows[: SHOWN + 1])
    lines = []
    for one in found[:SHOWN]:
        first, *others = told(one)
        lines.append((links.to_row(site, rows.model, one.pk, first), *others))
    address = address or links.list_address(site, rows.model, execution=row.pk)
    return Part(title=title, heads=heads, lines=lines, address=address, has_more=len(found) > SHOWN)
