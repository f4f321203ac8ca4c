"""Many walks at once: while one waits for workers, the others act.

In: walks, as ``walk.walking`` makes them. Out: what each of them gives, in their order. A walk that ran alone would
wait a moment for a worker after each act, and every one of those moments would add up.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Generator, Iterable, Iterator
from typing import Final, TypeVar

from triggerflow_django import TriggerFlowExecution
from triggerflow_django.exceptions import WaitTimeoutError
from triggerflow_django.models import Execution

_T = TypeVar("_T")
_Walk = Generator[TriggerFlowExecution, None, _T]

#: Seconds between two looks at what has settled.
_PAUSE: Final = 0.03


def in_order(walks: Iterable[_Walk[_T]], *, at_once: int, timeout: float = 60.0) -> Iterator[_T]:
    """Go on with each walk whose execution has settled, ``at_once`` of them at most; give their results in their order,
    each as soon as it and all before it have ended.

    ``timeout``: seconds in which at least one has to settle.

    Raises: WaitTimeoutError; what a walk raises.
    """
    coming = enumerate(walks)
    under_way: dict[uuid.UUID, tuple[int, _Walk[_T]]] = {}
    results: dict[int, _T] = {}
    given = 0
    moved_at = time.monotonic()
    while True:
        found = [under_way.pop(pk) for pk in _settled(list(under_way))]
        while len(under_way) + len(found) < at_once and (fresh := next(coming, None)) is not None:
            found.append(fresh)
        for number, walk in found:
            moved_at = time.monotonic()
            try:
                under_way[next(walk).pk] = number, walk
            except StopIteration as ended:
                results[number] = ended.value
        while given in results:
            yield results.pop(given)
            given += 1
        if found:
            continue
        if not under_way:
            return
        if time.monotonic() - moved_at > timeout:
            raise WaitTimeoutError(
                f"none of {len(under_way)} executions settled within {timeout:g} s; does a worker run? The first: "
                f"{next(iter(under_way)).hex}"
            )
        time.sleep(_PAUSE)


def _settled(ids: list[uuid.UUID]) -> list[uuid.UUID]:
    """Those of which nothing is active."""
    settled = set(Execution.objects.filter(pk__in=ids, active_steps=0).values_list("pk", flat=True)) if ids else set()
    return [pk for pk in ids if pk in settled]
