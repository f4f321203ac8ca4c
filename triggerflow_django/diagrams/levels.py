"""A picture in levels: the whole, and the inside of every frame; each arrow cut into the pieces it has in each level.

A frame is one thing in the level around it. An arrow into it or out of it goes through a port, a thing without size in
the frame's first or last row. What leads back up is turned round first, so every link leads downwards.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass, field

from triggerflow_django.diagrams import layering
from triggerflow_django.diagrams.picture import Picture

Thing = Hashable
Port = tuple[str, str, bool]
Point = tuple[float, float]
#: (thing, its port, thing, its port, whether it leads back): what a link joins within one level; a port only where the
#: thing is a frame.
Ends = tuple[Thing, "Port | None", Thing, "Port | None", bool]


@dataclass(slots=True)
class Level:
    """The inside of a frame, or the whole."""

    things: list[Thing] = field(default_factory=list)
    links: dict[Ends, list[int]] = field(default_factory=dict)
    w: float = 0.0
    h: float = 0.0
    #: From the left upper corner of the content: the corner of each thing, and the pieces of arrows.
    at: dict[Thing, Point] = field(default_factory=dict)
    pieces: list[tuple[list[int], list[Point]]] = field(default_factory=list)
    ports: dict[Port, float] = field(default_factory=dict)


class Levels:
    """The levels of a picture; ``back``: the arrows, by number, that lead back up or to a level's own beginning."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self.groups = {group.id: group for group in picture.groups}
        self.around = {box: group.id for group in picture.groups for box in group.boxes}
        self.levels: dict[str, Level] = defaultdict(Level)
        self.back: set[int] = set()
        for box in picture.boxes:
            self.levels[self.around.get(box.id, "")].things.append(("box", box.id))
        for group in picture.groups:
            self.levels[group.parent].things.append(("frame", group.id))
        self._link()

    def _link(self) -> None:
        """Turn round what leads back, and cut every arrow into the pieces it has in each level."""
        meets: dict[str, list[tuple[int, Thing, Thing]]] = defaultdict(list)
        for number, arrow in enumerate(self.picture.arrows):
            if arrow.source != arrow.target:
                level, source, target = self._meeting(arrow.source, arrow.target)
                meets[level].append((number, source, target))
        for level, links in meets.items():
            turned = layering.turned(self.levels[level].things, [(source, target) for _, source, target in links])
            self.back.update(links[position][0] for position in turned)
        for level, links in meets.items():
            for number, source, target in links:
                self._cut(number, level, source, target)

    def _cut(self, number: int, level: str, source: Thing, target: Thing) -> None:
        arrow, back = self.picture.arrows[number], number in self.back
        upper, lower = (arrow.target, arrow.source) if back else (arrow.source, arrow.target)
        if back:
            source, target = target, source
        out: Port = ("bottom", upper, back)
        into: Port = ("top", lower, back)
        for inner, thing in self._way_out(upper, level):
            port = self._port(inner, out)
            self._join(inner, (thing, out if thing != ("box", upper) else None, port, None, back), number)
        for inner, thing in reversed(self._way_out(lower, level)):
            port = self._port(inner, into)
            self._join(inner, (port, None, thing, into if thing != ("box", lower) else None, back), number)
        ends = (
            source, out if source != ("box", upper) else None,
            target, into if target != ("box", lower) else None, back,
        )  # fmt: skip
        self._join(level, ends, number)

    def _join(self, level: str, ends: Ends, number: int) -> None:
        self.levels[level].links.setdefault(ends, []).append(number)

    def _port(self, level: str, port: Port) -> Thing:
        if port not in self.levels[level].ports:
            self.levels[level].ports[port] = 0.0
            self.levels[level].things.append(port)
        return port

    def _chain(self, box: str) -> list[str]:
        """The levels a box is in, the innermost first."""
        level = self.around.get(box, "")
        found = [level]
        while level:
            level = self.groups[level].parent
            found.append(level)
        return found

    def _meeting(self, source: str, target: str) -> tuple[str, Thing, Thing]:
        """The innermost level with both, and what stands for each there."""
        others = self._chain(target)
        level = next(level for level in self._chain(source) if level in others)
        return level, self._standing(source, level), self._standing(target, level)

    def _standing(self, box: str, level: str) -> Thing:
        chain = self._chain(box)
        place = chain.index(level)
        return ("frame", chain[place - 1]) if place else ("box", box)

    def _way_out(self, box: str, level: str) -> list[tuple[str, Thing]]:
        """The levels from that of a box up to (without) another, with what stands for the box there."""
        chain = self._chain(box)
        return [(inner, self._standing(box, inner)) for inner in chain[: chain.index(level)]]


def parts(level: Level) -> list[tuple[list[Thing], list[Ends]]]:
    """The things of a level that are linked with one another, with their links."""
    part: dict[Thing, list[Thing]] = {thing: [thing] for thing in level.things}
    for source, _, target, _, _ in level.links:
        one, other = part[source], part[target]
        if one is not other:
            one.extend(other)
            for thing in other:
                part[thing] = one
    order = {thing: index for index, thing in enumerate(level.things)}
    found: dict[int, tuple[list[Thing], list[Ends]]] = {}
    for thing in level.things:
        things = part[thing]
        if id(things) not in found:
            found[id(things)] = (sorted(things, key=order.__getitem__), [])
    for ends in level.links:
        found[id(part[ends[0]])][1].append(ends)
    return list(found.values())
