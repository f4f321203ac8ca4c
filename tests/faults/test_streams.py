"""A process is killed while it streams: what was committed stays, the reader is told, the execution goes on."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from tests.engine import driving
from tests.faults.processes import Child, Crew
from tests.faults.soundness import sound
from tests.faults.streaming import ITEMS, SAID_AFTER, WRITING, follow, put_many, write
from triggerflow_django import TriggerFlow
from triggerflow_django.engine import stream
from triggerflow_django.engine.sweep import sweep
from triggerflow_django.models import StreamItem

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

#: On SQLite items of an atomic chunk come with its commit: there is nothing to see before.
STYLES = ["plain", "atomic"] if connection.vendor == "postgresql" else ["plain"]


def heard(reader: Child, count: int) -> list[Any]:
    """The next items, at the positions that follow one another."""
    return [reader.expect("item") for _ in range(count)]


@pytest.mark.filterwarnings("ignore:no item of execution:RuntimeWarning")
@pytest.mark.parametrize("style", STYLES)
def test_a_writer_is_killed_and_the_reader_in_another_process_misses_nothing(
    crew: Crew, travel: Callable[[float], None], style: str
) -> None:
    flow = WRITING[style]
    pk = driving.start(flow, None)
    reader = crew.start(follow, style, pk.hex, 0)
    writer = crew.start(write, style, pk.hex)
    writer.expect("writing")
    before = heard(reader, SAID_AFTER + 1)  # while the chunk runs
    assert before == [(number + 1, [1, number]) for number in range(SAID_AFTER + 1)]
    writer.kill()
    travel(120)
    sweep(using="default")
    driving.drain(pk, flow)
    assert driving.row(pk).status == "waiting"
    again = heard(reader, 1)[0]
    more = 0
    while isinstance(again[1], list):  # written before the kill and not yet heard
        assert again[1] == [1, SAID_AFTER + 1 + more]
        more += 1
        again = heard(reader, 1)[0]
    assert (again[1]["action"], again[1]["step"], again[1]["attempt"]) == ("restart", "write", 2)
    rest = heard(reader, ITEMS + 2)
    assert [item for _position, item in rest[:ITEMS]] == [[2, number] for number in range(ITEMS)]
    assert rest[ITEMS][1] == "done"
    assert rest[ITEMS + 1][1]["action"] == "pause"
    positions = [position for position, _item in [*before, again, *rest]]
    assert more or positions == list(range(1, len(positions) + 1))
    sound(pk)
    late = list(flow.get_execution(pk).get_runtime_stream(timeout=0.01, position=positions[-2]))
    assert late == [rest[-1][1]]


def test_a_frozen_writer_that_comes_back_puts_nothing_more(crew: Crew, travel: Callable[[float], None]) -> None:
    flow = WRITING["plain"]
    pk = driving.start(flow, None)
    writer = crew.start(write, "plain", pk.hex)
    writer.expect("writing")
    writer.signal(signal.SIGSTOP)
    travel(120)
    sweep(using="default")
    driving.drain(pk, flow)
    writer.signal(signal.SIGCONT)
    writer.tell("go on")
    writer.expect("returned")
    rows = StreamItem.objects.filter(root_id=pk, kind="item").order_by("sequence").values_list("item", flat=True)
    stale = [[1, number] for number in range(SAID_AFTER + 1)]
    assert list(rows) == [*stale, *([2, number] for number in range(ITEMS)), "done"]
    sound(pk)


def test_a_reader_is_killed_and_another_goes_on_from_its_position(crew: Crew) -> None:
    flow = WRITING["plain"]
    pk = driving.start(flow, None)
    reader = crew.start(follow, "plain", pk.hex, 0)
    driving.drain(pk, flow)
    first = heard(reader, 7)
    reader.kill()
    successor = crew.start(follow, "plain", pk.hex, first[-1][0])
    assert heard(successor, 3) == [(number + 1, [1, number]) for number in (7, 8, 9)]


def test_processes_that_write_at_once_leave_no_hole(crew: Crew) -> None:
    pk = driving.settled(TriggerFlow(name="crowd"))
    stream.open_stream(pk, using="default")
    for child in crew.together(put_many, *((pk.hex, who, 50) for who in range(3))):
        child.expect("returned")
    rows = list(StreamItem.objects.filter(root_id=pk).order_by("sequence").values_list("sequence", "item"))
    assert [sequence for sequence, _item in rows] == list(range(1, 151))
    for who in range(3):
        assert [item[1] for _sequence, item in rows if item[0] == who] == list(range(50))
