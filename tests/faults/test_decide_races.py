"""One interrupt, several who want to resolve it at the same moment: one wins, the others hear so."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections

from tests.engine import driving
from tests.faults.flows import GATES
from tests.faults.processes import Crew
from tests.faults.programs import decide_all
from tests.faults.soundness import sound
from triggerflow_django.engine import deadlines, lifecycle
from triggerflow_django.engine.decide import decide
from triggerflow_django.exceptions import ExecutionNotOpenError, InterruptNotWaitingError
from triggerflow_django.models import Decision, Door, Event, EventKind, Interrupt, InterruptStatus, Step

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 200
WON = "won"


def at_once(pool: ThreadPoolExecutor, *acts: Callable[[], Any]) -> list[Any]:
    """Run the acts in threads that begin together. Their results; a refusal counts as the name of its error."""
    barrier = threading.Barrier(len(acts))

    def run(act: Callable[[], Any]) -> Any:
        barrier.wait(timeout=30)
        try:
            return act()
        except (InterruptNotWaitingError, ExecutionNotOpenError) as error:
            return type(error).__name__

    return list(pool.map(run, acts))


def waiting_gates(count: int) -> uuid.UUID:
    """An execution with that many interrupts waiting, called ``gate0`` and so on."""
    pk = driving.settled(GATES, list(range(count)))
    assert driving.row(pk).pending_interrupts == count
    return pk


def every_gate_was_decided_once(pk: uuid.UUID, count: int, winners: list[str]) -> None:
    """Each winner's answer, and no other, is what the flow goes on with."""
    execution = sound(pk)
    assert execution.pending_interrupts == 0
    assert Decision.objects.filter(execution_id=pk).count() == count
    decided = Event.objects.filter(execution_id=pk, kind=EventKind.INTERRUPT_DECIDED)
    assert sorted(decided.values_list("name", flat=True)) == sorted(f"gate{number}" for number in range(count))
    driving.drain(pk, GATES)
    assert driving.state(pk) == {"kept": [winners]}
    sound(pk)


def test_of_two_threads_that_decide_one_interrupt_one_wins_each_time() -> None:
    root = User.objects.create_superuser("root")
    pk = waiting_gates(ROUNDS)
    winners: list[str] = []
    with ThreadPoolExecutor(2) as pool:
        for number in range(ROUNDS):
            gate = f"gate{number}"

            def by_code(gate: str = gate) -> str:
                decide(pk, gate, "code", door=Door.CODE, using="default", graph=GATES.graph)
                return WON

            def by_a_user(gate: str = gate) -> str:
                decide(pk, gate, "user", door=Door.ADMIN, using="default", actor=root, graph=GATES.graph)
                return WON

            results = at_once(pool, by_code, by_a_user)
            assert sorted(results) == [InterruptNotWaitingError.__name__, WON]
            winners.append("code" if results[0] == WON else "user")
        close_connections(pool, 2)
    every_gate_was_decided_once(pk, ROUNDS, winners)


def test_of_two_processes_that_decide_one_interrupt_one_wins_each_time(crew: Crew) -> None:
    pk = waiting_gates(ROUNDS)
    children = [crew.start(decide_all, pk.hex, ROUNDS, who) for who in ("first", "second")]
    winners: list[str] = []
    for _ in range(ROUNDS):
        for child in children:
            child.expect("ready")
        for child in children:
            child.tell("go on")
        results = [child.expect("answered") for child in children]
        assert sorted(results) == [InterruptNotWaitingError.__name__, WON]
        winners.append("first" if results[0] == WON else "second")
    every_gate_was_decided_once(pk, ROUNDS, winners)


def test_of_an_answer_a_close_a_cancel_and_a_deadline_one_resolves_the_interrupt(
    travel: Callable[[float], None],
) -> None:
    outcomes: Counter[str] = Counter()
    with ThreadPoolExecutor(4) as pool:
        for number in range(60):
            outcomes[_one_four_way_race(pool, travel, first=number % 4)] += 1
        close_connections(pool, 4)
    assert sum(outcomes.values()) == 60
    assert len(outcomes) > 1, "the same one wins every time: nothing was raced for"


def _one_four_way_race(pool: ThreadPoolExecutor, travel: Callable[[float], None], *, first: int) -> str:
    pk = waiting_gates(1)
    interrupt = Interrupt.objects.get(execution_id=pk)
    travel(3601)  # its deadline has passed

    def answer() -> str:
        decide(pk, "gate0", "answer", door=Door.CODE, using="default", graph=GATES.graph)
        return WON

    def close() -> bool:
        return lifecycle.request_close(pk, using="default", pending_interrupts="cancel")

    def cancel() -> bool:
        return lifecycle.cancel(pk, using="default")

    def deadline() -> bool:
        return deadlines.pass_deadline(interrupt.pk, pk, using="default")

    acts: list[Callable[[], Any]] = [answer, close, cancel, deadline]
    acts = acts[first:] + acts[:first]  # who is woken first has a little advantage
    results = dict(zip(acts, at_once(pool, *acts), strict=True))
    answered, passed = results[answer], results[deadline]
    interrupt.refresh_from_db()
    doors = list(Decision.objects.filter(execution_id=pk).values_list("door", flat=True))
    if interrupt.status == InterruptStatus.RESUMED:
        assert doors == [Door.CODE if answered == WON else Door.DEADLINE]
    else:
        assert (interrupt.status, doors) == (InterruptStatus.CANCELLED, [])
        assert answered in (InterruptNotWaitingError.__name__, ExecutionNotOpenError.__name__)
    assert answered == WON or not doors or passed

    # The cancel ended it at the latest, so what comes after the gate has not run and will not.
    execution = sound(pk)
    assert execution.is_closed
    assert driving.drain(pk, GATES) == []
    assert execution.snapshot == {}
    assert not Step.objects.filter(execution_id=pk, node="keep", status="done").exists()
    return f"{interrupt.status} by {doors}"


def close_connections(pool: ThreadPoolExecutor, threads: int) -> None:
    """Each of the pool's threads closes its own."""
    barrier = threading.Barrier(threads)

    def close() -> None:
        barrier.wait(timeout=30)
        connections.close_all()

    for done in [pool.submit(close) for _ in range(threads)]:
        done.result()
