"""Which row each thing of a drawing is in, and in which order they stand there (Sugiyama's method).

Circles are broken by turning some links round, rows follow from the longest way to each thing, a link that spans rows
gets a joint in each of them, and barycenter sweeps reduce crossings. The same input gives the same output.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, insort
from collections.abc import Hashable, Mapping, Sequence
from typing import Final

Thing = Hashable
Link = tuple[Thing, Thing]
Rows = list[list[Thing]]

_SWEEPS: Final = 12


def turned(things: Sequence[Thing], links: Sequence[Link]) -> set[int]:
    """The links (by position) that lead back: turned round, the rest has no circle."""
    out: dict[Thing, list[tuple[int, Thing]]] = {thing: [] for thing in things}
    entered = set()
    for position, (source, target) in enumerate(links):
        out[source].append((position, target))
        entered.add(target)
    back: set[int] = set()
    done: set[Thing] = set()
    for root in [*(thing for thing in things if thing not in entered), *things]:
        if root in done:
            continue
        done.add(root)
        open_: dict[Thing, None] = {root: None}
        stack = [(root, iter(out[root]))]
        while stack:
            thing, ways = stack[-1]
            for position, target in ways:
                if target in open_:
                    back.add(position)
                elif target not in done:
                    done.add(target)
                    open_[target] = None
                    stack.append((target, iter(out[target])))
                    break
            else:
                stack.pop()
                del open_[thing]
    return back


def rows(
    things: Sequence[Thing],
    links: Sequence[Link],
    widths: Mapping[Thing, float],
    *,
    most: float,
    first: frozenset[Thing] = frozenset(),
    last: frozenset[Thing] = frozenset(),
) -> dict[Thing, int]:
    """The row of each thing, from 0; no link is level or leads upwards (there must be no circle). A row wider than
    ``most`` becomes several. ``first`` and ``last`` are alone in the first and the last row.
    """
    into: dict[Thing, list[Thing]] = {thing: [] for thing in things}
    out: dict[Thing, list[Thing]] = {thing: [] for thing in things}
    for source, target in links:
        into[target].append(source)
        out[source].append(target)
    order = _sorted(things, into, out)
    row: dict[Thing, int] = {}
    for thing in order:
        row[thing] = max((row[source] + 1 for source in into[thing]), default=0)
    for thing in reversed(order):  # close to what it leads to, where that makes links shorter
        if len(into[thing]) < len(out[thing]):
            row[thing] = max(row[thing], min(row[target] for target in out[thing]) - 1)
    return _split({thing: row[thing] for thing in order}, widths, most, first, last)


def _sorted(
    things: Sequence[Thing], into: Mapping[Thing, Sequence[Thing]], out: Mapping[Thing, Sequence[Thing]]
) -> list[Thing]:
    waiting = {thing: len(into[thing]) for thing in things}
    order = [thing for thing in things if not waiting[thing]]
    for thing in order:
        for target in out[thing]:
            waiting[target] -= 1
            if not waiting[target]:
                order.append(target)
    return order


def _split(
    row: dict[Thing, int], widths: Mapping[Thing, float], most: float, first: frozenset[Thing], last: frozenset[Thing]
) -> dict[Thing, int]:
    made: dict[Thing, int] = dict.fromkeys(first, 0)
    number = 1 if first else 0
    for old in sorted(set(row.values())):
        there = [thing for thing in row if row[thing] == old and thing not in first and thing not in last]
        if not there:
            continue
        count = max(1, min(len(there), -int(-sum(widths[thing] for thing in there) // most)))
        for place, thing in enumerate(there):
            made[thing] = number + place % count
        number += count
    made.update(dict.fromkeys(last, number))
    return made


def arranged(start: Rows, links: Sequence[Link]) -> Rows:
    """The rows with few crossings. Every link leads from a thing in one row to one in the next."""
    up: dict[Thing, list[Thing]] = {}
    down: dict[Thing, list[Thing]] = {}
    for source, target in links:
        down.setdefault(source, []).append(target)
        up.setdefault(target, []).append(source)
    best, fewest = start, _crossings(start, down)
    now = [list(row) for row in start]
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        downwards = sweep % 2 == 0
        for index in range(1, len(now)) if downwards else range(len(now) - 2, -1, -1):
            beside = now[index - 1 if downwards else index + 1]
            _sort(now[index], beside, up if downwards else down)
        count = _crossings(now, down)
        if count < fewest:
            best, fewest = [list(row) for row in now], count
    return best


def _sort(row: list[Thing], beside: Sequence[Thing], links: Mapping[Thing, Sequence[Thing]]) -> None:
    """Order a row by the means of where its neighbours stand; what has none keeps its place."""
    place = {thing: index for index, thing in enumerate(beside)}
    means: dict[Thing, float] = {}
    for thing in row:
        near = [place[other] for other in links.get(thing, ())]
        if near:
            means[thing] = sum(near) / len(near)
    movable = iter(sorted((thing for thing in row if thing in means), key=means.__getitem__))
    row[:] = [next(movable) if thing in means else thing for thing in row]


def _crossings(now: Rows, down: Mapping[Thing, Sequence[Thing]]) -> int:
    count = 0
    for upper, lower in itertools.pairwise(now):
        place = {thing: index for index, thing in enumerate(lower)}
        seen: list[int] = []
        for thing in upper:
            ends = sorted(place[target] for target in down.get(thing, ()))
            count += sum(len(seen) - bisect_left(seen, end + 1) for end in ends)
            for end in ends:
                insort(seen, end)
    return count
