"""Where everything of a picture goes: boxes in rows, frames around the bodies of fan-outs, and the ways of the arrows.

A frame is laid out by itself and then stands in the picture around it like one large box, so nothing foreign can lie in
it; arrows enter and leave it through ports in its upper and lower edge. Between rows arrows curve, inside a row they
run straight, in a gap that was kept free for them: no arrow runs through a box.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from triggerflow_django.diagrams import layering, placing
from triggerflow_django.diagrams.levels import Ends, Level, Levels, Point, Port, Thing, parts
from triggerflow_django.diagrams.picture import Arrow, Group, Picture

_GAP: Final = 26.0
_JOINT: Final = 11.0
_ROW_GAP: Final = 20.0
_PORT_GAP: Final = 8.0
_PAD: Final = 16.0
_HEADER: Final = 26.0
_ROW_WIDTH: Final = 1150.0
_PAGE_WIDTH: Final = 1200.0
_LOOP: Final = 26.0


@dataclass(frozen=True, slots=True)
class Rect:
    """A place: left, top, width and height."""

    x: float
    y: float
    w: float
    h: float


@dataclass(frozen=True, slots=True)
class Way:
    """An arrow as points, from its source to its target. Between two points that stand on top of one another it is
    straight, else it curves and is upright at both.
    """

    arrow: Arrow
    points: tuple[Point, ...]
    #: Whether it leads back up, or to its own source.
    back: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """A picture with places."""

    w: float
    h: float
    boxes: dict[str, Rect]
    frames: tuple[tuple[Group, Rect], ...]
    ways: tuple[Way, ...]


def layout(picture: Picture, sizes: Mapping[str, tuple[float, float]], titles: Mapping[str, float]) -> Layout:
    """Place a picture. ``sizes``: of the boxes; ``titles``: how wide the groups' titles are."""
    return _Layout(picture, sizes, titles).made()


class _Layout:
    def __init__(self, picture: Picture, sizes: Mapping[str, tuple[float, float]], titles: Mapping[str, float]) -> None:
        self.picture = picture
        self.titles = titles
        self.groups = {group.id: group for group in picture.groups}
        self.sizes: dict[Thing, tuple[float, float]] = {("box", box): size for box, size in sizes.items()}
        split = Levels(picture)
        self.levels = split.levels
        self.back = split.back
        self.sizes.update({port: (0.0, 0.0) for level in self.levels.values() for port in level.ports})
        self.loops = {arrow.source for arrow in picture.arrows if arrow.source == arrow.target}

    def made(self) -> Layout:
        for group in reversed(self.picture.groups):  # outer ones come first in the picture
            self.arrange(group.id)
            self.frame(group)
        self.arrange("")
        return self.gathered()

    # -- places

    def arrange(self, name: str) -> None:
        level = self.levels[name]
        if name:
            level.w, level.h = self.place(level, level.things, list(level.links), 0.0, 0.0)
            return
        islands = parts(level)
        # Laid out one by one, then put on shelves.
        sized = []
        for things, links in islands:
            before = len(level.pieces)
            w, h = self.place(level, things, links, 0.0, 0.0)
            sized.append((things, level.pieces[before:], w, h))
        widest = max((w for _, _, w, _ in sized), default=0.0)
        area = sum((w + _GAP) * (h + _GAP) for _, _, w, h in sized)
        page = max(widest, min(_PAGE_WIDTH, (area * 1.7) ** 0.5))
        x = y = shelf = 0.0
        for things, pieces, w, h in sized:
            if x and x + w > page:
                x, y, shelf = 0.0, y + shelf + _GAP * 1.4, 0.0
            for thing in things:
                level.at[thing] = (level.at[thing][0] + x, level.at[thing][1] + y)
            for _, points in pieces:
                points[:] = [(px + x, py + y) for px, py in points]
            level.w = max(level.w, x + w)
            x += w + _GAP * 1.4
            shelf = max(shelf, h)
        level.h = y + shelf

    def place(
        self, level: Level, things: Sequence[Thing], links: Sequence[Ends], left: float, top: float
    ) -> tuple[float, float]:
        """Place some things of a level that are linked with one another only; gives width and height."""
        halves: dict[Thing, float] = {}
        for thing in things:
            room = (
                self.sizes[thing][0] + _GAP + (2 * _LOOP if isinstance(thing, tuple) and thing[1] in self.loops else 0)
            )
            halves[thing] = room / 2
        plain = [(ends[0], ends[2]) for ends in links]
        row = layering.rows(
            things,
            plain,
            {thing: 2 * half for thing, half in halves.items()},
            most=_ROW_WIDTH,
            first=frozenset(thing for thing in things if isinstance(thing, tuple) and thing[0] == "top"),
            last=frozenset(thing for thing in things if isinstance(thing, tuple) and thing[0] == "bottom"),
        )
        chains, rows, hops = self.joints(things, plain, row, halves)
        rows = layering.arranged(rows, hops)
        leaving = Counter(upper for upper, _ in hops)
        entering = Counter(lower for _, lower in hops)
        pulls = []
        for ends, chain in zip(links, chains, strict=True):
            for index, (upper, lower) in enumerate(itertools.pairwise(chain)):
                first, last = index == 0, index == len(chain) - 2
                alone = leaving[upper] == entering[lower] == 1
                pulls.append(
                    placing.Pull(
                        upper,
                        lower,
                        self.shift(ends[0], ends[1]) if first else 0.0,
                        self.shift(ends[2], ends[3]) if last else 0.0,
                        8.0 if alone else 2.0 if first != last else 1.0,
                        alone,
                    )
                )
        x = placing.middles(rows, halves, pulls)
        start = min((x[thing] - self.sizes.get(thing, (0.0, 0.0))[0] / 2 for thing in x), default=0.0)
        x = {thing: round(middle - start + left, 1) for thing, middle in x.items()}
        bands = self.bands(rows, x, hops, top)
        for thing in things:
            w, h = self.sizes[thing]
            upper_edge, lower_edge = bands[row[thing]]
            level.at[thing] = (x[thing] - w / 2, (upper_edge + lower_edge - h) / 2)
        for ends, chain in zip(links, chains, strict=True):
            level.pieces.append((level.links[ends], self.points(level, ends, chain, row, x, bands)))
        width = max((x[thing] - left + self.sizes.get(thing, (0.0, 0.0))[0] / 2 for thing in x), default=0.0)
        if any(isinstance(thing, tuple) and thing[1] in self.loops for thing in things):
            width += _LOOP
        return width, (bands[-1][1] - top if bands else 0.0)

    def joints(
        self,
        things: Sequence[Thing],
        plain: Sequence[tuple[Thing, Thing]],
        row: Mapping[Thing, int],
        halves: dict[Thing, float],
    ) -> tuple[list[list[Thing]], list[list[Thing]], list[tuple[Thing, Thing]]]:
        """A joint in every row a link passes; the rows with them, and the links cut at them."""
        rows: list[list[Thing]] = [[] for _ in range(max(row.values(), default=-1) + 1)]
        for thing in things:
            rows[row[thing]].append(thing)
        chains: list[list[Thing]] = []
        for number, (source, target) in enumerate(plain):
            chain: list[Thing] = [source]
            for between in range(row[source] + 1, row[target]):
                joint = ("joint", number, between)
                halves[joint] = _JOINT
                rows[between].append(joint)
                chain.append(joint)
            chains.append([*chain, target])
        hops = [hop for chain in chains for hop in itertools.pairwise(chain)]
        return chains, _depth_first(rows, hops), hops

    def shift(self, thing: Thing, port: Port | None) -> float:
        """Where a link touches a thing, from its middle."""
        if port is None:
            return 0.0
        return self.levels[str(thing[1])].ports[port] - self.sizes[thing][0] / 2  # type: ignore[index]

    def bands(
        self, rows: Sequence[Sequence[Thing]], x: Mapping[Thing, float], hops: Sequence[tuple[Thing, Thing]], top: float
    ) -> list[Point]:
        """Upper and lower edge of every row."""
        where = {thing: index for index, row in enumerate(rows) for thing in row}
        reach = [0.0] * len(rows)
        for upper, lower in hops:
            reach[where[upper]] = max(reach[where[upper]], abs(x[upper] - x[lower]))
        found: list[Point] = []
        y = top
        for index, row in enumerate(rows):
            height = max((self.sizes.get(thing, (0.0, 0.0))[1] for thing in row), default=0.0)
            found.append((y, y + height))
            ports = any(isinstance(thing, tuple) and thing[0] in ("top", "bottom") for thing in row)
            below = rows[index + 1] if index + 1 < len(rows) else []
            ports = ports or any(isinstance(thing, tuple) and thing[0] == "bottom" for thing in below)
            gap = _PORT_GAP if ports and reach[index] < 1 else _ROW_GAP
            y += height + gap + min(36.0, reach[index] * 0.09)
        return found

    def points(
        self,
        level: Level,
        ends: Ends,
        chain: Sequence[Thing],
        row: Mapping[Thing, int],
        x: Mapping[Thing, float],
        bands: Sequence[Point],
    ) -> list[Point]:
        source, target = ends[0], ends[2]
        first = x[source] + self.touch(level, ends, 0, x[chain[1]] - x[source])
        last = x[target] + self.touch(level, ends, 2, x[chain[-2]] - x[target])
        low = level.at[source][1] + self.sizes[source][1]
        points = [(first, low), (first, bands[row[source]][1])]
        for joint, number in zip(chain[1:-1], range(row[source] + 1, row[target]), strict=True):
            points += [(x[joint], bands[number][0]), (x[joint], bands[number][1])]
        return [*points, (last, bands[row[target]][0]), (last, level.at[target][1])]

    def touch(self, level: Level, ends: Ends, place: Literal[0, 2], side: float) -> float:
        """As ``shift``; beside the middle for what leads back, where something else leads on there."""
        thing, port, back = ends[place], ends[place + 1], ends[4]
        if port is not None or not back or thing[0] != "box":  # type: ignore[index]
            return self.shift(thing, port)  # type: ignore[arg-type]
        if any(other[place] == thing and not other[4] for other in level.links):
            return min(26.0, self.sizes[thing][0] * 0.3) * (1 if side >= 0 else -1)
        return 0.0

    def frame(self, group: Group) -> None:
        """The size of a frame, from that of its content, and where its ports are."""
        level = self.levels[group.id]
        title = self.titles[group.id]
        tops = [level.at[thing][0] for thing in level.things if isinstance(thing, tuple) and thing[0] == "top"]
        free = title + 22 - min(tops, default=title + 22)  # the title stands left of whatever comes in
        width = max(level.w + _PAD + max(_PAD, free), title + 2 * _PAD)
        left = max(free, (width - level.w) / 2) if free > _PAD else (width - level.w) / 2
        for port in level.ports:
            level.ports[port] = level.at[port][0] + left
        self.sizes["frame", group.id] = (width, level.h + _HEADER + _PAD)
        level.at = {thing: (x + left, y + _HEADER) for thing, (x, y) in level.at.items()}
        level.pieces = [(numbers, [(x + left, y + _HEADER) for x, y in points]) for numbers, points in level.pieces]

    # -- the whole

    def gathered(self) -> Layout:
        corner: dict[str, Point] = {"": (0.0, 0.0)}
        boxes: dict[str, Rect] = {}
        frames: list[tuple[Group, Rect]] = []
        for name in ["", *(group.id for group in self.picture.groups)]:
            dx, dy = corner[name]
            for thing, (x, y) in self.levels[name].at.items():
                kind, which = thing[0], thing[1]  # type: ignore[index]
                rect = Rect(x + dx, y + dy, *self.sizes[thing])
                if kind == "box":
                    boxes[which] = rect
                elif kind == "frame":
                    corner[which] = (rect.x, rect.y)
                    frames.append((self.groups[which], rect))
        whole = self.levels[""]
        return Layout(whole.w, whole.h, boxes, tuple(frames), tuple(self.ways(corner, boxes)))

    def ways(self, corner: Mapping[str, Point], boxes: Mapping[str, Rect]) -> list[Way]:
        pieces: dict[int, list[list[Point]]] = defaultdict(list)
        for name, (dx, dy) in corner.items():
            for numbers, points in self.levels[name].pieces:
                for number in numbers:
                    pieces[number].append([(round(x + dx, 1), round(y + dy, 1)) for x, y in points])
        found = []
        for number, arrow in enumerate(self.picture.arrows):
            if arrow.source == arrow.target:
                rect = boxes[arrow.source]
                right, upper, lower = rect.x + rect.w, rect.y + rect.h * 0.3, rect.y + rect.h * 0.75
                found.append(
                    Way(arrow, ((right, upper), (right + _LOOP, upper), (right + _LOOP, lower), (right, lower)), True)
                )
                continue
            points = [point for piece in sorted(pieces[number], key=lambda piece: piece[0][1]) for point in piece]
            back = number in self.back
            found.append(Way(arrow, tuple(reversed(points)) if back else tuple(points), back))
        return found


def _depth_first(rows: Sequence[Sequence[Thing]], hops: Sequence[tuple[Thing, Thing]]) -> list[list[Thing]]:
    """The rows in the order in which a walk downwards meets the things: few crossings to begin with."""
    down: dict[Thing, list[Thing]] = defaultdict(list)
    for upper, lower in hops:
        down[upper].append(lower)
    where = {thing: index for index, row in enumerate(rows) for thing in row}
    made: list[list[Thing]] = [[] for _ in rows]
    seen: set[Thing] = set()
    for row in rows:
        for root in row:
            stack = [root]
            while stack:
                thing = stack.pop()
                if thing not in seen:
                    seen.add(thing)
                    made[where[thing]].append(thing)
                    stack.extend(reversed(down[thing]))
    return made
