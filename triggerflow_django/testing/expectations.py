"""``assert_pending``, ``assert_nothing_pending``, ``assert_walk``: where an execution stands, and how it got there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, TypeAlias

from triggerflow_django.handles import reading
from triggerflow_django.models import Step, StepKind, StepStatus
from triggerflow_django.runtime import bridge
from triggerflow_django.testing import report
from triggerflow_django.testing.targets import Target, locate

#: One entry of a walk: a chunk, or several in whatever order (a ``Counter`` where one of them comes more than once).
Entry: TypeAlias = str | AbstractSet[str] | Counter[str]


def assert_pending(
    execution: Target,
    *,
    types: Collection[str] | None = None,
    ids: Collection[str] | None = None,
    using: str | None = None,
) -> dict[str, dict[str, Any]]:
    """Exactly these interrupts wait, by type, by id, or both, in any order; given neither: at least one waits.

    A type that waits twice is named twice. Returns the records by id, oldest first, to look at payloads:
    ``[record] = assert_pending(execution, types=["approval"]).values()``.

    Raises: AssertionError that shows what waits and the steps; UnknownExecutionError.
    """
    pk, alias = locate(execution, using)
    pending = bridge.call(lambda: reading.pending_interrupts(pk, alias))
    problems = []
    if types is None and ids is None and not pending:
        problems.append("expected a waiting interrupt, there is none")
    for what, expected, actual in (
        ("types", types, [record["type"] for record in pending.values()]),
        ("ids", ids, list(pending)),
    ):
        wanted = [expected] if isinstance(expected, str) else expected
        if wanted is not None and Counter(wanted) != Counter(actual):
            problems.append(f"expected waiting {what} {_listed(wanted)}, found {_listed(actual)}")
    if problems:
        described = bridge.call(lambda: report.describe(pk, alias))
        raise AssertionError("\n".join([*problems, described]))
    return pending


def assert_nothing_pending(execution: Target, *, using: str | None = None) -> None:
    """No interrupt of it waits.

    Raises: AssertionError that shows what waits and the steps; UnknownExecutionError.
    """
    assert_pending(execution, ids=[], using=using)


def assert_walk(execution: Target, walk: Sequence[Entry], *, using: str | None = None) -> None:
    """Exactly these chunks have run to their end, in the order in which their steps came to be.

    Named as in the flow (node ids). A set stands for that many chunks in whatever order, for parallel branches:
    ``["ask", {"legal", "finance"}, "commit"]``. A chunk that ran several times (a loop, ``for_each``,
    ``resume_to="self"``) is named each time; attempts of one step count once. A chunk that pauses has come to its end
    when it is answered. Steps that are ready, paused, failed or cancelled are not part of the walk; the message shows
    them.

    Raises: AssertionError that says where the walks part and shows all steps; UnknownExecutionError; TypeError for a
    walk that is no list, or an entry that is neither a name nor a set.
    """
    if isinstance(walk, str | AbstractSet | Counter):
        raise TypeError(f"{walk!r} is no walk: give a list of chunk names")
    pk, alias = locate(execution, using)
    groups = [_group(entry) for entry in walk]
    walked = bridge.call(lambda: _walked(pk, alias))
    position = 0
    for group in groups:
        part = walked[position : position + group.total()]
        if Counter(part) != group:
            _fail(pk, alias, groups, walked, f"at {position + 1} expected {_told(group)}, found {_found(part)}")
        position += group.total()
    if walked[position:]:
        _fail(pk, alias, groups, walked, f"at {position + 1} expected the end, found {_found(walked[position:])}")


def _walked(pk: Any, using: str) -> list[str]:
    # Not by finished_at: leaving travel() turns the clock back.
    steps = Step.objects.using(using).filter(execution_id=pk, kind=StepKind.CHUNK, status=StepStatus.DONE)
    return list(steps.order_by("pk").values_list("node", flat=True))


def _group(entry: Any) -> Counter[str]:
    if isinstance(entry, str):
        return Counter([entry])
    if isinstance(entry, AbstractSet | Counter):
        return Counter(entry)
    raise TypeError(f"{entry!r} in a walk: give a chunk's name, or a set of names where any order will do")


def _fail(pk: Any, using: str, groups: list[Counter[str]], walked: list[str], why: str) -> None:
    lines = [
        f"another walk: {why}",
        f"expected: {', '.join(map(_told, groups)) or 'nothing'}",
        f"walked:   {', '.join(walked) or 'nothing'}",
        bridge.call(lambda: report.describe(pk, using)),
    ]
    raise AssertionError("\n".join(lines))


def _told(group: Counter[str]) -> str:
    names = list(group.elements())
    return names[0] if len(names) == 1 else f"{{{', '.join(sorted(names))}}}"


def _found(part: list[str]) -> str:
    return ", ".join(part) or "the end"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names)) or "none"
