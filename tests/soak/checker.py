"""What must hold of every row at the end of a soak. Damage is collected by kind, so that a control can be held to its
own.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from django.contrib.auth.models import Group

from tests.faults.soundness import sound
from tests.soak import flows, records
from triggerflow_django.engine import clock
from triggerflow_django.models import (
    ACTIVE_STATUSES,
    Decision,
    Door,
    Execution,
    ExecutionStatus,
    Interrupt,
    Join,
    JoinStatus,
    Lifecycle,
    Step,
    StepStatus,
)

KINDS: Final = (
    "lost",
    "double effects",
    "missing effects",
    "double joins",
    "double decisions",
    "lost decisions",
    "wrong snapshots",
    "wrong steps",
    "unsound rows",
    "left behind",
)

Damage = dict[str, list[str]]


def check(executions: int, folder: Path) -> Damage:
    """Look at everything. Returns what is wrong, by kind."""
    damage: Damage = {kind: [] for kind in KINDS}
    rows = {int(row.input["number"]): row for row in Execution.objects.all()}
    _check_decisions(damage, folder)
    effects = _by_execution(_effects())
    steps = _by_execution(Step.objects.values_list("execution_id", "node", "status", "source"))
    joins = _by_execution(Join.objects.filter(status=JoinStatus.FIRED).values_list("execution_id", "node"))
    answers = _by_execution(
        Interrupt.objects.filter(decision__isnull=False).values_list(
            "execution_id", "interrupt_id", "decision__payload", "payload"
        )
    )
    for number in range(executions):
        row = rows.get(number)
        if row is None:
            damage["lost"].append(f"{number}: never started")
            continue
        name = f"{number} ({row.pk.hex})"
        ended = row.lifecycle == Lifecycle.CLOSED and row.status == ExecutionStatus.COMPLETED
        if not ended:
            damage["lost"].append(f"{name}: {row.lifecycle}, {row.status}, {row.active_steps} active")
        _check_effects(damage, name, Counter(label for (label,) in effects[row.pk]), ended)
        _check_joins(damage, name, steps[row.pk], joins[row.pk], ended)
        if ended:
            _check_end(damage, name, row, steps[row.pk], answers[row.pk])
        try:
            sound(row.pk)
        except AssertionError as error:
            damage["unsound rows"].append(f"{name}: {str(error)[:300] or 'its rows do not agree'}")
    damage["left behind"] += _left_behind()
    return damage


def _by_execution(rows: Iterable[tuple[Any, ...]]) -> defaultdict[Any, list[tuple[Any, ...]]]:
    found: defaultdict[Any, list[tuple[Any, ...]]] = defaultdict(list)
    for execution, *values in rows:
        found[execution].append(tuple(values))
    return found


def _effects() -> Iterable[tuple[Any, str]]:
    by_hex = {pk.hex: pk for pk in Execution.objects.values_list("pk", flat=True)}
    for name in Group.objects.values_list("name", flat=True):
        execution, label, _unique = name.split(" ")
        yield by_hex[execution], label


def _check_effects(damage: Damage, name: str, found: Counter[str], ended: bool) -> None:
    for label, times in (found - Counter(flows.ROWS)).items():
        damage["double effects"].append(f"{name}: {label}, {times} too many")
    if ended:
        damage["missing effects"] += [f"{name}: {label}" for label in Counter(flows.ROWS) - found]


def _check_joins(damage: Damage, name: str, steps: list[Any], joins: list[Any], ended: bool) -> None:
    """A join that fired twice has run what follows twice."""
    fired = Counter(node for (node,) in joins)
    followed = Counter(source.removeprefix("fired:") for _node, _status, source in steps if source.startswith("fired:"))
    for node, times in followed.items():
        if times > fired[node]:
            damage["double joins"].append(f"{name}: {node} fired {fired[node]} times, {times} steps follow")
    if ended and fired.total() != flows.JOINS:
        damage["wrong steps"].append(f"{name}: {fired.total()} joins fired")


def _check_end(damage: Damage, name: str, row: Execution, steps: list[Any], answers: list[Any]) -> None:
    found = Counter(node for node, _status, _source in steps)
    if found != Counter(flows.STEPS) or any(status != StepStatus.DONE for _node, status, _source in steps):
        damage["wrong steps"].append(f"{name}: {dict(found)}")
    given = {interrupt: payload for interrupt, payload, _asked in answers}
    expected = {**given, "flaky": flows.GATES}
    if set(given) != {*flows.GATES, flows.LATE} or row.snapshot != expected:
        damage["wrong snapshots"].append(f"{name}: {row.snapshot} instead of {expected}")
    for interrupt, _payload, asked in answers:
        if asked != (flows.GATES if interrupt == flows.LATE else {"parts": list(range(flows.PARTS))}):
            damage["wrong snapshots"].append(f"{name}: {interrupt} asked {asked}")


def _check_decisions(damage: Damage, folder: Path) -> None:
    """Each interrupt one decision, and it is the one that somebody was told had won."""
    rows = {row.pk.hex: row for row in Interrupt.objects.select_related("decision")}
    for decision in Decision.objects.filter(interrupt__isnull=True):
        damage["double decisions"].append(f"decision {decision.pk.hex} by {decision.actor_label} is of no interrupt")
    winners: defaultdict[str, set[str]] = defaultdict(set)
    for outcome, interrupt, request, payload in records.read(folder, records.ANSWERS):
        if not outcome.startswith("won"):
            continue
        winners[interrupt].add(request)
        decision = rows[interrupt].decision
        if decision is None or (decision.request_id, decision.payload) != (request, payload):
            damage["lost decisions"].append(f"interrupt {interrupt}: {request} was told that it won")
        if outcome not in ("won", "won, replayed"):
            damage["double decisions"].append(f"interrupt {interrupt}: {outcome}")
    for interrupt, requests in winners.items():
        if len(requests) > 1:
            damage["double decisions"].append(f"interrupt {interrupt}: {sorted(requests)} were told that they won")
    for interrupt, row in rows.items():
        if row.decision is None:
            continue
        by_rule = row.decision.door == Door.DEADLINE
        if by_rule != (row.decision.payload == flows.BY_DEFAULT) or (by_rule and row.interrupt_id != flows.LATE):
            damage["double decisions"].append(f"interrupt {interrupt}: {row.decision.door} said {row.decision.payload}")


def _left_behind() -> list[str]:
    """The queries of an alarm: steps without a live lease, due steps nobody runs, executions nobody carries on."""
    now = clock.expression()
    found = {
        "running without a live lease": Step.objects.filter(status=StepStatus.RUNNING, lease_expires_at__lte=now),
        "ready and due": Step.objects.filter(status=StepStatus.READY, available_at__lte=now),
        "active in a closed execution": Step.objects.filter(
            status__in=ACTIVE_STATUSES, execution__lifecycle=Lifecycle.CLOSED
        ),
        "open with nothing to wait for": Execution.objects.exclude(lifecycle=Lifecycle.CLOSED).filter(
            active_steps=0, pending_interrupts=0
        ),
    }
    return [f"{count} {what}" for what, rows in found.items() if (count := rows.count())]
