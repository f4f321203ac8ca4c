"""What child processes run. Each takes its link to the test first; a fault may end it anywhere."""

from __future__ import annotations

import contextlib
import logging
import random
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from django.db import connection
from redis.exceptions import RedisError

from tests.faults import crashpoints, flows
from tests.faults.crashpoints import Point
from tests.faults.flows import FAILING, FLOWS, GATE, ITEMS, NOTED, ORDERS
from tests.faults.processes import Link
from triggerflow_django import TriggerFlowExecution, wakeups
from triggerflow_django.engine import claim, deadlines, hand_over, heartbeat, lifecycle
from triggerflow_django.engine import sweep as sweeping
from triggerflow_django.engine import work as working
from triggerflow_django.engine.decide import decide
from triggerflow_django.engine.sweep import sweep
from triggerflow_django.exceptions import InterruptNotWaitingError, TriggerFlowError
from triggerflow_django.models import Door
from triggerflow_django.worker import entry
from triggerflow_django.worker.workers import UnforkedWorker

ANSWER = "yes"
QUEUE = "triggerflow"


def walk(link: Link, style: str, key: str, who: str, point: Point | None = None, fault: str = "") -> str:
    """Start an order, answer its gate, close it: what a caller does who holds it to the end."""
    if point is not None:
        crashpoints.arm(link, point, fault)
    handle = ORDERS[style].start_execution(ITEMS, key=key, auto_close=False)
    handle.continue_with(GATE, ANSWER, resume_request_id="first", comment=who)
    handle.close()
    return handle.get_status()


def walk_by_bells(link: Link, style: str, key: str, who: str, point: Point, fault: str) -> str:
    """The same with runner ``rq``: this process is the caller, and the worker's child after each bell that it finds.
    Where it finds none, the rest is left to others.
    """
    flows.register()
    crashpoints.arm(link, point, fault)
    handle = ORDERS[style].start_execution(ITEMS, key=key, auto_close=False, runner="rq")
    work_while_it_rings()
    if handle.get_status() in ("waiting", "completed"):
        handle.continue_with(GATE, ANSWER, resume_request_id="first", comment=who)
        work_while_it_rings()
    if handle.get_status() == "running" and not has_work(handle):
        handle.close()
    return handle.get_status()


def has_work(handle: TriggerFlowExecution) -> bool:
    """Whether a step of it is active."""
    row = handle.row()
    return row is not None and bool(row.active_steps)


def work_while_it_rings() -> None:
    """What a worker does, and a child it forks: drain whenever a bell lies in Redis. Where Redis is away, nothing."""
    bells = wakeups.bell_queue(QUEUE)
    with contextlib.suppress(RedisError):
        while bells.connection.lpop(bells.key):
            entry.drain(QUEUE)


def answer_bells(_link: Link) -> None:
    """A worker that does what the bells in Redis ask for, until none is left. Nothing else makes it look: it does not
    sweep.
    """
    flows.register()
    worker = UnforkedWorker(wakeups.bell_queue(QUEUE))
    worker.run_maintenance_tasks = lambda: None  # type: ignore[method-assign]
    # RQ's channel for commands: leaving it takes a second.
    worker.subscribe = worker.unsubscribe = lambda: None  # type: ignore[method-assign]
    worker.work(burst=True, logging_level="WARNING")


def close_at_work(link: Link, flow_name: str, execution_id: str, point: Point, fault: str) -> str:
    """Close an execution that has ready steps, and carry them out."""
    flows.register()
    handle = FLOWS[flow_name].get_execution(execution_id)
    crashpoints.arm(link, point, fault)
    close_and_carry_out(handle, work_while_it_rings)
    return handle.get_status()


def close_and_carry_out(handle: TriggerFlowExecution, work: Callable[[], None]) -> None:
    """Ask an execution to close, cancelling what asks, and run what it still has to do: by itself, or by ``work``."""
    if handle.runs_inline:
        handle.close(pending_interrupts="cancel")
    else:
        lifecycle.request_close(handle.pk, using="default", pending_interrupts="cancel")
        work()


#: What somebody asks of an execution, by verb of the engine.
ACTS: dict[str, Callable[[TriggerFlowExecution], Any]] = {
    "cancel": lambda handle: handle.cancel(reason="not needed any more"),
    "emit": lambda handle: handle.emit("ping", 1),
    "write state": lambda handle: handle.set_state("word", 1),
    "seal": lambda handle: handle.seal(),
    "unseal": lambda handle: handle.unseal(),
    "retry": lambda handle: handle.retry(),
    "hand over": lambda handle: hand_over.hand_over(handle.pk, using="default"),
    "load": lambda handle: handle.load(handle.save(), as_new=True),
}


def act(link: Link, verb: str, flow_name: str, execution_id: str, point: Point, fault: str) -> None:
    """Ask something of an execution, as a caller, an operator or a door does."""
    flows.register()
    handle = FLOWS[flow_name].get_execution(execution_id)
    crashpoints.arm(link, point, fault)
    ACTS[verb](handle)


def start_by_hand(link: Link, runner: str, point: Point, fault: str) -> str:
    """Write state before the start, which inserts the row, and tell its id; then start."""
    flows.register()
    handle = NOTED.create_execution(auto_close=False, runner=runner)
    link.say("made", handle.id)
    crashpoints.arm(link, point, fault)
    handle.set_state("early", 1)
    handle.start(None)
    return handle.get_status()


def start_and_raise(link: Link, point: Point, fault: str) -> None:
    """``flow.start`` of a flow whose chunk raises."""
    crashpoints.arm(link, point, fault)
    FAILING.start(None)


def sweep_once(link: Link, point: Point, fault: str) -> dict[str, Any]:
    """One pass of the sweep."""
    crashpoints.arm(link, point, fault)
    return asdict(sweep(using="default"))


def sweep_by_bells(link: Link, point: Point, fault: str) -> dict[str, Any] | None:
    """One pass of a worker's sweep, which takes its turn first. ``None``: it was not its turn."""
    flows.register()
    crashpoints.arm(link, point, fault)
    report = sweeping.sweep_in_turn(using="default")
    return None if report is None else asdict(report)


def sweep_at_once(link: Link) -> dict[str, Any]:
    """One pass of the sweep by somebody who may find rows locked, and says when it begins."""
    connection.ensure_connection()
    link.say("sweeping")
    return asdict(sweep(using="default"))


def start_failing(link: Link, flow_name: str, runner: str, key: str, point: Point, fault: str) -> str:
    """Start an execution whose chunk raises."""
    flows.register()
    crashpoints.arm(link, point, fault)
    handle = FLOWS[flow_name].create_execution(key=key, auto_close=False, runner=runner)
    with contextlib.suppress(ValueError):
        handle.start(None)
    if runner == "rq":
        work_while_it_rings()
    return handle.get_status()


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


def decide_in_turn(link: Link, execution_id: str, gates: list[tuple[str, str | None, Any]], who: str) -> None:
    """Answer gates one after the other as somebody of that name, each at the test's word: (gate, request id, answer).

    Says ``answered`` with the record, or with the refusal's class and words.
    """
    handle = FLOWS["faults gates"].get_execution(execution_id)
    options: dict[str, Any] = {"door": Door.CODE, "using": "default", "graph": handle.graph_for_routing, "actor": who}
    for gate, request_id, answer in gates:
        _be_ready(link)
        try:
            record = decide(handle.pk, gate, answer, request_id=request_id, **options)
        except TriggerFlowError as error:
            link.say("answered", (type(error).__name__, str(error)))
        else:
            link.say("answered", record)


def end_in_turn(link: Link, rounds: list[tuple[str, str, str]]) -> None:
    """Take part in one race after the other, each at the test's word: (execution, interrupt, what to do).

    Says ``did`` with what came of it, or with the refusal's class and words.
    """
    verbs: dict[str, Callable[[uuid.UUID, uuid.UUID], Any]] = {
        "answer": lambda pk, _interrupt: decide(
            pk, "gate0", "by hand", door=Door.CODE, using="default", graph=FLOWS["faults gates"].graph
        )["status"],
        "close": lambda pk, _interrupt: lifecycle.request_close(pk, using="default", pending_interrupts="cancel"),
        "cancel": lambda pk, _interrupt: lifecycle.cancel(pk, using="default"),
        "deadline": lambda pk, interrupt: deadlines.pass_deadline(interrupt, pk, using="default"),
    }
    for execution_id, interrupt, verb in rounds:
        _be_ready(link)
        try:
            link.say("did", verbs[verb](uuid.UUID(execution_id), uuid.UUID(interrupt)))
        except TriggerFlowError as error:
            link.say("did", (type(error).__name__, str(error)))
