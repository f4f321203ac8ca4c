"""How far to the right each thing of a drawing stands, its row and its place in the row given.

Each sweep asks every thing where its neighbours in the next row would like it, and gives each row the places nearest to
those wishes that keep order and distance: a least-squares problem that pooling adjacent violators solves exactly. At
the end every line of things that have but one another is pulled straight as far as there is room.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

Thing = Hashable

_SWEEPS: Final = 10
_STRAIGHTENINGS: Final = 4


@dataclass(frozen=True, slots=True)
class Pull:
    """A link between neighbouring rows: where it leaves the one and enters the other, from their middles, and how
    much it wants to be straight.
    """

    upper: Thing
    lower: Thing
    upper_port: float
    lower_port: float
    weight: float
    #: Whether the upper leads to nothing else and nothing else leads to the lower.
    alone: bool


def middles(
    rows: Sequence[Sequence[Thing]], halves: Mapping[Thing, float], pulls: Sequence[Pull]
) -> dict[Thing, float]:
    """The middle of each thing; ``halves``: half of the room each takes, the distance to its neighbours included."""
    x: dict[Thing, float] = {}
    for row in rows:
        at = 0.0
        for thing in row:
            x[thing] = at + halves[thing]
            at += 2 * halves[thing]
    above: dict[Thing, list[tuple[Thing, float, float]]] = {}
    below: dict[Thing, list[tuple[Thing, float, float]]] = {}
    for pull in pulls:
        shift = pull.upper_port - pull.lower_port
        above.setdefault(pull.lower, []).append((pull.upper, shift, pull.weight))
        below.setdefault(pull.upper, []).append((pull.lower, -shift, pull.weight))
    for sweep in range(_SWEEPS):
        for row in rows:
            _settle(row, x, halves, [above])
        for row in reversed(rows):
            _settle(row, x, halves, [below] if sweep < _SWEEPS - 2 else [above, below])
    lines = _lines([pull for pull in pulls if pull.alone])
    room = _rooms(rows, x, halves)
    for _ in range(_STRAIGHTENINGS):
        for line in lines:
            _straighten(line, x, room)
    return x


def _lines(pulls: Sequence[Pull]) -> list[list[tuple[Thing, float]]]:
    """The lines of things that have but one another, the longest first: each thing, and how far right of the first."""
    after = {pull.upper: (pull.lower, pull.upper_port - pull.lower_port) for pull in pulls}
    lowers = {pull.lower for pull in pulls}
    found = []
    for thing in after:
        if thing not in lowers:
            line = [(thing, 0.0)]
            while (below := after.get(line[-1][0])) is not None:
                line.append((below[0], line[-1][1] + below[1]))
            found.append(line)
    return sorted(found, key=len, reverse=True)


def _rooms(
    rows: Sequence[Sequence[Thing]], x: Mapping[Thing, float], halves: Mapping[Thing, float]
) -> Callable[[Thing], tuple[float, float]]:
    """Between where and where each thing could stand, its neighbours as they are."""
    beside: dict[Thing, tuple[Thing | None, Thing | None]] = {}
    for row in rows:
        for index, thing in enumerate(row):
            beside[thing] = (row[index - 1] if index else None, row[index + 1] if index + 1 < len(row) else None)

    def room(thing: Thing) -> tuple[float, float]:
        left, right = beside[thing]
        return (
            float("-inf") if left is None else x[left] + halves[left] + halves[thing],
            float("inf") if right is None else x[right] - halves[right] - halves[thing],
        )

    return room


def _straighten(
    line: Sequence[tuple[Thing, float]], x: dict[Thing, float], room: Callable[[Thing], tuple[float, float]]
) -> None:
    """Put the things of a line below one another; where no place suits all, in as few stretches as can be."""
    rest = list(line)
    while rest:
        low, high, count = float("-inf"), float("inf"), 0
        for thing, shift in rest:
            left, right = room(thing)
            if max(low, left - shift) > min(high, right - shift) + 1e-6:
                break
            low, high, count = max(low, left - shift), min(high, right - shift), count + 1
        count = max(count, 1)
        stretch, rest = rest[:count], rest[count:]
        wish = sum(x[thing] - shift for thing, shift in stretch) / count
        place = min(max(wish, low), high)
        for thing, shift in stretch:
            x[thing] = place + shift


def _settle(
    row: Sequence[Thing],
    x: dict[Thing, float],
    halves: Mapping[Thing, float],
    links: Sequence[Mapping[Thing, Sequence[tuple[Thing, float, float]]]],
) -> None:
    wishes: list[tuple[float, float]] = []
    for thing in row:
        near = [link for found in links for link in found.get(thing, ())]
        weight = sum(link[2] for link in near)
        wishes.append(
            (sum((x[other] + shift) * w for other, shift, w in near) / weight, weight) if near else (x[thing], 0.05)
        )
    # Without the distances it is: values that must not fall, as near as can be to the wishes.
    offset = 0.0
    offsets: list[float] = []
    for place, thing in enumerate(row):
        offset += halves[thing] + (halves[row[place - 1]] if place else 0.0)
        offsets.append(offset)
    pools: list[tuple[float, float, int]] = []
    for (wish, weight), shift in zip(wishes, offsets, strict=True):
        mean, total, count = wish - shift, weight, 1
        while pools and pools[-1][0] > mean:
            other, other_total, other_count = pools.pop()
            mean = (mean * total + other * other_total) / (total + other_total)
            total += other_total
            count += other_count
        pools.append((mean, total, count))
    places = [mean for mean, _, count in pools for _ in range(count)]
    for thing, found, shift in zip(row, places, offsets, strict=True):
        x[thing] = found + shift
