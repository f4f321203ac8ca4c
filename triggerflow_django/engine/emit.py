"""Emit an event from outside into an execution, and write its state from outside."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from triggerflow_django import conf, exceptions, jsongate
from triggerflow_django.definition.graph import Graph
from triggerflow_django.definition.routing import Signal
from triggerflow_django.engine import actor as actors
from triggerflow_django.engine import effects, resolve
from triggerflow_django.engine.transition import Carrier, begin, routed
from triggerflow_django.models import EventKind
from triggerflow_django.runtime import state as state_ops
from triggerflow_django.runtime.data import event_name


def emit(
    execution_id: uuid.UUID,
    event: str,
    value: Any,
    *,
    using: str,
    actor: Any = None,
    reason: str = "",
    graph: Graph | None = None,
    carrier: Carrier | None = None,
) -> list[int]:
    """Emit an event: its handlers become ready, and every interrupt that waits for it is answered. Returns the ids of
    the new steps. ``reason``: why, for history.

    Raises: ExecutionNotOpenError; JsonValueError; DecisionRefusedError and AnswerSchemaError where an interrupt that
    waits for the event does not accept it from this actor: the emit is refused whole.
    """
    name = event_name(event)
    value = jsongate.check(value, limits=conf.get_settings().answer_limits, root=f"event {name}")
    who = actors.of(actor)
    why = {"reason": actors.words(reason, root="reason")} if reason else {}

    def verb(defer: bool) -> list[int]:
        with begin(execution_id, using=using, graph=graph, defer=defer) as transition:
            transition.require_open(f"event {name!r}")
            transition.add_event(EventKind.EMITTED, name=name, actor=who, data={"value": value, **why})
            resolve.by_outer_event(transition, name, value, actor, who)
            answered = len(transition.new_steps)
            effects.route(transition, Signal(("event", name), value), cause=None)
            transition.carry(carrier)
        return [step.pk for step in transition.new_steps[answered:]]

    return routed(verb)


def write_state(
    execution_id: uuid.UUID,
    changes: Sequence[state_ops.StateChange],
    *,
    using: str,
    signal: bool = True,
    actor: Any = None,
    graph: Graph | None = None,
) -> None:
    """Change the state from outside; ``signal``: let ``when({"runtime_data": key})`` fire. Allowed until the execution
    is closed.

    Raises: ExecutionNotOpenError; JsonValueError.
    """

    def verb(defer: bool) -> None:
        with begin(execution_id, using=using, graph=graph, defer=defer) as transition:
            if transition.execution.is_closed:
                raise exceptions.ExecutionNotOpenError(
                    f"execution {execution_id.hex} is closed: its state does not change any more"
                )
            state, effective, heard = transition.read_state(), [], []
            for change in changes:
                if change.op == "delete" and not _has(state, change.key):
                    continue
                state = state_ops.apply(state, change)
                effective.append(change)
                value = None if change.op == "delete" else state_ops.lookup(state, change.key)
                heard.append(Signal(("runtime_data", change.key), value))
            if not effective:
                return
            transition.write_state(effective)
            keys = [change.key for change in effective]
            transition.add_event(EventKind.STATE_CHANGED, name=keys[0], actor=actors.of(actor), data={"keys": keys})
            for each in heard if signal else ():
                effects.route(transition, each, cause=None)

    routed(verb)


def _has(state: dict[str, Any], key: str) -> bool:
    return state_ops.lookup(state, key) is not state_ops.MISSING
