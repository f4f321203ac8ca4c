"""All doors at once: code, admin form, command, an outside event and the deadline answer one interrupt; one gets in."""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from tests.admin.conftest import send, text
from tests.engine import driving
from tests.faults.soundness import sound
from tests.faults.test_decide_races import close_connections
from tests.management.shell import run
from triggerflow_django import TriggerFlow
from triggerflow_django.definition import registry
from triggerflow_django.engine import deadlines, decide, emit
from triggerflow_django.exceptions import InterruptNotWaitingError
from triggerflow_django.models import Decision, Door, Event, EventKind, Interrupt, InterruptStatus

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 60


def _gate(data: Any) -> Any:
    return data.pause_for(
        type="approval",
        interrupt_id=f"gate{data.input}",
        resume_to="next",
        resume_event=f"paid{data.input}",
        due_in=3600,
        on_due={"answer": Door.DEADLINE.value},
    )


DOORS = TriggerFlow(name="faults doors")
DOORS.for_each().to(("gate", _gate)).end_for_each().to(("keep", lambda data: data.set_state("kept", data.input)))


@contextmanager
def at_one_gate(number: int) -> Iterator[Callable[[Callable[[], Any]], Any]]:
    """Let so many acts get as far as the lock of the execution, and go on from there together.

    Otherwise the doors with the shorter way would always be there first.
    """
    barrier, here = threading.Barrier(number), threading.local()

    def stopping(begin: Any) -> Any:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            if getattr(here, "is_on_the_way", False):
                here.is_on_the_way = False
                barrier.wait(timeout=30)
            return begin(*arguments, **options)

        return wrapped

    def come(act: Callable[[], Any]) -> Any:
        here.is_on_the_way = True
        return act()

    with ExitStack() as stack:
        for module in (decide, emit, deadlines):
            stack.enter_context(mock.patch.object(module, "begin", stopping(module.begin)))
        yield come


@pytest.mark.slow
def test_of_five_doors_at_once_one_lets_an_answer_in(
    travel: Callable[[float], None], capfd: pytest.CaptureFixture[str]
) -> None:
    registry.register(DOORS)
    winners: list[str] = []
    try:
        handle = DOORS.start_execution(list(range(ROUNDS)), auto_close=False)
        travel(3601)  # their deadlines have passed
        browser = Client()
        browser.force_login(User.objects.create_superuser("root"))
        with ThreadPoolExecutor(5) as pool:
            for number in range(ROUNDS):
                row = Interrupt.objects.get(execution_id=handle.pk, interrupt_id=f"gate{number}")
                winners.append(one_race(pool, number % 5, row, handle, browser))
            close_connections(pool, 5)
    finally:
        registry.unregister(DOORS.name)
    assert driving.drain(handle.pk, DOORS) == []
    assert driving.state(handle.pk) == {"kept": winners}
    sound(handle.pk)
    assert Decision.objects.count() == ROUNDS
    assert Event.objects.filter(kind=EventKind.INTERRUPT_DECIDED).count() == ROUNDS
    won = Counter(winners)
    with capfd.disabled():
        sys.stderr.write(f"\ndoors on {connection.vendor}: {ROUNDS} interrupts, let in by {dict(won)}\n")
    assert len(won) > 1, "the same door wins every time: nothing was raced for"


def one_race(pool: ThreadPoolExecutor, first: int, row: Interrupt, handle: Any, browser: Client) -> str:
    """Try all doors at once. Returns the one that let its answer in."""
    gate, number = row.interrupt_id, row.interrupt_id.removeprefix("gate")

    def by_code() -> tuple[bool, str]:
        try:
            return handle.continue_with(gate, Door.CODE.value)["resume_value"] == Door.CODE, ""
        except InterruptNotWaitingError as error:
            return False, str(error)

    def by_admin() -> tuple[bool, str]:
        response = send(browser, row, f'"{Door.ADMIN.value}"')
        assert response.status_code in (302, 409)
        return response.status_code == 302, "" if response.status_code == 302 else text(response)

    def by_command() -> tuple[bool, str]:
        answer = json.dumps(Door.COMMAND.value).encode()
        ran = run("resume", handle.id, gate, "--answer", "-", "--override", "--reason", "a race", stdin=answer)
        return ran.code == 0, ran.error

    def by_event() -> tuple[bool, str]:
        # It is recorded in any case; whom it resolves depends on who still waits.
        emit.emit(handle.pk, f"paid{number}", Door.EVENT.value, using="default", graph=DOORS.graph)
        return Decision.objects.filter(interrupt=row, door=Door.EVENT).exists(), "recorded"

    def by_deadline() -> tuple[bool, str]:
        return deadlines.pass_deadline(row.pk, handle.pk, using="default"), "nothing was due"

    acts = {
        Door.CODE: by_code,
        Door.ADMIN: by_admin,
        Door.COMMAND: by_command,
        Door.EVENT: by_event,
        Door.DEADLINE: by_deadline,
    }
    doors = list(acts)
    doors = doors[first:] + doors[:first]
    with at_one_gate(len(acts)) as come:
        said = dict(zip(doors, pool.map(lambda door: come(acts[door]), doors), strict=True))
    row.refresh_from_db()
    decision = Decision.objects.get(interrupt=row)
    assert row.status == InterruptStatus.RESUMED
    assert [door for door, (won, _words) in said.items() if won] == [decision.door]
    assert decision.payload == decision.door
    who = decision.actor_label or decision.door
    for door in (Door.CODE, Door.COMMAND):
        if door != decision.door:
            assert f"was decided by {who} at " in said[door][1], said[door]
    if decision.door != Door.ADMIN:
        assert f"Decided by {who} on " in said[Door.ADMIN][1]
    return str(decision.door)
