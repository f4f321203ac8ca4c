"""The history of resumes, as clients see it that lose connections, answers and their lives, has one order of events:
each gate has one answer, who was told so sees it ever after, and what is unknown is one or the other.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import connection

from tests.engine import driving
from tests.faults.clients import resume_at_random
from tests.faults.crashpoints import IS_POSTGRES
from tests.faults.flows import GATES
from tests.faults.histories import Attempt, Read, Resume, faults
from tests.faults.processes import PATIENCE, Child, Crew
from tests.faults.soundness import sound
from triggerflow_django.models import Decision, Event, EventKind, Interrupt

pytestmark = pytest.mark.django_db(transaction=True)

COUNT = 120
CLIENTS = 6
#: Seconds between two strikes of the monkey. What it does: end a client, or its connection (which only a server can).
EVERY = 0.15


@dataclass
class Book:
    """All that the clients said."""

    resumes: dict[str, Resume] = field(default_factory=dict)
    reads: list[Read] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    _open: dict[int, Attempt] = field(default_factory=dict)

    def write(self, client: int, word: str, told: Any) -> None:
        """Note one word of a client."""
        if word == "invoke":
            gate, value, request_id, invoked = told
            resume = self.resumes.setdefault(value, Resume(gate, value, request_id))
            resume.attempts.append(Attempt(invoked))
            self._open[client] = resume.attempts[-1]
        elif word == "read":
            self.reads.append(Read(*told))
        else:
            assert word in ("ok", "fail", "unknown"), (word, told)
            attempt = self._open.pop(client)
            attempt.outcome, (attempt.ended, attempt.shown) = word, told
            self.outcomes[word] += 1


@pytest.mark.slow
def test_what_clients_see_of_resumes_has_one_order_of_events(crew: Crew, capfd: pytest.CaptureFixture[str]) -> None:
    seed = random.SystemRandom().randrange(2**32)
    with capfd.disabled():
        sys.stderr.write(f"\nhistory of resumes: seed {seed}\n")
    dice = random.Random(seed)  # noqa: S311 - no secret
    pk = driving.settled(GATES, list(range(COUNT)))
    gates = [f"gate{number}" for number in range(COUNT)]

    def hire() -> Child:
        return crew.start(resume_at_random, pk.hex, gates, f"client {len(hired)}", dice.randrange(2**32))

    book, hired, working = Book(), list[Child](), set[int]()
    strikes: Counter[str] = Counter()
    for number in range(CLIENTS):
        hired.append(hire())
        working.add(number)
    began = last = time.monotonic()
    while working:
        assert time.monotonic() - began < PATIENCE
        for number in sorted(working):
            for word, told in hired[number].heard():
                if word == "returned":
                    working.discard(number)
                else:
                    book.write(number, word, told)
        if time.monotonic() - last < EVERY or not working:
            time.sleep(0.005)
            continue
        last = time.monotonic()
        if IS_POSTGRES and dice.random() < 0.7:
            strikes["connections cut"] += cut_one()
        elif strikes["clients killed"] < CLIENTS:
            victim = dice.choice(sorted(working))
            hired[victim].kill()
            for word, told in hired[victim].heard():
                if word != "returned":
                    book.write(victim, word, told)
            working.discard(victim)
            hired.append(hire())
            working.add(len(hired) - 1)
            strikes["clients killed"] += 1

    rows = Interrupt.objects.filter(execution_id=pk).values_list("interrupt_id", "decision__payload")
    assert faults(book.resumes.values(), book.reads, dict(rows)) == []
    sound(pk)
    decided = Event.objects.filter(execution_id=pk, kind=EventKind.INTERRUPT_DECIDED).count()
    assert Decision.objects.count() == decided == sum(answer is not None for _gate, answer in rows)
    assert min(book.outcomes[outcome] for outcome in ("ok", "fail", "unknown")) > 0
    happened = sum(
        resume.value == dict(rows)[resume.gate] for resume in book.resumes.values() if resume.ended_as("unknown")
    )
    with capfd.disabled():
        sys.stderr.write(
            f"history of resumes on {connection.vendor}: {COUNT} gates, {decided} answered, {dict(strikes)}, "
            f"{len(book.resumes)} wishes, {dict(book.outcomes)}, {len(book.reads)} reads; {happened} wishes with an "
            f"unknown attempt were the stored ones; {time.monotonic() - began:.1f} s; one order explains all\n"
        )


def cut_one() -> int:
    """The server ends the connection of one client, in the middle of what it does if there is one such."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle' "
            "AND backend_type = 'client backend' ORDER BY random() LIMIT 1) AS victim"
        )
        (count,) = cursor.fetchone()
    return int(count)
