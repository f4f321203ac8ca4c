"""The landing page: what runs here, who to sign in as, what to try.

Anybody may open it. Numbers and questions are shown to who may see executions, and to everybody while ``DEBUG`` is on,
which is somebody's trial on their own machine; so are the demo's logins.
"""

from __future__ import annotations

import inspect
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import NoReverseMatch, reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from project.demo import logins, roles
from project.demo.flows import expenses, publication, refund, review, signoff
from triggerflow_django import TriggerFlow, conf
from triggerflow_django.approvals import policy
from triggerflow_django.definition import registry
from triggerflow_django.models import Execution, ExecutionStatus, Interrupt, InterruptStatus
from triggerflow_django.worker import presence

#: Questions on the page; the admin has the others.
_SHOWN: Final = 5
#: In the order in which executions go through them.
_STATUSES: Final = ("created", "running", "waiting", "idle", "failed", "completed", "cancelled")


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowLine:
    """One flow: what it is about, and how its executions stand."""

    name: str
    story: str
    #: Status, as people see it, and how many stand so; only what there is.
    counts: list[tuple[str, int]]


@require_safe
@never_cache
def home(request: HttpRequest) -> HttpResponse:
    """The page. It changes nothing."""
    sees_numbers = settings.DEBUG or request.user.has_perm("triggerflow.view_execution")
    context: dict[str, Any] = {
        "runner": conf.get_settings().RUNNER,
        "logins": _logins() if settings.DEBUG else [],
        "password": logins.password() if settings.DEBUG else "",
        "dashboard": _dashboard(),
        "sees_numbers": sees_numbers,
    }
    if sees_numbers:
        context |= {
            "flows": _flows(),
            "workers": _workers(),
            **_questions(),
        }
    return render(request, "home.html", context)


def _flows() -> list[FlowLine]:
    """The flows this process knows and those that there are executions of, by name. One query."""
    is_idle = Q(status=ExecutionStatus.RUNNING, active_steps=0, pending_interrupts=0)
    by_flow = Execution.objects.order_by().values_list("flow_name", "status")
    rows: Any = by_flow.annotate(number=Count("pk"), idle=Count("pk", filter=is_idle))
    counted: dict[str, Counter[str]] = {flow.name: Counter() for flow in registry.flows()}
    for name, status, number, idle in rows:
        counted.setdefault(name, Counter()).update({status: number - idle, "idle": idle})
    stories = _stories()
    return [
        FlowLine(
            name=name,
            story=stories.get(name, ""),
            counts=[(status, counted[name][status]) for status in _STATUSES if counted[name][status]],
        )
        for name in sorted(counted)
    ]


def _stories() -> dict[str, str]:
    """What the demo's flows are about: the first sentence of their modules."""
    return {
        flow.name: inspect.cleandoc(module.__doc__ or "").partition("\n\n")[0].replace("``", "")
        for module in (expenses, publication, refund, review, signoff)
        for flow in vars(module).values()
        if isinstance(flow, TriggerFlow)
    }


def _questions() -> dict[str, Any]:
    """How many interrupts wait, and the newest of them with who may decide."""
    waiting = Interrupt.objects.filter(status=InterruptStatus.WAITING)
    newest = waiting.select_related("execution").defer("execution__input", "execution__snapshot")
    return {
        "waiting": waiting.count(),
        "questions": [
            {
                "pk": row.pk,
                "flow": row.execution.flow_name,
                "text": _question(row),
                "may_decide": policy.who_may(row.approvers, exclude_starter=row.exclude_starter),
            }
            for row in newest.order_by("-created_at")[:_SHOWN]
        ],
    }


def _question(row: Interrupt) -> str:
    question = row.payload.get("question") if isinstance(row.payload, dict) else row.payload
    return question if isinstance(question, str) else row.type


def _workers() -> int | None:
    """How many workers listen; ``None`` where Redis does not say, or where nothing needs one."""
    if conf.get_settings().RUNNER != "rq":
        return None
    return presence.listening(conf.get_settings().DEFAULT_QUEUE)


def _logins() -> list[str]:
    """The demo's people that are there to sign in as."""
    model: Any = get_user_model()
    found = model._default_manager.filter(**{f"{model.USERNAME_FIELD}__in": list(roles.ROLES), "is_active": True})
    names = {user.get_username() for user in found}
    return [role for role in roles.ROLES if role in names]


def _dashboard() -> str:
    """Where django-rq shows its queues; empty where it is not installed."""
    if not apps.is_installed("django_rq"):
        return ""
    for name in ("admin:django_rq_home", "django_rq:home"):
        try:
            return reverse(name)
        except NoReverseMatch:
            continue
    return ""
