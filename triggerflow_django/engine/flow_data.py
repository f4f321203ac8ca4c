"""Read and change what all executions of a flow share.

Changes are operations, applied under the row's lock, so that executions which write at once compose. The row is locked
last (after the execution and all of its rows), and no transaction locks two of them.
"""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from django.db import DatabaseError, IntegrityError, transaction

from triggerflow_django import conf, exceptions, jsongate
from triggerflow_django.definition.graph import Graph
from triggerflow_django.definition.routing import Signal
from triggerflow_django.engine import effects
from triggerflow_django.engine.transition import begin, routed
from triggerflow_django.models import Execution, FlowData, Lifecycle
from triggerflow_django.runtime import state as state_ops

logger = logging.getLogger(__name__)


def read(flow_name: str, *, using: str) -> dict[str, Any]:
    """The committed data of a flow; empty where nothing was written yet."""
    found = FlowData.objects.using(using).filter(pk=flow_name).values_list("data", flat=True).first()
    return found or {}


def write(flow_name: str, changes: Sequence[state_ops.StateChange], *, using: str) -> dict[str, Any] | None:
    """Apply operations to the committed data, in the caller's transaction if there is one. Returns the data, ``None``
    where there was nothing to change: deleting what is absent does nothing.

    Raises: JsonValueError where it gets larger than a state may be.
    """
    with transaction.atomic(using=using):
        row = _locked(flow_name, using)
        data: dict[str, Any] = state_ops.apply_all(row.data, changes)
        if data is row.data:
            return None
        jsongate.check(data, limits=conf.get_settings().value_limits, root="flow data")
        FlowData.objects.using(using).filter(pk=flow_name).update(data=data, revision=row.revision + 1)
    return data


def offer(flow_name: str, data: dict[str, Any], *, using: str) -> None:
    """Store data that a saved execution brings along, where the flow has none here: what is here is newer."""
    if data:
        FlowData.objects.using(using).get_or_create(flow_name=flow_name, defaults={"data": data, "revision": 1})


def _locked(flow_name: str, using: str) -> FlowData:
    rows = FlowData.objects.using(using).select_for_update()
    row = rows.filter(pk=flow_name).first()
    if row is None:
        try:
            with transaction.atomic(using=using):
                FlowData.objects.using(using).create(flow_name=flow_name, data={}, revision=0)
        except IntegrityError:
            pass  # somebody else wrote first
        row = rows.get(pk=flow_name)
    return row


def signal_all(flow_name: str, heard: Iterable[tuple[str, Any]], *, using: str, graph: Graph) -> None:
    """Let ``when({"flow_data": key})`` fire in every open execution of the flow, one transaction each.

    Does nothing where the flow listens to none of the keys. Called after the data is committed.
    """
    signals = [Signal(("flow_data", key), value) for key, value in heard if graph.listeners(("flow_data", key))]
    if not signals:
        return
    open_ones = Execution.objects.using(using).filter(
        flow_name=flow_name, lifecycle=Lifecycle.OPEN, started_at__isnull=False
    )
    for pk in open_ones.order_by("pk").values_list("pk", flat=True).iterator():
        try:
            _signal(pk, signals, using, graph)
        except DatabaseError:  # one that cannot be told must not keep the others from hearing
            logger.warning("triggerflow.flow_data.not_told", exc_info=True, extra={"execution": pk.hex})


def _signal(pk: uuid.UUID, signals: Sequence[Signal], using: str, graph: Graph) -> None:
    def verb(defer: bool) -> None:
        with begin(pk, using=using, graph=graph, defer=defer) as transition:
            if transition.execution.lifecycle == Lifecycle.OPEN:
                for signal in signals:
                    effects.route(transition, signal, cause=None)

    with contextlib.suppress(exceptions.UnknownExecutionError):  # deleted meanwhile
        routed(verb)
