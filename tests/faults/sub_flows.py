"""What child processes run for ``test_sub_flow_faults``: a flow with sub flows two deep, and deaths at places of it."""

from __future__ import annotations

from typing import Any

from tests.faults import crashpoints
from tests.faults.crashpoints import Point, reach
from tests.faults.flows import GATE, leave
from tests.faults.processes import Link
from triggerflow_django import TriggerFlow


def _part(data: Any) -> Any:
    leave(data, "part")
    reach("part")
    return data.input


def _ask(data: Any) -> Any:
    reach("ask")
    return data.pause_for(interrupt_id=GATE)


def _book(data: Any) -> None:
    leave(data, "book")
    data.set_state("booked", data.input)
    reach("book")


def _keep(data: Any) -> None:
    leave(data, "keep")
    data.append_state("kept", data.input)
    reach("keep")


LEAF = TriggerFlow(name="faults leaf")
LEAF.to(LEAF.chunk("part", atomic=True)(_part)).to(("ask", _ask)).to(LEAF.chunk("book", atomic=True)(_book))
MIDDLE = TriggerFlow(name="faults middle")
MIDDLE.to_sub_flow(LEAF, name="inner", write_back={"value": "result.booked"}).to(
    MIDDLE.chunk("keep", atomic=True)(_keep)
)
OUTER = TriggerFlow(name="faults outer")
OUTER.batch(("left", MIDDLE), ("right", MIDDLE)).to(OUTER.chunk("keep", atomic=True)(_keep))

#: What each execution of a flow must have left, once, when all is over.
ROWS = {LEAF.name: {"part": 1, "book": 1}, MIDDLE.name: {"keep": 1}, OUTER.name: {"keep": 1}}
SNAPSHOT = {"kept": [{"left": {"kept": ["yes"]}, "right": {"kept": ["yes"]}}]}


def walk(link: Link, key: str, point: Point | None = None, fault: str = "") -> str:
    """Start, answer every question, close: what a caller does who holds it to the end."""
    if point is not None:
        crashpoints.arm(link, point, fault)
    handle = OUTER.start_execution("in", key=key, auto_close=False)
    for interrupt_id in handle.get_pending_interrupts():
        handle.continue_with(interrupt_id, "yes", resume_request_id=interrupt_id)
    handle.close()
    return handle.get_status()


def cancel(link: Link, execution_id: str, point: Point, fault: str) -> None:
    """Cancel it with all that is below."""
    handle = OUTER.get_execution(execution_id)
    crashpoints.arm(link, point, fault)
    handle.cancel(reason="not needed any more")


def answer(link: Link, execution_id: str, interrupt_id: str, who: str) -> str:
    """Answer one question, at the same moment as others do. Says whether this process did."""
    handle = OUTER.get_execution(execution_id)
    link.say("ready")
    link.wait_for("go on")
    try:
        handle.continue_with(interrupt_id, who)
    except (ValueError, RuntimeError) as error:
        return type(error).__name__
    return "answered"
