"""The soak's flow, once with sync and once with async chunks, and what an execution of it must have left.

Two departments ask side by side: in each a nested ``for_each`` leaves an atomic row for every part, a person answers,
an atomic row is left for the answer. Both join; then a batch: a chunk that fails at first, and a question with a
deadline. What follows that join leaves the last row.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Any, Final

from django.contrib.auth.models import Group

from triggerflow_django import TriggerFlow, conf
from triggerflow_django.engine import heartbeat

DEPARTMENTS: Final = 2
PARTS: Final = 2
#: The answer a deadline gives.
BY_DEFAULT: Final = {"by": "deadline"}
LATE: Final = "late"
#: Seconds the question with the deadline waits.
DUE_IN: Final = 1.0
#: A stalled chunk sleeps for so many leases, without a sign of life.
STALL_LEASES: Final = 6.0

#: Of each execution, by node: how many steps there are at its end, all of them done.
STEPS: Final = {
    "split": 1,
    "part": DEPARTMENTS * PARTS,
    "ask": DEPARTMENTS,
    "book": DEPARTMENTS,
    "gather": 1,
    "flaky": 1,
    "late": 1,
    "tally": 1,
}
#: And how many atomic rows, by label.
ROWS: Final = {
    **{f"part{department}{part}": 1 for department in range(DEPARTMENTS) for part in range(PARTS)},
    **{f"booked-gate{department}": 1 for department in range(DEPARTMENTS)},
    "tally": 1,
}
GATES: Final = [f"gate{department}" for department in range(DEPARTMENTS)]
#: How many joins fire: each department's parts, the departments, the batch.
JOINS: Final = DEPARTMENTS + 2


def new_input(number: int, stalls: bool) -> dict[str, Any]:
    """What execution ``number`` is started with; with ``stalls``, two of its parts outlive their leases."""
    return {"number": number, "stalls": stalls}


def is_raced(number: int) -> bool:
    """Whether people answer the question with the deadline, too."""
    return number % 4 >= 2  # of each flow every other one


def leave(data: Any, label: str) -> None:
    """Leave a row. Rows of one label are told apart, so that a second one is seen, not refused."""
    Group.objects.create(name=f"{data.execution_id} {label} {uuid.uuid4().hex}")


def _split(data: Any) -> Any:
    given = data.input
    return [
        [{"department": department, "part": part, **given} for part in range(PARTS)]
        for department in range(DEPARTMENTS)
    ]


def _part(data: Any) -> Any:
    """Atomic. A stalled one finds its step taken over when it has left its row; the part beside it stalls more often,
    so that their join is still open then.
    """
    part = data.input
    stalls = (1, 4)[part["part"]] if part["stalls"] and part["department"] == 0 else 0
    if data.attempt <= stalls:
        _stall()
    leave(data, f"part{part['department']}{part['part']}")
    return part


def _stall() -> None:
    """Sleep for longer than the lease without renewing it, as a process does whose machine has better things to do."""
    beating = heartbeat.heartbeat  # this process's
    for lease in list(beating._leases.values()):
        beating.remove(lease)
    time.sleep(STALL_LEASES * conf.get_settings().LEASE_SECONDS)


def _ask(data: Any) -> Any:
    department = data.input[0]["department"]
    parts = [part["part"] for part in data.input]
    return data.pause_for(type="approval", payload={"parts": parts}, interrupt_id=f"gate{department}")


def _book(data: Any) -> Any:
    answer = data.input
    leave(data, f"booked-{answer['gate']}")
    data.set_state(answer["gate"], answer)
    return answer["gate"]


def _gather(data: Any) -> Any:
    return data.input


def _flaky(data: Any) -> Any:
    if data.attempt == 1:
        raise ConnectionError("not at the first attempt")
    return data.input


def _late(data: Any) -> Any:
    return data.pause_for(
        type="approval", payload=data.input, interrupt_id=LATE, due_in=DUE_IN, on_due={"answer": BY_DEFAULT}
    )


def _tally(data: Any) -> None:
    leave(data, "tally")
    data.set_state("flaky", data.input["flaky"])
    data.set_state(LATE, data.input["late"])


def _awaitable(function: Any) -> Any:
    async def chunk(data: Any) -> Any:
        await asyncio.sleep(0)
        return function(data)

    return chunk


def _order(name: str, wrap: Any) -> TriggerFlow:
    flow = TriggerFlow(name=name)
    parts = flow.to(("split", wrap(_split))).for_each().for_each().to(flow.chunk("part", atomic=True)(_part))
    asked = parts.end_for_each().to(("ask", wrap(_ask))).to(flow.chunk("book", atomic=True)(_book)).end_for_each()
    flaky = flow.chunk("flaky", retries=3, backoff=0.1)(wrap(_flaky))
    asked.to(("gather", wrap(_gather))).batch(flaky, ("late", wrap(_late))).to(flow.chunk("tally", atomic=True)(_tally))
    return flow


order = _order("soak order", lambda function: function)
async_order = _order("soak async order", _awaitable)
FLOWS: Final = (order, async_order)
