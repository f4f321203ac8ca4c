"""An answer, a close, a cancel and a deadline race for one interrupt, five hundred times: one resolves it, the others
are told, and nothing after the gate runs unless the gate was answered.
"""

from __future__ import annotations

import re
import sys
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.engine import driving
from tests.faults.crashpoints import IS_POSTGRES
from tests.faults.flows import GATES
from tests.faults.processes import Child, Crew
from tests.faults.programs import end_in_turn
from tests.faults.soundness import sound
from triggerflow_django.engine import deadlines, emit, lifecycle
from triggerflow_django.engine.decide import decide
from triggerflow_django.exceptions import ExecutionNotOpenError, InterruptNotWaitingError
from triggerflow_django.models import Decision, Door, Execution, Interrupt, InterruptStatus, Step, StepStatus

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 500
ALL = ("answer", "close", "cancel", "deadline")
#: Without the cancel, what was answered may go on.
NO_CANCEL = ("answer", "close", "deadline")
ANSWERS = {Door.CODE: "by hand", Door.DEADLINE: "by default"}
TOO_LATE = {
    "InterruptNotWaitingError": r"interrupt 'gate0' was (decided by (code|rule:\S+|deadline)|cancelled) at \S+; .*",
    "ExecutionNotOpenError": r"execution [0-9a-f]{32} of flow 'faults gates' is "
    r"(closed \((completed|cancelled)\)|closing \(running\)): "
    r"answer to interrupt 'gate0' refused",
}


def who_does_what(number: int) -> tuple[str, ...]:
    """The acts of the four processes in a race; each of them gets the first word as often as the others."""
    acts = ALL if number % 2 == 0 else NO_CANCEL
    turn = number // 2 % len(acts)
    return acts[turn:] + acts[:turn]


@pytest.mark.slow
def test_of_an_answer_a_close_a_cancel_and_a_deadline_one_wins_five_hundred_times(
    crew: Crew, travel: Callable[[float], None], capfd: pytest.CaptureFixture[str]
) -> None:
    pks = [driving.settled(GATES, [0]) for _ in range(ROUNDS)]
    asked = {row.execution_id: row for row in Interrupt.objects.all()}
    assert len(asked) == ROUNDS
    travel(3601)  # their deadlines have passed
    parts: list[list[tuple[str, str, str]]] = [[], [], [], []]
    for number, pk in enumerate(pks):
        for part, act in zip(parts, who_does_what(number), strict=False):
            part.append((pk.hex, asked[pk].pk.hex, act))
    children = [crew.start(end_in_turn, part) for part in parts]
    outcomes: Counter[str] = Counter()
    for number, pk in enumerate(pks):
        outcomes[race(children, who_does_what(number), pk, asked[pk])] += 1
    assert [child.expect("returned") for child in children] == [None] * 4
    assert outcomes.total() == ROUNDS
    assert set(outcomes) == {"answer", "close", "cancel", "deadline"}, outcomes
    with capfd.disabled():
        database = "postgresql" if IS_POSTGRES else "sqlite"
        sys.stderr.write(f"\nraces to the end on {database}: {ROUNDS} rounds, won by {dict(outcomes)}\n")
    nothing_moves_them_any_more(pks[::5], asked)


def race(children: list[Child], acts: tuple[str, ...], pk: uuid.UUID, interrupt: Interrupt) -> str:
    """Let them race for one interrupt. Returns what resolved it."""
    racing = children[: len(acts)]
    for child in racing:
        child.expect("ready")
    for child in racing:
        child.tell("go on")
    said: dict[str, Any] = dict(zip(acts, [child.expect("did") for child in racing], strict=True))

    interrupt.refresh_from_db()
    decision = Decision.objects.filter(execution_id=pk).first()
    kept = Step.objects.filter(execution_id=pk, node="keep")
    if decision is not None:  # invariant 1
        winner = "answer" if decision.door == Door.CODE else "deadline"
        assert interrupt.status == InterruptStatus.RESUMED
        assert (decision.pk, decision.payload) == (interrupt.decision_id, ANSWERS[Door(decision.door)])
        assert (said["answer"] == "resumed") == (winner == "answer")
        assert (said["deadline"] is True) == (winner == "deadline")
    else:
        assert interrupt.status == InterruptStatus.CANCELLED
        winner = "cancel" if said.get("cancel") is True and driving.row(pk).close_reason == "" else "close"
        assert not kept.exists()
    if said["answer"] != "resumed":  # invariant 5
        error, words = said["answer"]
        assert re.fullmatch(TOO_LATE[error], words), (error, words)
    if "cancel" in acts:
        # It comes too late only where the close has closed it.
        assert said["cancel"] is True or (winner == "close" and said["close"] is True)

    # Invariant 6: what is left runs now; what comes after the gate only where that was answered and nobody cancelled.
    ran = driving.drain(pk, GATES)
    execution = sound(pk)
    assert ran == []
    assert execution.is_closed
    goes_on = decision is not None and said.get("cancel") is not True
    assert execution.snapshot == ({"kept": [[decision.payload]]} if goes_on and decision is not None else {})
    assert kept.filter(status=StepStatus.DONE).exists() == goes_on
    assert execution.status == ("completed" if goes_on else "cancelled")
    return winner


def nothing_moves_them_any_more(pks: list[uuid.UUID], asked: dict[uuid.UUID, Interrupt]) -> None:
    """Invariant 11: what is closed accepts nothing, and no row of it changes."""
    before = {pk: driving.everything(pk) for pk in pks}
    for pk in pks:
        with pytest.raises((ExecutionNotOpenError, InterruptNotWaitingError)):
            decide(pk, "gate0", "late", door=Door.CODE, using="default", graph=GATES.graph)
        with pytest.raises(ExecutionNotOpenError):
            emit.emit(pk, "late", 1, using="default", graph=GATES.graph)
        with pytest.raises(ExecutionNotOpenError):
            lifecycle.unseal(pk, using="default")
        assert lifecycle.request_close(pk, using="default", pending_interrupts="cancel") is True
        assert lifecycle.cancel(pk, using="default") is False
        assert deadlines.pass_deadline(asked[pk].pk, pk, using="default") is False
        assert lifecycle.auto_close(pk, using="default") is False
        assert driving.drain(pk, GATES) == []
    assert {pk: driving.everything(pk) for pk in pks} == before
    assert Execution.objects.exclude(lifecycle="closed").count() == 0
