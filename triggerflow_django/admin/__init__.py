"""Admin pages: read executions, steps, interrupts, decisions and history; answer what waits. Nothing is edited.

Django's autodiscovery imports this package, which registers the pages on ``django.contrib.admin.site``. A project with
an ``AdminSite`` of its own calls ``register(site)``; one that wants other pages subclasses those named here.
"""

from __future__ import annotations

from typing import Any, Final

from django.contrib import admin

from triggerflow_django.admin.decision import DecisionAdmin
from triggerflow_django.admin.event import EventAdmin
from triggerflow_django.admin.execution import ExecutionAdmin
from triggerflow_django.admin.interrupt import InterruptAdmin
from triggerflow_django.admin.step import StepAdmin
from triggerflow_django.models import Decision, Event, Execution, Interrupt, Step

__all__ = ["DecisionAdmin", "EventAdmin", "ExecutionAdmin", "InterruptAdmin", "StepAdmin", "register"]

_PAGES: Final[dict[Any, type[admin.ModelAdmin]]] = {
    Execution: ExecutionAdmin,
    Step: StepAdmin,
    Interrupt: InterruptAdmin,
    Decision: DecisionAdmin,
    Event: EventAdmin,
}


def register(site: admin.AdminSite) -> None:
    """Put the pages on a site; models that have a page there keep it."""
    for model, page in _PAGES.items():
        if not site.is_registered(model):
            site.register(model, page)


register(admin.site)
