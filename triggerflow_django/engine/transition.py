"""One verb's work on one execution: lock the row, collect what changes, write it once.

``begin`` locks; the verb calls the methods below and those of ``effects`` and ``resolve``; leaving the block writes the
new steps, events and the execution's counters, status and due times, and queues Django signals for after the commit.
Anything raised inside leaves nothing.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from django.db import transaction
from django.dispatch import Signal as DjangoSignal

from triggerflow_django import conf, exceptions, jsongate, signals, wakeups
from triggerflow_django.definition.graph import Graph, Source
from triggerflow_django.definition.routing import Scope, activations
from triggerflow_django.engine import closing, family, graphs, rows, selects, status
from triggerflow_django.engine.actor import NOBODY, Actor
from triggerflow_django.models import (
    Event,
    EventKind,
    Execution,
    ExecutionStatus,
    Join,
    Lifecycle,
    Runner,
    State,
    Step,
    StepKind,
    StepStatus,
)
from triggerflow_django.runtime import state as state_ops

_TRACKED: Final = (
    "flow_fingerprint", "runner", "lifecycle", "status", "input", "snapshot", "auto_close_timeout", "auto_close_at",
    "cancels_sub_flows", "closing", "close_reason", "close_policy", "close_by", "active_steps", "pending_interrupts",
    "failed_steps", "places", "intervention_version", "pending_interventions", "event_sequence", "started_by_id",
    "started_by_label", "state_revision", "started_at", "sealed_at", "closed_at",
)  # fmt: skip


def path_digest(text: str) -> str:
    """A step's place in the causal order, as 24 hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]


@dataclass(slots=True)
class Carrier:
    """A drain that will go on with what a commit leaves: its token goes in, the steps leased to it come out."""

    token: uuid.UUID = field(default_factory=uuid.uuid4)
    steps: list[Step] = field(default_factory=list)


class Transition:
    """A locked execution and what is about to change about it."""

    def __init__(
        self, execution: Execution, *, now: dt.datetime, using: str, graph: Graph | None, is_new: bool = False
    ) -> None:
        self.execution = execution
        self.now = now
        self.using = using
        #: The graph to route with; ``None``: this process does not know the flow as it runs, so whole signals are
        #: deferred.
        self.graph = graph
        self.is_new = is_new
        self.settings = conf.get_settings()
        self.new_steps: list[Step] = []
        self.joins: dict[str, Join] = {}
        #: Limits and windows that have got room: joins, or the execution's own (``places.Whole``).
        self.freed: dict[str, Any] = {}
        #: Stretches of a for_each's items that were looked at, by join and number (see ``pages``).
        self.pages: dict[tuple[int, int], list[Any]] = {}
        #: Steps of earlier transitions that became ready in this one, by queue.
        self.woken: Counter[str] = Counter()
        self.base = f"{execution.id}:{execution.event_sequence}"
        self._tokens: Iterator[str] | None = None
        #: The state as this transition has written it.
        self._state: dict[str, Any] | None = None
        self._events: list[Event] = []
        self._signals: list[tuple[DjangoSignal, dict[str, Any]]] = []
        self._before = {} if is_new else {name: execution.__dict__.get(name) for name in _TRACKED}

    # -- causes

    @property
    def tokens(self) -> Iterator[str]:
        """Fresh activation tokens, from the causal path of this transition."""
        if self._tokens is None:
            self._tokens = activations(self.base)
        return self._tokens

    def caused_by(self, path: str, tokens: Iterator[str] | None = None) -> None:
        """Derive paths and activations from a step's path rather than from the execution's history."""
        self.base = path
        self._tokens = tokens

    # -- steps

    def add_step(
        self,
        *,
        kind: StepKind,
        node: str,
        source: Source,
        value: Any,
        scope: Scope,
        cause: Step | None,
        queue: str | None = None,
        resume_count: int = 0,
        resumed_from_id: uuid.UUID | None = None,
    ) -> Step:
        """Collect a ready step. It counts as active at once; limits may hold it back (see ``places``)."""
        step = Step(
            execution_id=self.execution.id,
            kind=kind,
            node=node,
            source=f"{source[0]}:{source[1]}",
            input=value,
            scope=[list(mark) for mark in scope],
            path=path_digest(f"{self.base}/{len(self.new_steps)}:{node or source}"),
            status=StepStatus.READY,
            available_at=self.now,
            queue=self.queue_of(node) if queue is None else queue,
            cause_id=cause.pk if cause is not None else None,
            resume_count=resume_count,
            resumed_from_id=resumed_from_id,
            created_at=self.now,
        )
        self.new_steps.append(step)
        self.execution.active_steps += 1
        return step

    def queue_of(self, node: str) -> str:
        """The queue of a node's chunk; empty where the execution runs inline."""
        if self.execution.runner == Runner.INLINE:
            return ""
        chunk = self.graph.chunk(node) if self.graph is not None else None
        return (chunk.options.queue if chunk is not None else None) or self.settings.DEFAULT_QUEUE

    def carry(self, carrier: Carrier | None, *, queue: str = "") -> None:
        """Lease the only step that became ready to the drain that will go on with it, so that nobody needs to claim it.

        Called last. Of several ready steps none is carried: they are claimed together.
        """
        if carrier is None:
            return
        carrier.steps = []
        fresh = [step for step in self.new_steps if step.status == StepStatus.READY]
        if len(fresh) != 1 or self.woken or self.graph is None or fresh[0].queue != queue:
            return
        step = fresh[0]
        if step.kind == StepKind.CHUNK and self.graph.chunk(step.node) is None:
            return
        step.status = StepStatus.RUNNING
        step.attempt = 1
        step.lease_token = carrier.token
        step.lease_expires_at = self.now + dt.timedelta(seconds=self.settings.LEASE_SECONDS)
        step.started_at = self.now
        step.first_claim_sequence = self.execution.event_sequence
        carrier.steps = [step]

    # -- state

    def read_state(self) -> dict[str, Any]:
        """The state, under the lock."""
        if self._state is not None:
            return self._state
        if self.is_new or not self.execution.state_revision:
            return {}
        data: dict[str, Any] = (
            State.objects.using(self.using).values_list("data", flat=True).get(execution_id=self.execution.pk)
        )
        return data

    def write_state(self, changes: Sequence[state_ops.StateChange]) -> None:
        """Apply operations to the committed state, so that parallel branches compose.

        Raises: JsonValueError where the composed state is larger than allowed.
        """
        if not changes:
            return
        data = state_ops.apply_all(self.read_state(), changes)
        jsongate.check(data, limits=self.settings.value_limits, root="state")
        self._state = data
        self.execution.state_revision += 1
        revision = self.execution.state_revision
        if revision == 1:
            rows.insert([State(execution_id=self.execution.pk, data=data, revision=revision)], using=self.using)
        else:
            values = {"data": data, "revision": revision}
            rows.update(State, using=self.using, where={"execution_id": self.execution.pk}, values=values)

    # -- history and observers

    def add_event(
        self, kind: EventKind, *, name: str = "", actor: Actor = NOBODY, data: dict[str, Any] | None = None
    ) -> Event:
        """Collect one line of history; its sequence number is taken now."""
        self.execution.event_sequence += 1
        event = Event(
            execution_id=self.execution.id,
            sequence=self.execution.event_sequence,
            kind=kind,
            name=name[:200],
            actor_id=actor.id,
            actor_label=actor.label,
            data=data or {},
            created_at=self.now,
        )
        self._events.append(event)
        return event

    def notify(self, signal: DjangoSignal, **arguments: Any) -> None:
        """Collect a Django signal to be sent after the commit."""
        self._signals.append((signal, arguments))

    # -- lifecycle guards

    def require_open(self, doing: str) -> None:
        """Refuse what comes from outside where the execution is sealed or closed.

        Raises: ExecutionNotOpenError, saying which.
        """
        execution = self.execution
        if execution.lifecycle == Lifecycle.OPEN:
            family.require_open_above(execution, doing, using=self.using)
            return
        state = "closing" if execution.closing else str(execution.lifecycle)
        raise exceptions.ExecutionNotOpenError(
            f"execution {execution.id.hex} of flow {execution.flow_name!r} is {state} ({execution.status}): {doing} "
            "refused"
        )

    # -- writing

    def save(self) -> None:
        """Write what was collected. Called once, at the end of the transaction."""
        execution = self.execution
        closing.settle(self)
        execution.status = status.derive(execution)
        self._schedule_auto_close()
        if self.is_new:
            rows.insert([execution], using=self.using)
        for join in self.joins.values():
            if join.is_dirty:
                fields = ["generation", "filled", "next_index", "places", "status"]
                join.save(using=self.using, update_fields=fields)
        rows.insert(self.new_steps, using=self.using)
        rows.insert(self._events, using=self.using)
        if not self.is_new:
            self._update_execution()
        self._ring()
        if execution.cancels_sub_flows and not self._before.get("cancels_sub_flows"):
            self._cancel_below()
        if execution.root_id is not None and execution.status == ExecutionStatus.WAITING:
            self._yield_places()
        for signal, arguments in self._signals:
            signals.send_after_commit(
                signal,
                sender=Execution,
                using=self.using,
                execution_id=execution.id.hex,
                flow_name=execution.flow_name,
                **arguments,
            )

    def _ring(self) -> None:
        """Ring for the steps that became ready and that no drain carries on with."""
        if self.execution.runner != Runner.RQ:
            return
        ready = self.woken + Counter(step.queue for step in self.new_steps if step.status == StepStatus.READY)
        if ready:
            wakeups.ring_after_commit(ready, using=self.using)

    def _cancel_below(self) -> None:
        """Once this is committed, cancel the sub flows it cut off; where that does not happen, the sweep does it."""
        from triggerflow_django.engine import sub_flow  # noqa: PLC0415 - a transition of each of them

        pk, using = self.execution.pk, self.using

        def cancel() -> None:
            sub_flow.cancel_below(pk, using=using)

        transaction.on_commit(cancel, using=using, robust=True)

    def _yield_places(self) -> None:
        """Once this is committed: a sub flow that only waits takes no place of its parent's."""
        from triggerflow_django.engine import sub_flow  # noqa: PLC0415 - transitions of those above

        pk, using = self.execution.pk, self.using

        def give_back() -> None:
            sub_flow.yield_places(pk, using=using)

        transaction.on_commit(give_back, using=using, robust=True)

    def _update_execution(self) -> None:
        execution = self.execution
        changed = self._changed()
        if not changed:
            return
        execution.revision += 1
        changed["revision"] = execution.revision
        rows.update(Execution, using=self.using, where={"id": execution.pk}, values=changed)

    def _changed(self) -> dict[str, Any]:
        now = self.execution.__dict__
        return {name: now[name] for name in _TRACKED if name in now and now[name] != self._before.get(name)}

    def _schedule_auto_close(self) -> None:
        """Start the clock of an execution that has become idle; a verb that changed nothing does not restart it."""
        execution = self.execution
        idle = execution.is_idle and execution.lifecycle == Lifecycle.OPEN and execution.started_at is not None
        if not (idle and execution.auto_close and execution.auto_close_timeout is not None):
            execution.auto_close_at = None
        elif self.is_new or execution.auto_close_at is None or self._changed():
            execution.auto_close_at = self.now + dt.timedelta(seconds=execution.auto_close_timeout)


def lock(execution_id: uuid.UUID, using: str) -> tuple[Execution, dt.datetime]:
    """The execution's row, locked until the transaction ends, and the database's now as of the lock.

    Raises: UnknownExecutionError.
    """
    row = selects.LOCKED_EXECUTION.first(using, pk=execution_id)
    if row is None:
        raise exceptions.UnknownExecutionError(f"there is no execution {execution_id.hex}")
    return row, row.db_now  # type: ignore[attr-defined]  # an annotation


@contextmanager
def begin(
    execution_id: uuid.UUID, *, using: str, graph: Graph | None = None, defer: bool = False, exact: bool = False
) -> Iterator[Transition]:
    """Lock an execution for one verb and write what the verb collected.

    Routes with ``graph`` or the registered one where its shape is the execution's (``graphs.usable``); with ``exact``
    with the given one, as a worker that runs the step does; with ``defer`` with none.

    Raises: UnknownExecutionError.
    """
    with transaction.atomic(using=using):
        execution, now = lock(execution_id, using)
        chosen = graph if exact else None if defer else graphs.usable(execution, graph, using)
        transition = Transition(execution, now=now, using=using, graph=chosen)
        yield transition
        transition.save()


T = TypeVar("T")


def routed(verb: Callable[[bool], T]) -> T:
    """Run a verb that routes; where a value finds no open join, run it again with routing left to a worker.

    The worker's step then fails by name. The person who decided is not told off for a mistake in the flow. The verb
    takes ``defer``.
    """
    try:
        return verb(False)
    except exceptions.JoinClosedError:
        return verb(True)
