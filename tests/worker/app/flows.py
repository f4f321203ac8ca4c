"""Flows for real workers: what they do shows in rows of ``auth_group`` and, where a test steps in, in files."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import signal
import time
from pathlib import Path

from django.contrib.auth.models import Group
from django.db import connection

from triggerflow_django import TriggerFlow, TriggerFlowRuntimeData
from triggerflow_django.engine import clock

SECONDS = 60
#: How far a worker's clock is ahead, where a test starts one that lives later.
if days := os.environ.get("TESTS_DAYS_LATER"):
    clock.set_offset(dt.timedelta(days=float(days)))


def effect(data: TriggerFlowRuntimeData) -> object:
    """An effect that must happen once: the row's name is the step's idempotency key."""
    Group.objects.create(name=f"effect {data.idempotency_key}")
    return data.input


def passed(data: TriggerFlowRuntimeData) -> object:
    """Nothing."""
    return data.input


def ask(data: TriggerFlowRuntimeData) -> object:
    """A question under an id the test knows."""
    return data.pause_for(type="approval", interrupt_id="gate", resume_to="next")


def note(data: TriggerFlowRuntimeData) -> None:
    """Leave the value in the state."""
    data.set_state("noted", data.input)


def ask_shortly(data: TriggerFlowRuntimeData) -> object:
    """A question that its deadline answers."""
    return data.pause_for(
        type="approval", interrupt_id="gate", resume_to="next", due_in=0.5, on_due={"answer": "by default"}
    )


def fail_once(data: TriggerFlowRuntimeData) -> object:
    """It raises in its first attempt."""
    if data.attempt == 1:
        raise ValueError("the first attempt raises")
    return data.input


def backend(data: TriggerFlowRuntimeData) -> None:
    """Which process ran this, over which connection to the server."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        data.append_state("seen", [os.getpid(), os.getppid(), cursor.fetchone()[0]])


def held_up(data: TriggerFlowRuntimeData) -> object:
    """Say that it runs, and go on when the test removes the file."""
    sign = Path(data.input["sign"])
    sign.write_text(str(os.getpid()))
    deadline = time.monotonic() + SECONDS
    while sign.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return data.input


def meet(data: TriggerFlowRuntimeData) -> object:
    """Wait until the other item runs too: one worker alone never gets past this."""
    folder, name, others = data.input
    Path(folder, name).write_text("here")
    deadline = time.monotonic() + SECONDS
    while not all(Path(folder, other).exists() for other in others) and time.monotonic() < deadline:
        time.sleep(0.02)
    return os.environ.get("HOSTNAME", "")


def deadly(data: TriggerFlowRuntimeData) -> None:
    """Kill its process, each time."""
    os.kill(os.getpid(), signal.SIGKILL)


async def nap(data: TriggerFlowRuntimeData) -> object:
    """Wait, as for another system."""
    await asyncio.sleep(1)
    return data.input


chain = TriggerFlow(name="worker chain")
_place = chain.to(("step 1", passed))
for _number in range(2, 51):
    _place = _place.to((f"step {_number}", passed))
_place.to(note)

gate = TriggerFlow(name="worker gate")
gate.to(ask).to(gate.chunk(atomic=True)(effect)).to(note)

fan = TriggerFlow(name="worker fan")
fan.for_each().to(fan.chunk(atomic=True)(effect)).end_for_each().to(note)

held = TriggerFlow(name="worker held")
held.to(held_up).to(held.chunk(atomic=True)(effect)).to(note)

poison = TriggerFlow(name="worker poison")
poison.to(deadly).to(note)

naps = TriggerFlow(name="worker naps")
naps.for_each().to(nap).end_for_each().to(note)

meeting = TriggerFlow(name="worker meeting")
meeting.for_each().to(meet).end_for_each().to(note)

backends = TriggerFlow(name="worker backends")
backends.to(backend)

elsewhere = TriggerFlow(name="worker elsewhere")
elsewhere.to(elsewhere.chunk(queue="other")(passed)).to(note)


async def tokens(data: TriggerFlowRuntimeData) -> None:
    """What a model writes, and its process id; in the middle it waits until the test removes the file."""
    await data.async_put({"pid": os.getpid(), "attempt": data.attempt})
    for number in range(5):
        await data.async_put(number)
    sign = Path(data.input["sign"])
    deadline = time.monotonic() + SECONDS
    while sign.exists() and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    for number in range(5, 10):
        await data.async_put(number)


stream = TriggerFlow(name="worker stream")
stream.to(tokens).to(ask).to(note)


def _with_sub_flows() -> TriggerFlow:
    """Two deep; the inner flows are not registered, so only this one leads to them."""
    leaf = TriggerFlow(name="leaf of workers")
    leaf.to(("leaf effect", effect)).to(("leaf held", held_up)).to(("leaf ask", ask)).to(("leaf note", note))
    middle = TriggerFlow(name="middle of workers")
    middle.to_sub_flow(leaf, name="inner", write_back={"value": "result.noted"}).to(("middle note", note))
    outer = TriggerFlow(name="worker sub flows")
    outer.for_each().to_sub_flow(middle, name="outer", write_back={"value": "result.noted"}).end_for_each().to(
        ("outer note", note)
    )
    return outer


sub_flows = _with_sub_flows()

due = TriggerFlow(name="worker due")
due.to(ask_shortly).to(due.chunk(atomic=True)(effect)).to(note)

flaky = TriggerFlow(name="worker flaky")
flaky.to(flaky.chunk(retries=1, backoff=0.2)(fail_once)).to(flaky.chunk(atomic=True)(effect)).to(note)
