"""Filters of lists. Each asks for what an index serves, and takes any text from the address without complaint."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.utils.translation import gettext_lazy as _

from triggerflow_django import jsongate
from triggerflow_django.definition import registry
from triggerflow_django.models import ExecutionStatus, InterruptStatus, StepStatus


class FlowFilter(admin.SimpleListFilter):
    """Executions of one of the flows that this process knows."""

    title = _("flow")
    parameter_name = "flow_name"

    def lookups(self, request, model_admin):
        """The registered flows. Which flows there are rows of, the database would have to read them all to tell."""
        return [(flow.name, flow.name) for flow in registry.flows()]

    def queryset(self, request, queryset):
        """By name; one that is not registered any more may stand in the address."""
        name = self.value()
        if name is None:
            return queryset
        return queryset.filter(flow_name=name) if jsongate.is_name(name) else queryset.none()


class _StatusFilter(admin.SimpleListFilter):
    """Rows by status."""

    title = _("status")
    parameter_name = "status"
    statuses: ClassVar[Any]

    def lookups(self, request, model_admin) -> Iterable[tuple[str, Any]]:
        """All there are."""
        return list(self.statuses.choices)

    def queryset(self, request, queryset) -> QuerySet[Any]:
        """What stands so; nothing does for a status that is none."""
        value = self.value()
        if value is None:
            return queryset
        if value not in self.statuses.values:
            return queryset.none()
        return queryset.filter(status=value)


class ExecutionStatusFilter(_StatusFilter):
    """Executions by status as people see it: a running one with nothing to do is idle."""

    statuses = ExecutionStatus

    def lookups(self, request, model_admin):
        """The statuses, and ``idle``."""
        return [*super().lookups(request, model_admin), ("idle", _("idle"))]

    def queryset(self, request, queryset):
        """By status."""
        idle = Q(status=ExecutionStatus.RUNNING, active_steps=0, pending_interrupts=0)
        if self.value() == "idle":
            return queryset.filter(idle)
        rows = super().queryset(request, queryset)
        return rows.exclude(idle) if self.value() == ExecutionStatus.RUNNING else rows


class StepStatusFilter(_StatusFilter):
    """Steps by status."""

    statuses = StepStatus


class InterruptStatusFilter(_StatusFilter):
    """Interrupts by status."""

    statuses = InterruptStatus
