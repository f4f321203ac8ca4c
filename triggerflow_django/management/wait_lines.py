"""A ``Wait`` in words: what it is, since when, until when, and the command that moves it."""

from __future__ import annotations

import datetime as dt
import shlex
from collections.abc import Callable, Iterator
from typing import Any, Final

from triggerflow_django import conf
from triggerflow_django.engine.waits import Wait
from triggerflow_django.management import text

_INDENT: Final = "    "


def document(wait: Wait) -> dict[str, Any]:
    """A wait for ``--format json``: its particulars beside what every wait has."""
    return {
        "kind": wait.kind,
        "since": wait.since,
        "until": wait.until,
        "step": wait.step,
        "node": wait.node or None,
        **wait.facts,
    }


class _Command(list[str]):
    """Lines of a command to copy."""


Told = Iterator[str | list[str]]


def lines(
    wait: Wait, execution_id: str, now: dt.datetime, *, knows_flow: bool = True, is_over: bool = False
) -> list[str]:
    """A wait for people. ``knows_flow``: whether this process has the flow at all; else its chunks need no mention.
    ``is_over``: the execution is closed, and no command moves it.
    """
    told_of = _TOLD[wait.kind](wait, execution_id, now)
    head = text.wrapped(str(next(told_of)), "  ")
    head[0] = "* " + head[0][2:]
    told: list[str] = []
    for more in told_of:
        if isinstance(more, str):
            told += text.wrapped(more, _INDENT)
        elif not (is_over and isinstance(more, _Command)):
            told += more
    if knows_flow and not is_over and wait.facts.get("known_here") is False:
        told += text.wrapped(f"The code here has no {wait.node!r} in this flow.", _INDENT)
    return [*head, *told]


def _run(*words: str) -> _Command:
    return _Command(text.command(words, _INDENT))


def _decision(wait: Wait, execution_id: str, now: dt.datetime) -> Told:
    facts = wait.facts
    yield f"a decision: {facts['type']} {facts['interrupt']}, asked by {wait.node} {text.ago(wait.since, now)}"
    yield f"May decide: {facts['may_decide']}."
    if facts["event"]:
        yield f"The event {facts['event']} answers it too."
    if wait.until is not None:
        overdue = " OVERDUE." if facts["overdue_at"] or wait.until <= now else ""
        then = {"overdue": "it is marked overdue", "answer": "a default answer decides", "fail": "the step fails"}
        what = then.get(facts["on_due"], "an event goes on instead")
        yield f"Due {text.ago(wait.until, now)} ({text.stamp(wait.until)}), then {what}.{overdue}"
    yield text.payload(facts["payload"], _INDENT)
    # With the round: whoever reads this must not answer the next question under the same id.
    which = (execution_id, shlex.quote(facts["interrupt"]), f"--round {facts['round']}")
    yield _run("triggerflow_resume", *which, "--user NAME", "--answer FILE")


def _retry(wait: Wait, execution_id: str, now: dt.datetime) -> Told:
    error = wait.facts["error"] or {}
    attempts = text.count(wait.facts["attempt"], "attempt")
    yield f"a retry: step {wait.step} ({wait.node}) failed {text.ago(wait.since, now)} after {attempts}"
    yield f"{error.get('type', 'unknown error')}: {text.one_line(error.get('message', ''), 300)}"
    yield _run("triggerflow_retry", execution_id, f"--step {wait.step}", "--reason TEXT")


def _process(wait: Wait, _execution_id: str, now: dt.datetime) -> Told:
    attempt = f"attempt {wait.facts['attempt']}, for {text.age(wait.since, now)}"
    yield f"a process that runs step {wait.step} ({wait.node}), {attempt}"
    if wait.until is None:
        return
    if wait.facts["expired"]:
        yield (
            f"It has given no sign of life: its lease ended {text.ago(wait.until, now)}. The sweep takes the step back "
            "(a running worker does that; without one, this):"
        )
        yield _run("triggerflow_tick")
    else:
        yield f"Leased until {text.stamp(wait.until)} ({text.ago(wait.until, now)}), renewed while it lives."


def _worker(wait: Wait, _execution_id: str, now: dt.datetime) -> Told:
    queue, workers = wait.facts["queue"], wait.facts["workers"]
    yield f"a worker: step {wait.step} ({wait.node}) has been ready for {text.age(wait.since, now)}, queue {queue}"
    if workers is None:
        yield "Whether workers listen is unknown: Redis does not answer, or RQ_QUEUES has no such queue."
    elif workers:
        yield f"{text.count(workers, 'worker')} of that queue; it comes after older work."
    else:
        yield "No worker listens to that queue. Start one:"
        yield _run("triggerflow_worker", shlex.quote(queue))


def _holder(wait: Wait, execution_id: str, now: dt.datetime) -> Told:
    yield f"its process: step {wait.step} ({wait.node}) has been ready for {text.age(wait.since, now)}"
    yield "It runs inline, in the process that holds its handle. If none does, hand it to workers:"
    yield _run("triggerflow_handover", execution_id, "--reason TEXT")


def _time(wait: Wait, _execution_id: str, now: dt.datetime) -> Told:
    yield f"its time: step {wait.step} ({wait.node}) is tried again {text.ago(wait.until, now)}"
    error = wait.facts["error"]
    if error:
        yield f"Attempt {wait.facts['attempt']}: {error['type']}: {text.one_line(error['message'], 300)}"


def _code(wait: Wait, _execution_id: str, now: dt.datetime) -> Told:
    yield f"code: a worker has no {wait.node!r} for step {wait.step}, noticed {text.ago(wait.since, now)}"
    yield f"Deploy it, or the step fails by name {text.ago(wait.until, now)} and can be retried after a fix."


def _limit(wait: Wait, _execution_id: str, _now: dt.datetime) -> Told:
    yield f"a limit: step {wait.step} ({wait.node}) is held back by {wait.facts['by'] or 'a fan-out'}"
    if "limit" in wait.facts:
        yield f"{wait.facts['places']} of {wait.facts['limit']} places are taken; the next free one lets it go on."


def _sub_flow(wait: Wait, _execution_id: str, now: dt.datetime) -> Told:
    yield f"a sub flow: step {wait.step} ({wait.node}) was delegated {text.ago(wait.since, now)}"
    if "execution" in wait.facts:
        yield f"execution {wait.facts['execution']} of {wait.facts['flow']!r} is {wait.facts['status']}"


def _values(wait: Wait, _execution_id: str, _now: dt.datetime) -> Told:
    lacking = wait.facts["missing"]
    missing = f"; missing: {', '.join(lacking)}" if lacking else ""
    yield f"values: {wait.node} has {wait.facts['filled']} of {wait.facts['expected']}{missing}"


def _start(wait: Wait, _execution_id: str, now: dt.datetime) -> Told:
    yield f"its start: it was created {text.ago(wait.since, now)} and has not been started"


def _unseal(wait: Wait, execution_id: str, now: dt.datetime) -> Told:
    yield f"an end or an opening: it was sealed {text.ago(wait.since, now)} and refuses answers and events"
    yield _run("triggerflow_close", execution_id, "--reason TEXT")
    yield _run("triggerflow_seal", execution_id, "--undo", "--reason TEXT")


def _close(wait: Wait, execution_id: str, now: dt.datetime) -> Told:
    yield f"its work: it closes ({wait.facts['reason']}) as soon as no step is active"
    if wait.until is not None:
        yield f"What is left {text.ago(wait.until, now)} ({text.stamp(wait.until)}) is cancelled."
    else:
        yield "To cancel what does not end:"
        yield _run("triggerflow_close", execution_id, "--timeout 60", "--reason TEXT")


def _auto_close(wait: Wait, _execution_id: str, now: dt.datetime) -> Told:
    sweep = conf.get_settings().SWEEP_SECONDS
    yield f"the clock: it has nothing to do and closes by itself {text.ago(wait.until, now)}"
    if wait.until is not None and (now - wait.until).total_seconds() > 2 * sweep:
        yield "That is overdue: no worker sweeps here. Sweep once:"
        yield _run("triggerflow_tick")


def _event(wait: Wait, execution_id: str, _now: dt.datetime) -> Told:
    events = wait.facts["events"]
    yield "an event, or its end: it has nothing to do"
    if events:
        yield f"Its flow listens to: {', '.join(events)}."
        yield _run("triggerflow_emit", execution_id, "EVENT", "--value FILE", "--reason TEXT")
    yield _run("triggerflow_close", execution_id, "--reason TEXT")


_TOLD: Final[dict[str, Callable[[Wait, str, dt.datetime], Told]]] = {
    "start": _start,
    "decision": _decision,
    "retry": _retry,
    "process": _process,
    "worker": _worker,
    "holder": _holder,
    "time": _time,
    "code": _code,
    "limit": _limit,
    "sub_flow": _sub_flow,
    "values": _values,
    "unseal": _unseal,
    "close": _close,
    "auto_close": _auto_close,
    "event": _event,
}
