"""Which execution a test means: its handle, its row or its id."""

from __future__ import annotations

import uuid
from typing import TypeAlias

from triggerflow_django import conf, exceptions
from triggerflow_django.handles import TriggerFlow, TriggerFlowExecution
from triggerflow_django.handles.execution import execution_uuid
from triggerflow_django.models import Execution
from triggerflow_django.runtime import bridge

#: What the functions of this package take as an execution.
Target: TypeAlias = TriggerFlowExecution | Execution | uuid.UUID | str


def locate(target: Target, using: str | None) -> tuple[uuid.UUID, str]:
    """The primary key, and the database alias; ``using`` says where an id is looked for.

    Raises: UnknownExecutionError where there is no such row; the handle of an execution that has none yet will do.
    """
    if isinstance(target, TriggerFlowExecution):
        return target.pk, target.using
    alias = using or conf.get_settings().DATABASE
    if isinstance(target, Execution):
        pk, alias = target.pk, target._state.db or alias
    else:
        pk = execution_uuid(target)
    if not bridge.call(lambda: Execution.objects.using(alias).filter(pk=pk).exists()):
        raise exceptions.UnknownExecutionError(f"there is no execution {pk.hex} in database {alias!r}")
    return pk, alias


def handle_of(target: Target, using: str | None) -> TriggerFlowExecution:
    """The handle by which to run it.

    Raises: UnknownExecutionError; UnknownFlowError for a row or an id of a flow that is not registered: only a handle
    knows such a flow.
    """
    if isinstance(target, TriggerFlowExecution):
        return target
    pk, alias = locate(target, using)
    return TriggerFlow.attach(pk, using=alias)
