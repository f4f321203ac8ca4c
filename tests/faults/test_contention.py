"""Processes that write to one database at once: no lock error reaches a caller, a kill spoils nobody else's work."""

from __future__ import annotations

from django.db import connection

from tests.faults.flows import ORDER_ROWS, ORDER_SNAPSHOT, left_by
from tests.faults.processes import Crew
from tests.faults.programs import walk_many
from tests.faults.soundness import sound
from triggerflow_django.models import Execution

PROCESSES = 4
ORDERS_EACH = 10


def test_processes_that_write_at_once_get_no_lock_error(crew: Crew) -> None:
    children = crew.together(walk_many, *[(f"process {number}", ORDERS_EACH) for number in range(PROCESSES)])
    assert [child.expect("returned") for child in children] == [ORDERS_EACH] * PROCESSES
    assert Execution.objects.count() == PROCESSES * ORDERS_EACH
    for execution in Execution.objects.all():
        assert sound(execution.pk).snapshot == ORDER_SNAPSHOT
        assert left_by(execution.id.hex) == ORDER_ROWS
    file_is_whole()


def test_processes_go_on_beside_one_that_is_killed_while_it_writes(crew: Crew) -> None:
    children = crew.together(walk_many, *[(f"process {number}", ORDERS_EACH) for number in range(PROCESSES)])
    while Execution.objects.count() < PROCESSES:
        assert any(child.is_alive for child in children)
    for child in children[:2]:
        child.kill()
        file_is_whole()
    assert [child.expect("returned") for child in children[2:]] == [ORDERS_EACH] * 2
    for execution in Execution.objects.all():
        sound(execution.pk)
        assert set(left_by(execution.id.hex).values()) <= {1}
    file_is_whole()


def file_is_whole() -> None:
    """SQLite finds nothing wrong with its file."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA integrity_check")
            assert cursor.fetchall() == [("ok",)]
