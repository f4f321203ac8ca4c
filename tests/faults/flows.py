"""The flows that are hit by faults, and what their chunks leave in the database to be counted."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import time
import uuid
from collections import Counter
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group

from tests.faults.crashpoints import reach
from tests.faults.processes import Link
from triggerflow_django import TriggerFlow
from triggerflow_django.definition import registry

ITEMS = [1, 2, 3]
GATE = "gate"
#: In a child process: its link to the test, for chunks that speak with it. ``None`` in the test itself.
link: Link | None = None


def leave(data: Any, label: str) -> None:
    """Leave a row. Rows of one label are told apart, so that a second one is seen, not refused."""
    Group.objects.create(name=f"{data.execution_id} {label} {uuid.uuid4().hex}")


def left_by(execution_id: str) -> Counter[str]:
    """How many rows an execution has left, by label."""
    names = Group.objects.filter(name__startswith=execution_id).values_list("name", flat=True)
    return Counter(name.split(" ")[1] for name in names)


def _split(data: Any) -> Any:
    reach("split")
    return data.input


def _part(data: Any) -> int:
    leave(data, f"part{data.input}")
    reach("part")
    return int(data.input) * 10


def _tally(data: Any) -> int:
    data.append_state("tallies", sum(data.input))
    reach("tally")
    return sum(data.input)


def _ask(data: Any) -> Any:
    reach("ask")
    return data.pause_for(type="approval", payload={"sum": data.input}, interrupt_id=GATE)


def _book(data: Any) -> None:
    leave(data, "booked")
    data.set_state("booked", data.input)
    reach("book")


def _awaitable(function: Any) -> Any:
    async def chunk(data: Any) -> Any:
        return function(data)

    return chunk


def _order(name: str, wrap: Any) -> TriggerFlow:
    """Split, an atomic row for each part, a join that counts, a gate, an atomic row after it."""
    flow = TriggerFlow(name=name)
    parts = flow.to(("split", wrap(_split))).for_each().to(flow.chunk("part", atomic=True)(_part)).end_for_each()
    parts.to(("tally", wrap(_tally))).to(("ask", wrap(_ask))).to(flow.chunk("book", atomic=True)(_book))
    return flow


#: The same walk with sync and with async chunks (atomic ones are always sync).
ORDERS = {"sync": _order("faults order", lambda function: function), "async": _order("faults async order", _awaitable)}
ORDER_STEPS = {"split": 1, "part": 3, "tally": 1, "ask": 1, "book": 1}
ORDER_ROWS = {"part1": 1, "part2": 1, "part3": 1, "booked": 1}
ORDER_SNAPSHOT = {"tallies": [60], "booked": "yes"}


def _fails(_data: Any) -> None:
    raise ValueError("this chunk always raises")


FAILING = TriggerFlow(name="faults failing")
FAILING.to(("fails", _fails))


def _die_by(poison: str) -> None:
    if poison in ("SIGKILL", "abort"):
        assert multiprocessing.parent_process() is not None, "only children may run this"
        os.abort() if poison == "abort" else os.kill(os.getpid(), signal.SIGKILL)


def _deadly(data: Any) -> None:
    _die_by(data.input)
    leave(data, data.input)


async def _async_deadly(data: Any) -> None:
    _die_by(data.input)
    await sync_to_async(leave)(data, data.input)


def _poisoned(name: str, deadly: Any) -> TriggerFlow:
    flow = TriggerFlow(name=name)
    flow.for_each().to(("deadly", deadly)).end_for_each().to(("tally", _tally))
    return flow


POISONED = {"sync": _poisoned("faults poison", _deadly), "async": _poisoned("faults async poison", _async_deadly)}


def _stubborn(data: Any) -> str:
    """In its first attempt it swallows its alarm and goes on; in the next it is well-behaved."""
    if data.attempt == 1:
        assert link is not None
        try:
            while True:
                time.sleep(0.01)
        except BaseException:
            link.say("swallowed")
        link.wait_for("go on")
    return f"attempt {data.attempt}"


async def _async_stubborn(data: Any) -> str:
    """The same: it swallows its cancellation. The loop is not blocked meanwhile."""
    if data.attempt == 1:
        assert link is not None
        try:
            await asyncio.sleep(60)
        except BaseException:
            link.say("swallowed")
        await asyncio.to_thread(link.wait_for, "go on")
    return f"attempt {data.attempt}"


def _stubborn_flow(name: str, stubborn: Any) -> TriggerFlow:
    flow = TriggerFlow(name=name)
    flow.to(flow.chunk("stubborn", timeout=0.2)(stubborn)).to(("keep", _keep))
    return flow


def _keep(data: Any) -> None:
    data.append_state("kept", data.input)


STUBBORN = {
    "sync": _stubborn_flow("faults stubborn", _stubborn),
    "async": _stubborn_flow("faults async stubborn", _async_stubborn),
}


def _item(data: Any) -> int:
    leave(data, f"item{data.input}")
    return int(data.input)


def _wide() -> TriggerFlow:
    """Two hundred atomic rows, twenty under way at a time, a join; beside it a batch and its join; then both meet."""
    flow = TriggerFlow(name="faults wide")
    chunk = flow.chunk("item", atomic=True)(_item)
    flow.for_each(concurrency=WIDE_LIMIT).to(chunk).end_for_each().to(("sum", lambda data: sum(data.input))).to(
        ("keep", _keep)
    )
    flow.batch(("one", lambda data: 1), ("two", lambda data: 2)).to(("together", _keep))
    return flow


WIDE_ITEMS, WIDE_LIMIT = 200, 20
WIDE = _wide()


async def _nap(data: Any) -> int:
    """Number 0 to 24 are quick; the others wait for the end of the process, if the test says so."""
    if link is not None and data.input >= 25 and data.attempt == 1:
        await asyncio.sleep(600)
    await asyncio.sleep(0 if link is not None else 1.0)
    return int(data.input)


NAPS = TriggerFlow(name="faults naps")
NAPS.for_each().to(("nap", _nap)).end_for_each().to(("keep", _keep))


def _gate(data: Any) -> Any:
    return data.pause_for(
        type="approval", interrupt_id=f"gate{data.input}", due_in=3600, on_due={"answer": "by default"}
    )


GATES = TriggerFlow(name="faults gates")
GATES.for_each().to(("gate", _gate)).end_for_each().to(("keep", _keep))


def _twice(data: Any) -> None:
    """It raises in its first attempt, and leaves a row in the second."""
    if data.attempt == 1:
        raise ValueError("the first attempt raises")
    leave(data, "twice")


def _trying(name: str, **options: Any) -> TriggerFlow:
    flow = TriggerFlow(name=name)
    flow.to(flow.chunk("twice", atomic=True, **options)(_twice)).to(("keep", _keep))
    return flow


#: One that is tried again by itself, and one that somebody has to retry.
RETRIED = _trying("faults retried", retries=1, backoff=0.001)
UNLUCKY = _trying("faults unlucky")


def _noted() -> TriggerFlow:
    """It waits at a gate; an event and a written state key each leave a row."""
    flow = TriggerFlow(name="faults noted")
    flow.to(("ask", _ask)).to(flow.chunk("book", atomic=True)(_book))
    flow.when("ping").to(flow.chunk("ping", atomic=True)(lambda data: leave(data, "pinged")))
    flow.when({"runtime_data": "word"}).to(flow.chunk("word", atomic=True)(lambda data: leave(data, "worded")))
    return flow


NOTED = _noted()


def _due(what: str, on_due: Any) -> TriggerFlow:
    flow = TriggerFlow(name=f"faults due {what}")

    def ask(data: Any) -> Any:
        return data.pause_for(type="approval", interrupt_id=GATE, due_in=60, on_due=on_due)

    flow.to(("ask", ask)).to(("keep", _keep))
    flow.when("late").to(flow.chunk("late", atomic=True)(lambda data: leave(data, "late")))
    return flow


#: By what happens when the deadline passes.
DUE = {
    "answer": _due("answer", {"answer": "by default"}),
    "overdue": _due("overdue", None),
    "event": _due("event", {"event": "late", "value": 1}),
    "fail": _due("fail", "fail"),
}


#: What children find by name.
_all = (
    *ORDERS.values(), FAILING, *POISONED.values(), *STUBBORN.values(), WIDE, NAPS, GATES,
    RETRIED, UNLUCKY, NOTED, *DUE.values(),
)  # fmt: skip
FLOWS: dict[str, TriggerFlow] = {flow.name: flow for flow in _all}


def register() -> None:
    """Let this process run these flows as a worker does, which finds them by name."""
    for flow in FLOWS.values():
        registry.register(flow)


def unregister() -> None:
    """Undo it."""
    for flow in FLOWS.values():
        registry.unregister(flow.name)
