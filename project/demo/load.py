"""Fill a database for people to look at: most cases are walked to their end, the others wait for an answer.

In: cases, users. Out: what was started. Guarantee: a second time changes nothing, whatever people have done with the
executions meanwhile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from project.demo import together
from project.demo.case import Act, Case
from project.demo.walk import acting, key_of, walking
from triggerflow_django import TriggerFlowExecution
from triggerflow_django.models import Execution, Interrupt, InterruptStatus

#: Told apart from the walks of ``manage.py demo --once`` on the same database.
RUN: Final = "demo"
#: Every so many'th case that asks somebody is left for people to answer.
_LEFT: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What one call did."""

    started: int
    #: Cases whose execution was there before.
    known: int
    #: Where a started execution is not as its case expects.
    problems: tuple[str, ...]


def load(cases: Sequence[Case], *, users: Mapping[str, Any], at_once: int) -> Loaded:
    """Start what is not there yet.

    Raises: WaitTimeoutError.
    """
    there = set(Execution.objects.filter(key__in=[key_of(case, RUN) for case in cases]).values_list("flow_name", "key"))
    missing = [case for case in cases if (case.flow, key_of(case, RUN)) not in there]
    left = left_open(cases)
    walks = [
        _until_somebody_is_asked(case, left[case.path], users) if case.path in left else _to_the_end(case, users)
        for case in missing
    ]
    problems = [problem for found in together.in_order(walks, at_once=at_once) for problem in found]
    return Loaded(started=len(missing), known=len(there), problems=tuple(problems))


def left_open(cases: Sequence[Case]) -> dict[str, tuple[Act, ...]]:
    """The cases that are left for people to answer, by path, with what was done to them before: of each flow's cases in
    which somebody answers every third, in turn with all answers still to come or only the last one.
    """
    seen: Counter[str] = Counter()
    found: dict[str, tuple[Act, ...]] = {}
    for case in cases:
        answers = _answers(case)
        if answers:
            if seen[case.flow] % _LEFT == 0:
                found[case.path] = case.acts[: answers[-1] if len(found) % 2 else answers[0]]
            seen[case.flow] += 1
    return found


def _answers(case: Case) -> list[int]:
    """Which of the case's acts answer something. The same request again does not."""
    found, requests = [], set()
    for number, act in enumerate(case.acts):
        if act.kind == "answer" and not act.refused and act.request not in requests:
            found.append(number)
        if act.request is not None:
            requests.add(act.request)
    return found


def waiting() -> tuple[int, int]:
    """How many questions wait, in how many executions."""
    found = Interrupt.objects.filter(status=InterruptStatus.WAITING, execution__key__endswith=f"#{RUN}")
    return found.count(), found.values("execution").distinct().count()


_Walk = Generator[TriggerFlowExecution, None, tuple[str, ...]]


def _to_the_end(case: Case, users: Mapping[str, Any]) -> _Walk:
    walked = yield from walking(case, users=users, run=RUN)
    return _told(case, walked.problems)


def _until_somebody_is_asked(case: Case, acts: Sequence[Act], users: Mapping[str, Any]) -> _Walk:
    execution, problems = yield from acting(case, acts, users=users, run=RUN)
    if not execution.get_pending_interrupts():
        problems.append("nobody is asked anything")
    return _told(case, problems)


def _told(case: Case, problems: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{case.path}: {problem}" for problem in problems)
