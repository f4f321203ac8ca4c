"""What clients saw of resumes, and whether one order of events explains it, as Jepsen checks histories.

An attempt is invoked and ends as ``ok`` (the decision is stored, says the answer), ``fail`` (it was refused) or
``unknown`` (an error, or no word at all: it may or may not have happened).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

OK, FAIL, UNKNOWN = "ok", "fail", "unknown"


@dataclass
class Attempt:
    """One call. Times are of a clock that all processes of the machine share; no word is the end of time."""

    invoked: float
    ended: float = math.inf
    outcome: str = UNKNOWN
    #: The answer that the record shows, of an ``ok``.
    shown: Any = None


@dataclass
class Resume:
    """Somebody's wish to answer a gate with a value that nobody else uses; asked again under its request id."""

    gate: str
    value: str
    request_id: str | None
    attempts: list[Attempt] = field(default_factory=list)

    def ended_as(self, outcome: str) -> bool:
        """Whether one of its attempts did."""
        return any(attempt.outcome == outcome for attempt in self.attempts)


@dataclass
class Read:
    """Somebody's look at a gate: the answer it was resumed with, ``None`` while it waits."""

    gate: str
    invoked: float
    ended: float
    shown: Any


def faults(resumes: Iterable[Resume], reads: Iterable[Read], stored: dict[str, Any]) -> list[str]:
    """What no order of events explains, in words. ``stored``: the answer of each gate in the end, ``None`` for none."""
    found: list[str] = []
    asked: dict[str, list[Resume]] = defaultdict(list)
    looked: dict[str, list[Read]] = defaultdict(list)
    for resume in resumes:
        asked[resume.gate].append(resume)
    for read in reads:
        looked[read.gate].append(read)
    for gate, answer in stored.items():
        found += [f"{gate}: {fault}" for fault in _of_one_gate(asked[gate], looked[gate], answer)]
    return found


def _of_one_gate(resumes: list[Resume], reads: list[Read], answer: Any) -> list[str]:
    found = []
    acknowledged = [resume.value for resume in resumes if resume.ended_as(OK)]
    if len(acknowledged) > 1:
        found.append(f"acknowledged {sorted(acknowledged)}")
    for value in acknowledged:
        if value != answer:
            found.append(f"acknowledged {value!r}, stored {answer!r}")
    for resume in resumes:
        for attempt in resume.attempts:
            if attempt.outcome == OK and attempt.shown != resume.value:
                found.append(f"{resume.value!r} was told that {attempt.shown!r} is stored")
    winner = next((resume for resume in resumes if resume.value == answer), None)
    if answer is not None and winner is None:
        return [*found, f"stored {answer!r}, which nobody asked for"]
    if winner is not None and not (winner.ended_as(OK) or winner.ended_as(UNKNOWN)):
        found.append(f"stored {answer!r}, which was only ever refused")
    if winner is not None and winner.request_id is not None and winner.ended_as(FAIL):
        found.append(f"stored {answer!r}, and refused when it was asked for again under its request id")
    began = winner.attempts[0].invoked if winner is not None else math.inf
    for resume in resumes:
        for attempt in resume.attempts:
            if attempt.outcome == FAIL and attempt.ended < began:
                found.append(f"{resume.value!r} was refused before anybody could have won")
    return found + _of_reads(resumes, reads, answer, began)


def _of_reads(resumes: list[Resume], reads: list[Read], answer: Any, began: float) -> list[str]:
    found = []
    #: From here on everybody must see it.
    known = min(
        [attempt.ended for resume in resumes for attempt in resume.attempts if attempt.outcome in (OK, FAIL)]
        + [read.ended for read in reads if read.shown is not None],
        default=math.inf,
    )
    for read in reads:
        if read.shown is None:
            if read.invoked > known:
                found.append("seen waiting after it was known to be resumed")
        elif read.shown != answer:
            found.append(f"seen resumed with {read.shown!r}, stored {answer!r}")
        elif read.ended < began:
            found.append(f"seen resumed with {read.shown!r} before that was asked for")
    return found
