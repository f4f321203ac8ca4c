"""Limits: how many steps below a fan-out may be ready or running, and how many items of a for_each are entered at a
time.

A place is given when a step becomes ready and given back when it is done, paused, failed or cancelled, both under the
lock. So a limit holds across workers, and an approval that waits for weeks keeps nobody out.

Places are taken from the inside out, and a step that a limit further out holds back keeps those inside. So the items of
an inner loop do not pile up before an outer limit, and no circle of waiting can form: who has an outer place waits for
no inner one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from triggerflow_django.definition import routing
from triggerflow_django.definition.routing import Ask, Effect, Scope
from triggerflow_django.engine import pages
from triggerflow_django.engine.transition import Transition
from triggerflow_django.models import Execution, Join, JoinStatus, Step, StepKind, StepStatus

#: What a step is held by where the limit is that of the execution itself.
WHOLE: Final = "*"
#: What a step is marked with whose sub flow waits, so that its places are given back.
YIELDED: Final = "yielded"


class Whole:
    """The limit of an execution, ``create_execution(concurrency=)``, as one around all of its fan-outs."""

    activation = WHOLE
    #: It has no items to enter.
    status = JoinStatus.FIRED
    #: The transition looks itself whether the execution has changed.
    is_dirty = False
    opener = ""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution

    @property
    def concurrency(self) -> int | None:
        """How many steps may be ready or running at once."""
        return self._execution.concurrency

    @property
    def places(self) -> int:
        """How many are."""
        return self._execution.places

    @places.setter
    def places(self, places: int) -> None:
        self._execution.places = places


def _around(transition: Transition, scope: Sequence[Sequence[str]]) -> list[Join | Whole]:
    """The limits and windows around a scope that matter, outermost first."""
    joins = [join for join in joins_of(transition, scope) if _counts(join)] if scope else []
    if transition.execution.concurrency is None:
        return [*joins]
    return [Whole(transition.execution), *joins]


def joins_of(transition: Transition, scope: Sequence[Sequence[str]]) -> list[Join]:
    """The fan-outs around a scope, outermost first; one query for those not seen yet in this transition.

    Also those that have fired: what still runs below them keeps to their limit.
    """
    wanted = [mark[1] for mark in scope]
    unseen = [activation for activation in wanted if activation not in transition.joins]
    if unseen and not transition.is_new:
        found = Join.objects.using(transition.using).filter(execution_id=transition.execution.pk, activation__in=unseen)
        for join in found:
            transition.joins[join.activation] = join
    return [transition.joins[activation] for activation in wanted if activation in transition.joins]


def _counts(join: Join) -> bool:
    """Whether this join's places matter: it has a limit, or items are left to enter."""
    return join.concurrency is not None or _has_items_left(join)


def _has_items_left(join: Join) -> bool:
    return not join.slots and join.next_index < join.expected


def admit(transition: Transition, step: Step) -> None:
    """Give a step its places, or hold it back where one of the limits around it is reached."""
    around = _around(transition, step.scope)[::-1]
    if step.status == StepStatus.HELD:  # it has the places inside of the one it waited for
        waited_for = [join.activation for join in around].index(step.held_by)
        around = around[waited_for:]
    for join in around:
        if join.concurrency is not None and join.places >= join.concurrency:
            step.status = StepStatus.HELD
            step.held_by = join.activation
            return
        join.places += 1
        join.is_dirty = True
    step.status = StepStatus.READY
    step.held_by = ""


def release(
    transition: Transition, scope: Sequence[Sequence[str]], *, limits: bool = True, windows: bool = True
) -> None:
    """Give back the places of a step that is no longer ready or running.

    One that waits for a sub flow keeps those of ``limits`` of fan-outs, which count how many children run at a time,
    until nothing of the child runs; it gives back the rest (``windows``: of loops without a limit, and of the
    execution) at once.
    """
    openers = {mark[1]: mark[0] for mark in scope}
    for join in _around(transition, scope):
        if limits if isinstance(join, Join) and join.concurrency is not None else windows:
            join.places = max(0, join.places - 1)
            join.opener = openers.get(join.activation, "")
            join.is_dirty = True
            transition.freed[join.activation] = join


def refill(transition: Transition) -> list[Effect | Ask]:
    """Use freed places, the innermost first: for steps that were held back, then for the next item of a for_each.

    Returns the effects of entering one item; call again once they are applied. Empty: nothing is left to do.
    """
    while transition.freed:
        activation, join = next(reversed(transition.freed.items()))
        if join.concurrency is not None:
            _promote(transition, join)
        while (effects := _enter_item(transition, join)) is not None:
            if effects:
                return effects
        transition.freed.pop(activation, None)
    return []


def _promote(transition: Transition, join: Join | Whole) -> None:
    room = (join.concurrency or 0) - join.places
    if room <= 0:
        return
    held: list[Step] = []
    if not transition.is_new:
        held = list(
            Step.objects.using(transition.using)
            .filter(execution_id=transition.execution.pk, status=StepStatus.HELD, held_by=join.activation)
            .only("pk", "scope", "status", "held_by", "queue")
            .order_by("pk")[:room]
        )
    for step in held:
        admit(transition, step)
        values: dict[str, Any] = {"status": step.status, "held_by": step.held_by}
        if step.status == StepStatus.READY:
            values["available_at"] = transition.now
            transition.woken[step.queue] += 1
        Step.objects.using(transition.using).filter(pk=step.pk, status=StepStatus.HELD).update(**values)
    fresh = [
        step for step in transition.new_steps if step.status == StepStatus.HELD and step.held_by == join.activation
    ]
    for step in fresh[: room - len(held)]:
        admit(transition, step)


def _enter_item(transition: Transition, join: Join | Whole) -> list[Effect | Ask] | None:
    """Enter the next item of a for_each; ``None`` where there is no place or none is left.

    Where this process does not know the loop as it runs, the item is left to a worker as one step.
    """
    if isinstance(join, Whole) or join.status != JoinStatus.OPEN or not _has_items_left(join):
        return None
    if join.places >= (join.concurrency or transition.settings.FOR_EACH_WINDOW):
        return None
    index = join.next_index
    join.next_index += 1
    join.is_dirty = True
    scope: Scope = tuple((mark[0], mark[1], mark[2]) for mark in join.scope)
    item = pages.item(transition, join, index)
    graph, window = transition.graph, transition.settings.FOR_EACH_WINDOW
    if graph is None or join.node not in graph.nodes:
        inner = (*scope, (join.opener, join.activation, str(index)))
        source = ("item", join.opener)
        admit(
            transition,
            transition.add_step(kind=StepKind.ROUTE, node="", source=source, value=item, scope=inner, cause=None),
        )
        return []
    opener = graph.nodes[join.node].partner
    signal = routing.Signal(("item", opener), item, scope)
    return list(routing.enter_item(graph, opener, index, signal, join.activation, transition.tokens, window=window))
