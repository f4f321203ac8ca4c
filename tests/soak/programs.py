"""What the soak's processes run, forked from the warm one: RQ workers, and people who answer."""

from __future__ import annotations

import itertools
import logging
import os
import random
import time
from pathlib import Path
from typing import Any, Final

from django.db import Error, connections
from django.db.models import F

from tests.faults.processes import Link
from tests.soak import controls, flows, records
from triggerflow_django import wakeups
from triggerflow_django.engine.decide import decide
from triggerflow_django.exceptions import ExecutionNotOpenError, InterruptNotWaitingError, RequestIdConflictError
from triggerflow_django.models import Door, Interrupt, InterruptStatus
from triggerflow_django.worker.workers import TriggerFlowWorker

#: All deciders look at the same moments, so that they are after the same questions.
_BEAT: Final = 0.2
_AT_ONCE: Final = 20


def work(_link: Link, folder: str, control: str) -> None:
    """An RQ worker, as ``manage.py triggerflow_worker`` starts it."""
    records.keep_log(Path(folder))
    controls.switch_on(control)
    logging.getLogger("rq").setLevel(logging.CRITICAL)
    queue = wakeups.bell_queue("triggerflow")
    TriggerFlowWorker(queue, name=f"soak.{os.getpid()}.{time.monotonic_ns()}").work(logging_level="CRITICAL")


def answer(_link: Link, folder: str, control: str, who: str, seed: int) -> None:
    """A decider: answers whatever waits, in its own words and under its own request ids, until it is killed.

    Whoever heard nothing (the database was gone) asks again; now and then it also asks again though it heard.
    """
    records.keep_log(Path(folder))
    controls.switch_on(control)
    dice = random.Random(seed)  # noqa: S311 - no secret
    for turn in itertools.count():
        time.sleep(_BEAT - time.time() % _BEAT)
        try:
            found = list(_waiting())
        except Error:
            connections.close_all()
            continue
        for interrupt in found:
            _answer(interrupt, Path(folder), who, turn, dice)


def _waiting() -> Any:
    """What waits, oldest first; questions with a deadline only where people may race it."""
    waiting = Interrupt.objects.filter(status=InterruptStatus.WAITING).order_by("created_at")
    found = waiting.only("interrupt_id", "execution_id").annotate(key=F("execution__key"))
    for interrupt in found[:_AT_ONCE]:
        if interrupt.interrupt_id != flows.LATE or flows.is_raced(int(interrupt.key.split(" ")[1])):
            yield interrupt


def _answer(interrupt: Interrupt, folder: Path, who: str, turn: int, dice: random.Random) -> None:
    payload = {"gate": interrupt.interrupt_id, "by": who, "turn": turn}
    request = f"{who} {interrupt.pk.hex} {turn}"
    asked_again = dice.random() < 0.2
    try:
        outcome = _ask(interrupt, payload, request)
        if asked_again and outcome == "won":
            outcome = _ask_twice(interrupt, payload, request)
    except Error as error:
        connections.close_all()
        outcome = f"unknown: {type(error).__name__}"
    records.append(folder, records.ANSWERS, outcome, interrupt.pk.hex, request, payload)


def _ask_twice(interrupt: Interrupt, payload: Any, request: str) -> str:
    """After an answer that won: the same again, and another one under the same request id, which is refused."""
    again = _ask(interrupt, payload, request)
    if again != "won":
        return f"won, and asked again: {again}"
    try:
        _ask(interrupt, {"another": "answer"}, request)
    except RequestIdConflictError:
        return "won, replayed"
    return "won, and another answer was taken under the same request id"


def _ask(interrupt: Interrupt, payload: Any, request: str) -> str:
    """``won`` or ``conflict``; asks again while nothing is heard.

    Raises: Error where nothing is heard for too long.
    """
    for attempt in itertools.count(1):
        try:
            record = decide(
                interrupt.execution_id,
                interrupt.interrupt_id,
                payload,
                door=Door.CODE,
                using="default",
                request_id=request,
            )
        except (InterruptNotWaitingError, ExecutionNotOpenError):
            return "conflict"
        except Error:
            connections.close_all()
            if attempt == 100:  # the database is back by then
                raise
            time.sleep(0.1)
        else:
            return "won" if record["resume_value"] == payload else f"won with another answer: {record['resume_value']}"
    raise AssertionError("unreachable")
