"""Phase 2 of routing, under the lock: apply the effects of a walk to the execution (design.md 5.1).

A worklist: running a chunk inserts a step, filling a join may fire it, and what a join fires is walked without asking
user conditions (they are deferred to a step of their own). Nested joins are the same loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from triggerflow_django import exceptions, jsongate
from triggerflow_django.definition import routing
from triggerflow_django.definition.graph import Graph, Node, Source
from triggerflow_django.definition.routing import Ask, Defer, Effect, Fill, Open, Run, Scope, Signal
from triggerflow_django.engine import family, pages, places
from triggerflow_django.engine.transition import Transition
from triggerflow_django.models import Join, JoinSlot, JoinStatus, Step, StepKind


@dataclass(frozen=True, slots=True)
class Emitted:
    """An event a chunk emitted, at its place among the effects: interrupts that wait for it are resolved here."""

    event: str
    value: Any


def route(transition: Transition, signal: Signal, *, cause: Step | None) -> None:
    """Follow a signal without asking user code.

    Where this process does not know the flow as the execution runs it, the whole signal is left to a worker as one
    step.
    """
    graph = transition.graph
    if graph is None:
        defer_signal(transition, signal, cause=cause)
        return
    if not graph.listeners(signal.source):
        return
    walk = routing.walk(graph, signal, transition.tokens, evaluate=False, window=transition.settings.FOR_EACH_WINDOW)
    apply(transition, walk, cause=cause)


def defer_signal(transition: Transition, signal: Signal, *, cause: Step | None) -> None:
    """Leave a whole signal to a step of kind ``route``."""
    step = transition.add_step(
        kind=StepKind.ROUTE, node="", source=signal.source, value=signal.value, scope=signal.scope, cause=cause
    )
    places.admit(transition, step)


def apply(transition: Transition, effects: Iterable[Any], *, cause: Step | None) -> None:
    """Apply effects in order, and whatever follows from them, then use the places they freed.

    Raises: JoinClosedError where a value has no open join; JsonValueError where a join's result is too large.
    """
    pending: deque[Any] = deque(effects)
    while True:
        while pending:
            effect = pending.popleft()
            follow = _apply_one(transition, effect, cause)
            pending.extendleft(reversed(list(follow)))
        pending.extend(places.refill(transition))
        if not pending:
            return


def _apply_one(transition: Transition, effect: Any, cause: Step | None) -> Iterable[Any]:
    match effect:
        case Run():
            is_sub_flow = family.sub_flow_of(transition.graph, effect.node) is not None
            step = transition.add_step(
                kind=StepKind.SUB_FLOW if is_sub_flow else StepKind.CHUNK,
                node=effect.node,
                source=effect.source,
                value=effect.value,
                scope=effect.scope,
                cause=cause,
            )
            places.admit(transition, step)
        case Defer():
            step = transition.add_step(
                kind=StepKind.ROUTE,
                node=effect.node,
                source=effect.source,
                value=effect.value,
                scope=effect.scope,
                cause=cause,
            )
            places.admit(transition, step)
        case Open():
            _open(transition, effect)
        case Fill():
            return _fill(transition, effect)
        case Emitted():
            from triggerflow_django.engine import resolve  # noqa: PLC0415 - resolving routes, routing resolves

            resolve.by_inner_event(transition, effect.event, effect.value)
    return ()


# -- joins


def _open(transition: Transition, effect: Open) -> None:
    items = effect.items
    if items is not None:
        jsongate.check(items, limits=transition.settings.fanout_limits, root="for_each items")
    join = Join(
        execution_id=transition.execution.id,
        node=effect.node,
        activation=effect.activation,
        scope=[list(mark) for mark in effect.scope],
        slots=list(effect.slots),
        expected=len(items) if items is not None else len(effect.slots),
        next_index=effect.entered,
        concurrency=effect.concurrency,
    )
    join.save(using=transition.using, force_insert=True)
    transition.joins[join.activation] = join
    if items is not None and effect.entered < len(items):
        # Those that fit into the first window are in the steps already; only those still to come are kept.
        pages.store(join, items, start=effect.entered, using=transition.using)
        # Items that pass without a step give back no place by which the next one would be entered.
        transition.freed[join.activation] = join


def _fill(transition: Transition, effect: Fill) -> Iterable[Effect | Ask]:
    graph = _known_graph(transition)
    node = graph.nodes[effect.node]
    join = _find_join(transition, node, effect)
    if join.slots and effect.slot not in join.slots:
        raise exceptions.JoinClosedError(
            f"a value for {effect.slot!r} arrived at {node.id}, which was opened to wait for {', '.join(join.slots)}; "
            "the flow was changed meanwhile: bring the branch back and retry the step"
        )
    slots = JoinSlot.objects.using(transition.using)
    if not slots.filter(join_id=join.pk, slot=effect.slot).update(value=effect.value):
        slots.bulk_create([JoinSlot(join_id=join.pk, slot=effect.slot, value=effect.value)])
        join.filled += 1
    join.is_dirty = True
    if join.filled < join.expected:
        return ()
    return _fire(transition, graph, node, join, effect.scope)


def _find_join(transition: Transition, node: Node, effect: Fill) -> Join:
    key = effect.activation if node.kind == "end" else f"{node.id}:{effect.activation}"
    join = transition.joins.get(key)
    if join is None and not transition.is_new:
        join = (
            Join.objects.using(transition.using)
            .filter(execution_id=transition.execution.pk, node=node.id, activation=effect.activation)
            .order_by("-generation")
            .first()
        )
    if join is None and node.kind in ("when", "collect"):
        join = Join(
            execution_id=transition.execution.id,
            node=node.id,
            activation=effect.activation,
            scope=[list(mark) for mark in effect.scope],
            slots=list(node.slots),
            expected=len(node.slots),
        )
        join.save(using=transition.using, force_insert=True)
    if join is None or join.status != JoinStatus.OPEN:
        raise exceptions.JoinClosedError(
            f"a value for {effect.slot!r} arrived at {node.id} after it had fired; a chunk that runs more than once "
            "in a fan-out "
            "has no place for its second value"
        )
    transition.joins[key] = join
    return join


def _fire(transition: Transition, graph: Graph, node: Node, join: Join, scope: Scope) -> Iterable[Effect | Ask]:
    """Give the joined value to the walk that follows, once per generation."""
    rows = JoinSlot.objects.using(transition.using).filter(join_id=join.pk)
    values = dict(rows.values_list("slot", "value"))
    result = _result(graph, node, join, values)
    jsongate.check(result, limits=transition.settings.fanout_limits, root=f"result of {node.id}")
    if node.kind == "end":
        join.status = JoinStatus.FIRED
        rows.delete()
        if not join.slots and join.expected:
            pages.drop(join, using=transition.using)
    else:
        join.generation += 1
        if node.mode != "filled_and_update":
            join.filled = 0
            rows.delete()
    source: Source = ("fired", node.id)
    signal = Signal(source, result, scope)
    return list(
        routing.walk(graph, signal, transition.tokens, evaluate=False, window=transition.settings.FOR_EACH_WINDOW)
    )


def _result(graph: Graph, node: Node, join: Join, values: dict[str, Any]) -> Any:
    if node.kind == "when":
        grouped: dict[str, dict[str, Any]] = {}
        for slot in join.slots:
            kind, _, name = slot.partition(":")
            grouped.setdefault(kind, {})[name] = values[slot]
        return grouped
    if node.kind == "collect":
        return {slot: values[slot] for slot in join.slots}
    if not join.slots:
        return [values[str(index)] for index in range(join.expected)]
    if graph.nodes[node.partner].kind == "match":
        return [values[slot] for slot in join.slots]
    return {slot: values[slot] for slot in join.slots}


def _known_graph(transition: Transition) -> Graph:
    graph = transition.graph
    assert graph is not None  # noqa: S101 - effects come from a walk over this graph
    return graph
