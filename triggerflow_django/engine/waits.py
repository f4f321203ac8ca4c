"""What an execution waits for: one ``Wait`` for each thing that would move it on. Reads rows, changes nothing.

For whoever asks why it does not go on: the commands, and every page that shows an execution.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from django.db.models import Count, QuerySet

from triggerflow_django import conf
from triggerflow_django.approvals import policy
from triggerflow_django.definition.graph import START, Graph
from triggerflow_django.engine import missing, places
from triggerflow_django.models import (
    ACTIVE_STATUSES,
    Execution,
    Interrupt,
    InterruptStatus,
    Join,
    JoinSlot,
    JoinStatus,
    Lifecycle,
    Runner,
    Step,
    StepStatus,
)

#: What may be told about a step besides where it stands; the rest may be megabytes.
_STEP_FIELDS: Final = (
    "kind", "node", "source", "status", "attempt", "queue", "error", "available_at", "missing_since",
    "lease_expires_at", "held_by", "created_at", "started_at", "finished_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """One thing an execution waits for."""

    #: start, decision, retry, process (it runs), worker, holder, time, code, limit, sub_flow, values, unseal, close,
    #: auto_close, event.
    kind: str
    since: dt.datetime | None = None
    #: When something happens by itself: a deadline, a lease that ends, a retry that is due, ...
    until: dt.datetime | None = None
    #: The step it is about, and its node of the flow, or the signal it is to route.
    step: int | None = None
    node: str = ""
    #: Particulars by kind; JSON but for datetimes.
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where an execution stands, and why."""

    waits: list[Wait]
    #: Its live and failed steps by status.
    steps: dict[str, int]
    #: Steps and interrupts that are not among the waits, because there were more than asked for.
    left_off: int


def standing(
    execution: Execution,
    *,
    using: str,
    now: dt.datetime,
    graph: Graph | None,
    most: int = 20,
    workers_of: Callable[[str], int | None] = lambda _queue: None,
) -> Standing:
    """Where an execution stands. A closed one waits for nothing; its failed steps are told all the same.

    ``graph``: its flow as this process knows it. ``most``: of each kind of row. ``workers_of``: how many workers listen
    to a queue, ``None`` where that is not known.
    """
    live = [StepStatus.FAILED] if execution.is_closed else [StepStatus.FAILED, *ACTIVE_STATUSES]
    rows = Step.objects.using(using).filter(execution_id=execution.pk, status__in=live)
    counts = Counter(dict(rows.values_list("status").annotate(Count("pk")).order_by("status")))
    found = [step for status in live for step in _steps(rows.filter(status=status), most)]
    asked = [] if execution.is_closed else _interrupts(execution, using, most)
    teller = _Teller(execution, using=using, now=now, graph=graph, workers_of=workers_of)
    waits = [*(_decision(interrupt, graph) for interrupt in asked), *teller.steps(found)]
    if not execution.is_closed:
        waits += [*_values(execution, using, most), *_lifecycle(execution, graph)]
    left_off = counts.total() - len(found)
    left_off += 0 if execution.is_closed else max(0, execution.pending_interrupts - len(asked))
    return Standing(waits=waits, steps=dict(counts), left_off=left_off)


def _steps(rows: QuerySet[Step], most: int) -> Iterable[Step]:
    return rows.only(*_STEP_FIELDS).order_by("pk")[:most]


def _interrupts(execution: Execution, using: str, most: int) -> list[Interrupt]:
    if not execution.pending_interrupts:
        return []
    rows = Interrupt.objects.using(using).filter(execution_id=execution.pk, status=InterruptStatus.WAITING)
    return list(rows.select_related("step").defer("step__input", "step__output").order_by("pk")[:most])


def _decision(interrupt: Interrupt, graph: Graph | None) -> Wait:
    facts = {
        "interrupt": interrupt.interrupt_id,
        "round": interrupt.round,
        "type": interrupt.type,
        "payload": interrupt.payload,
        "response_schema": interrupt.response_schema,
        "event": interrupt.resume_event or None,
        "may_decide": policy.who_may(interrupt.approvers, exclude_starter=interrupt.exclude_starter),
        "on_due": (interrupt.on_due or {"do": "overdue"})["do"] if interrupt.due_at else None,
        "overdue_at": interrupt.overdue_at,
        "known_here": missing.is_known(interrupt.step, graph),
    }
    return Wait(
        kind="decision",
        since=interrupt.created_at,
        until=interrupt.due_at,
        step=interrupt.step_id,
        node=interrupt.step.node,
        facts=facts,
    )


class _Teller:
    """Tells what steps wait for."""

    def __init__(
        self,
        execution: Execution,
        *,
        using: str,
        now: dt.datetime,
        graph: Graph | None,
        workers_of: Callable[[str], int | None],
    ) -> None:
        self.execution = execution
        self.using = using
        self.now = now
        self.graph = graph
        self.workers_of = workers_of
        self.children: dict[int | None, Execution] = {}

    def steps(self, found: list[Step]) -> Iterator[Wait]:
        """A wait for each step."""
        limits = self._limits({step.held_by for step in found if step.status == StepStatus.HELD})
        workers = {queue: self.workers_of(queue) for queue in {step.queue for step in found} if queue}
        self.children = self._children([step.pk for step in found if step.status == StepStatus.DELEGATED])
        for step in found:
            kind, since, until, facts = self._told(step, limits, workers)
            facts = {**facts, "known_here": missing.is_known(step, self.graph)}
            node = missing.standing_on(step) or step.source  # a signal from outside, which stands on no node
            yield Wait(kind=kind, since=since, until=until, step=step.pk, node=node, facts=facts)

    def _told(
        self, step: Step, limits: dict[str, Join], workers: dict[str, int | None]
    ) -> tuple[str, dt.datetime | None, dt.datetime | None, dict[str, Any]]:
        facts: dict[str, Any]
        match step.status:
            case StepStatus.FAILED:
                return "retry", step.finished_at, None, {"attempt": step.attempt, "error": _error(step)}
            case StepStatus.RUNNING:
                expired = step.lease_expires_at is not None and step.lease_expires_at <= self.now
                facts = {"attempt": step.attempt, "expired": expired}
                return "process", step.started_at, step.lease_expires_at, facts
            case StepStatus.HELD:
                join = limits.get(step.held_by)
                facts = {"by": None}
                if join is not None:
                    facts = {"by": join.node, "places": join.places, "limit": join.concurrency}
                elif step.held_by == places.WHOLE:
                    whole = self.execution
                    facts = {"by": "the execution", "places": whole.places, "limit": whole.concurrency}
                return "limit", step.created_at, None, facts
            case StepStatus.READY:
                return self._ready(step, workers)
        child = self.children.get(step.pk)
        if child is None:
            return "sub_flow", step.created_at, None, {}
        facts = {"execution": child.id.hex, "flow": child.flow_name, "status": str(child.status)}
        return "sub_flow", child.created_at, None, facts

    def _ready(
        self, step: Step, workers: dict[str, int | None]
    ) -> tuple[str, dt.datetime | None, dt.datetime | None, dict[str, Any]]:
        if step.missing_since is not None:
            grace = dt.timedelta(seconds=conf.get_settings().MISSING_CHUNK_GRACE)
            return "code", step.missing_since, step.missing_since + grace, {}
        if step.available_at > self.now:
            facts = {"attempt": step.attempt, "error": _error(step)}
            return "time", step.created_at, step.available_at, facts
        if self.execution.runner == Runner.RQ:
            return "worker", step.available_at, None, {"queue": step.queue, "workers": workers.get(step.queue)}
        return "holder", step.available_at, None, {}

    def _children(self, steps: list[int]) -> dict[int | None, Execution]:
        """The newest child of each of these steps."""
        if not steps:
            return {}
        rows = Execution.objects.using(self.using).filter(parent_step_id__in=steps).order_by("created_at", "pk")
        return {row.parent_step_id: row for row in rows.only("flow_name", "status", "created_at", "parent_step_id")}

    def _limits(self, activations: set[str]) -> dict[str, Join]:
        if not activations:
            return {}
        joins = Join.objects.using(self.using).filter(execution_id=self.execution.pk, activation__in=activations)
        return {join.activation: join for join in joins.only("activation", "node", "places", "concurrency")}


def _error(step: Step) -> dict[str, str] | None:
    return step.error and {"type": step.error.get("type", ""), "message": step.error.get("message", "")}


def _values(execution: Execution, using: str, most: int) -> Iterator[Wait]:
    """Joins that have some of their values: what came first waits for the rest."""
    joins = list(
        Join.objects.using(using)
        .filter(execution_id=execution.pk, status=JoinStatus.OPEN, filled__gt=0)
        .only("node", "slots", "expected", "filled")
        .order_by("pk")[:most]
    )
    filled: dict[int, set[str]] = {join.pk: set() for join in joins}
    for join_id, slot in JoinSlot.objects.using(using).filter(join_id__in=filled).values_list("join_id", "slot"):
        filled[join_id].add(slot)
    for join in joins:
        if join.filled < join.expected:
            lacking = [slot for slot in join.slots if slot not in filled[join.pk]]
            facts = {"filled": join.filled, "expected": join.expected, "missing": lacking[:most]}
            yield Wait(kind="values", node=join.node, facts=facts)


def _lifecycle(execution: Execution, graph: Graph | None) -> Iterator[Wait]:
    if execution.started_at is None:
        yield Wait(kind="start", since=execution.created_at)
    if execution.closing:
        facts = {"reason": execution.close_reason, "pending_interrupts": execution.close_policy}
        yield Wait(kind="close", since=execution.sealed_at, until=execution.close_by, facts=facts)
    elif execution.lifecycle == Lifecycle.SEALED:
        yield Wait(kind="unseal", since=execution.sealed_at)
    elif execution.is_idle:
        if execution.auto_close_at is not None:
            yield Wait(kind="auto_close", until=execution.auto_close_at)
        yield Wait(kind="event", facts={"events": _events(graph)})


def _events(graph: Graph | None) -> list[str]:
    """The events that chunks of the flow listen to."""
    return sorted(name for kind, name in graph.edges if kind == "event" and (kind, name) != START) if graph else []
