"""What child processes run. Each takes its link to the test first; a fault may end it anywhere."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from django.db import connection

from tests.faults import crashpoints, flows
from tests.faults.crashpoints import Point
from tests.faults.flows import FAILING, FLOWS, GATE, ITEMS, ORDERS
from tests.faults.processes import Link
from triggerflow_django.engine import claim, heartbeat
from triggerflow_django.engine import work as working
from triggerflow_django.engine.decide import decide
from triggerflow_django.engine.sweep import sweep
from triggerflow_django.exceptions import InterruptNotWaitingError
from triggerflow_django.models import Door

ANSWER = "yes"


def walk(link: Link, style: str, key: str, who: str, point: Point | None = None, fault: str = "") -> str:
    """Start an order, answer its gate, close it: what a caller does who holds it to the end."""
    if point is not None:
        crashpoints.arm(link, point, fault)
    handle = ORDERS[style].start_execution(ITEMS, key=key, auto_close=False)
    handle.continue_with(GATE, ANSWER, resume_request_id="first", comment=who)
    handle.close()
    return handle.get_status()


def sweep_once(link: Link, point: Point, fault: str) -> dict[str, Any]:
    """One pass of the sweep."""
    crashpoints.arm(link, point, fault)
    return asdict(sweep(using="default"))


def start_failing(link: Link, key: str, point: Point, fault: str) -> str:
    """Start an order whose chunk raises."""
    crashpoints.arm(link, point, fault)
    return FAILING.start_execution(None, key=key, auto_close=False).get_status()


def cancel(link: Link, execution_id: str, point: Point, fault: str) -> None:
    """Cancel a waiting order."""
    handle = ORDERS["sync"].get_execution(execution_id)
    crashpoints.arm(link, point, fault)
    handle.cancel(reason="not needed any more")


def drain(link: Link, flow_name: str, execution_id: str, point: Point | None = None, fault: str = "") -> int:
    """Run what is ready of an execution. Returns how many steps this process found taken over when it committed."""
    fenced: list[int] = []
    _listen_for_fences(lambda: fenced.append(1))
    flows.link = link
    handle = FLOWS[flow_name].get_execution(execution_id)
    if point is not None:
        crashpoints.arm(link, point, fault)
    handle.drain_operation().drain.run()
    return len(fenced)


def drain_with_little_patience(link: Link, flow_name: str, execution_id: str) -> int:
    """Like ``drain``; a chunk that outlives its timeout by 0.2 s is given up."""
    working._OVERTIME = 0.2  # type: ignore[misc]
    return drain(link, flow_name, execution_id)


def drain_with_a_quick_heart(link: Link, flow_name: str, execution_id: str, point: Point, fault: str) -> int:
    """Like ``drain``; leases are renewed ten times a second, so that a busy machine does not look like a dead one."""
    heartbeat.Heartbeat.interval = staticmethod(lambda: 0.1)  # type: ignore[method-assign]
    return drain(link, flow_name, execution_id, point, fault)


def drain_to_be_frozen(link: Link, flow_name: str, execution_id: str, point: Point, fault: str) -> int:
    """Like ``drain``. On SQLite without a heartbeat: a process frozen while that writes would hold the only lock."""
    if connection.vendor == "sqlite":
        heartbeat.renew = lambda _lease: 0
    return drain(link, flow_name, execution_id, point, fault)


def drain_at_the_word(link: Link, flow_name: str, execution_id: str) -> int:
    """Like ``drain``, once the test says so, with everything at hand by then."""
    _be_ready(link)
    return drain(link, flow_name, execution_id)


def _be_ready(link: Link) -> None:
    connection.ensure_connection()
    link.say("ready")
    link.wait_for("go on")


def start_with_key(link: Link, key: str, value: Any) -> str:
    """Start an order under a key, at the test's word. Returns the id of the execution it led to."""
    _be_ready(link)
    return ORDERS["sync"].start_execution(value, key=key, auto_close=False).id


def decide_all(link: Link, execution_id: str, count: int, who: str) -> None:
    """Answer one gate after the other, each at the test's word, at the same time as somebody else."""
    handle = FLOWS["faults gates"].get_execution(execution_id)
    for number in range(count):
        _be_ready(link)
        try:
            decide(handle.pk, f"gate{number}", who, door=Door.CODE, using="default", graph=handle.graph_for_routing)
        except InterruptNotWaitingError as error:
            link.say("answered", type(error).__name__)
        else:
            link.say("answered", "won")


def work(link: Link) -> None:
    """What a worker does until somebody kills it: sweep, look for an execution with ready steps, run them.

    Says ``fenced`` whenever it finds a step taken over.
    """
    _listen_for_fences(lambda: link.say("fenced"))
    dice = random.Random()  # noqa: S311 - which of several executions, no secret
    while True:
        sweep(using="default")
        ready = claim.ready("default").order_by().values_list("execution_id", "execution__flow_name").distinct()
        if found := list(ready[:100]):
            execution_id, flow_name = dice.choice(found)
            FLOWS[flow_name].get_execution(execution_id).drain_operation().drain.run()
        else:
            time.sleep(0.01)


def walk_many(link: Link, name: str, count: int) -> int:
    """Take so many orders from start to end, one after the other. How many came to their end."""
    _be_ready(link)
    return sum(walk(link, "sync", f"{name} {number}", name) == "completed" for number in range(count))


def _listen_for_fences(tell: Callable[[], None]) -> None:
    """Be told whenever the drain reports a step that is not its own any more."""

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage() == "triggerflow.step.fenced":
                tell()

    logger = logging.getLogger("triggerflow_django.engine.drain")
    logger.addHandler(Listener())
    logger.setLevel(logging.INFO)
