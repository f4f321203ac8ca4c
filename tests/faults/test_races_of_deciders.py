"""Fifty processes answer one interrupt at the same moment, two hundred times: one wins, the others are told clearly.

Every second interrupt they answer alike and under one request id, as a client that retries too eagerly: then all of
them get the one stored answer.
"""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from typing import Any

import pytest

from tests.engine import driving
from tests.faults.crashpoints import IS_POSTGRES
from tests.faults.flows import GATES
from tests.faults.processes import Crew
from tests.faults.programs import decide_in_turn
from tests.faults.soundness import sound
from triggerflow_django.models import Decision, Event, EventKind

pytestmark = pytest.mark.django_db(transaction=True)

#: Writers queue up for SQLite's one lock, each of them asleep most of the time.
DECIDERS, GATES_COUNT = (50, 200) if IS_POSTGRES else (20, 80)
ALIKE, OWN, CONFLICT = "the same request", "each its own", "one request id, different answers"
REFUSALS = {
    OWN: ("InterruptNotWaitingError", r"interrupt '{gate}' was decided by {who} at \S+; nothing was changed"),
    CONFLICT: (
        "RequestIdConflictError",
        r"request id '{gate}' was used before for interrupt '{gate}', with another answer: "
        r"it was decided by {who} at \S+; nothing was changed",
    ),
}


def kind_of(number: int) -> str:
    return ALIKE if number % 2 == 0 else (OWN, CONFLICT)[number // 2 % 2]


def asked(number: int, who: str) -> tuple[str, str | None, Any]:
    """The gate, the request id and the answer of somebody."""
    gate, kind = f"gate{number}", kind_of(number)
    return gate, None if kind == OWN else gate, {"said": "the same" if kind == ALIKE else who}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_of_fifty_processes_one_decides_and_the_others_are_told_who_and_when(
    crew: Crew, capfd: pytest.CaptureFixture[str]
) -> None:
    pk = driving.settled(GATES, list(range(GATES_COUNT)))
    names = [f"decider {number}" for number in range(DECIDERS)]
    children = [
        crew.start(decide_in_turn, pk.hex, [asked(number, name) for number in range(GATES_COUNT)], name)
        for name in names
    ]
    told: Counter[str] = Counter()
    winners: Counter[str] = Counter()
    answers: list[Any] = []
    slowest = 0.0
    for child in children:
        child.expect("ready")
    began = time.monotonic()
    for number in range(GATES_COUNT):
        first = time.monotonic()
        for child in children:
            child.tell("go on")
        heard = [child.expect("answered") for child in children]
        slowest = max(slowest, time.monotonic() - first)
        for child in children if number + 1 < GATES_COUNT else []:
            child.expect("ready")
        gate, kind = f"gate{number}", kind_of(number)
        decision = Decision.objects.get(interrupt__interrupt_id=gate)
        answers.append(decision.payload)
        winners[decision.actor_label] += 1
        records = [answer for answer in heard if isinstance(answer, dict)]
        assert {record["resumed_by"] for record in records} == {decision.actor_label}
        assert all(record == records[0] for record in records)
        assert records[0]["resume_value"] == decision.payload
        if kind == ALIKE:
            assert len(records) == DECIDERS
            told["given the stored answer"] += DECIDERS - 1
            continue
        assert heard[names.index(decision.actor_label)] == records[0]
        assert len(records) == 1
        assert decision.payload == {"said": decision.actor_label}
        name, words = REFUSALS[kind]
        refused = [answer for answer in heard if not isinstance(answer, dict)]
        assert {error for error, _text in refused} == {name}
        for _error, text in refused:
            assert re.fullmatch(words.format(gate=gate, who=decision.actor_label), text), text
        told[name] += len(refused)
    seconds = time.monotonic() - began
    assert [child.expect("returned") for child in children] == [None] * DECIDERS

    assert sound(pk).pending_interrupts == 0
    assert Decision.objects.count() == GATES_COUNT
    decided = Event.objects.filter(execution_id=pk, kind=EventKind.INTERRUPT_DECIDED).values_list("name", flat=True)
    assert sorted(decided) == sorted(f"gate{number}" for number in range(GATES_COUNT))
    driving.drain(pk, GATES)
    assert driving.state(pk) == {"kept": [answers]}
    sound(pk)
    assert len(winners) > 1, "the same one wins every time: nothing was raced for"
    with capfd.disabled():
        sys.stderr.write(
            f"\ndeciders on {'postgresql' if IS_POSTGRES else 'sqlite'}: {DECIDERS} processes, "
            f"{GATES_COUNT} interrupts, {GATES_COUNT} decisions by {len(winners)} different winners; "
            f"others: {dict(told)}; slowest race {slowest:.2f} s, {seconds:.1f} s in all\n"
        )
