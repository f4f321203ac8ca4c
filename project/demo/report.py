"""What is printed about walked cases: a heading, two lines each, what went wrong, and a summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from project.demo.case import Case
from project.demo.roles import ROLES
from project.demo.walk import Walked, compact


def heading(cases: Sequence[Case]) -> str:
    """What is going to happen, and how to read it."""
    return (
        f"{len(cases)} cases, decided by the users {', '.join(ROLES)}. Each: ok or FAIL, the execution's status, "
        "flow/case, [who did what (and the refusal this had to meet)]; then the execution's id and its snapshot."
    )


def lines(walked: Walked) -> list[str]:
    """The execution and who did what to it; its snapshot; and each way in which it is not what the case expects."""
    case = walked.case
    acts = [f"{act.by}: {act.kind} {act.target}" + (f" ({act.refused})" if act.refused else "") for act in case.acts]
    told = "; ".join([f"{case.by} starts", *acts])
    return [
        f"{'FAIL' if walked.problems else 'ok':4} {walked.status:9} {case.path} [{told}] {walked.failure}".rstrip(),
        f"     {walked.execution_id} {compact(walked.snapshot)}",
        *(f"     ! {problem}" for problem in walked.problems),
    ]


def summary(walks: Sequence[Walked], *, seconds: float) -> str:
    """One line about all of them."""
    wrong = sum(bool(walked.problems) for walked in walks)
    flows = Counter(walked.case.flow for walked in walks)
    acts = [act for walked in walks for act in walked.case.acts]
    refused = sum(bool(act.refused) for act in acts)
    ended = "all ended as expected" if not wrong else f"{wrong} did NOT end as expected"
    return (
        f"{len(walks)} executions ({', '.join(f'{name} {count}' for name, count in sorted(flows.items()))}): {ended}; "
        f"{len(acts)} acts by people, {refused} of which had to be refused; {seconds:.1f} s"
    )
