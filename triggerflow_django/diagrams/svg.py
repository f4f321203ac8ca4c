"""A picture as SVG: one element, no script, no link, nothing from outside, every text escaped.

The same graph and the same states give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal
from xml.sax.saxutils import escape, quoteattr

from triggerflow_django import exceptions
from triggerflow_django.diagrams.layout import Layout, Rect, Way, layout
from triggerflow_django.diagrams.picture import Box, Picture
from triggerflow_django.diagrams.style import STYLE
from triggerflow_django.diagrams.text import clean, shortened, width, wrapped

State = Literal["done", "running", "waiting", "failed", "cancelled"]
STATES: Final = ("done", "running", "waiting", "failed", "cancelled")

_MARGIN: Final = 16.0
_TEXT: Final = 13.0
_SMALL: Final = 11.0
_LINE: Final = 16.0
_HEAD: Final = 7.0
#: Marks, drawn around the middle of a disc of radius 8.
_MARKS: Final = {
    "done": "M-3.6 .2l2.5 2.7l4.6 -5.4",
    "running": "M-2 -3.6l5.4 3.6l-5.4 3.6z",
    "waiting": "M-3 -4h6l-6 8h6z",
    "failed": "M-3 -3l6 6M3 -3l-6 6",
    "cancelled": "M-4 0h8",
}


@dataclass(frozen=True, slots=True)
class _Look:
    lines: tuple[str, ...]
    w: float
    h: float


def drawing(
    picture: Picture, states: Mapping[str, str] | None, counts: Mapping[str, int] | None, *, with_style: bool = True
) -> str:
    """The SVG. ``states`` and ``counts``: by node id, how far an execution is and how often it came there; ``None``:
    the definition only. ``with_style=False``: without the style sheet, for pages that serve ``STYLE`` themselves.

    Raises: DefinitionError (a ValueError) for a state there is none of.
    """
    unknown = sorted({repr(state) for state in (states or {}).values() if state not in STATES})
    if unknown:
        raise exceptions.DefinitionError(f"state {', '.join(unknown)}: use {', '.join(STATES)}")
    looks = {box.id: _look(box) for box in picture.boxes}
    titles = {group.id: width(clean(group.text), _SMALL) for group in picture.groups}
    placed = layout(picture, {box: (look.w, look.h) for box, look in looks.items()}, titles)
    return _Drawing(picture, placed, looks, dict(states or {}), dict(counts or {})).written(with_style)


def _look(box: Box) -> _Look:  # noqa: PLR0911 - one for each kind
    text = clean(box.text)
    match box.kind:
        case "chunk" | "sub_flow":
            lines = wrapped(text, size=_TEXT, most=165, lines=2)
            room = 28 if box.kind == "chunk" else 44
            return _sized(lines, _TEXT, room, 64, 20 + _LINE * len(lines))
        case "start" | "trigger":
            return _sized([shortened(text, size=_TEXT, most=220)], _TEXT, 30, 60, 30)
        case "when" | "collect":
            return _sized([shortened(text, size=_SMALL, most=180)], _SMALL, 34, 60, 28)
        case "label":
            return _sized([shortened(text, size=_SMALL, most=150)], _SMALL, 8, 20, 16)
        case "match":
            return _Look((text,), 44, 32)
        case "fork" | "join":
            return _Look((), 12, 12)
        case "merge":
            return _Look((), 9, 9)


def _sized(lines: list[str], size: float, room: float, least: float, height: float) -> _Look:
    return _Look(tuple(lines), round(max(least, room + max(width(line, size) for line in lines))), height)


class _Drawing:
    def __init__(
        self,
        picture: Picture,
        placed: Layout,
        looks: Mapping[str, _Look],
        states: dict[str, str],
        counts: dict[str, int],
    ) -> None:
        self.picture = picture
        self.placed = placed
        self.looks = looks
        self.states = states
        self.counts = counts
        self.boxes = {box.id: box for box in picture.boxes}

    def written(self, with_style: bool) -> str:
        shown = [state for state in STATES if state in self.states.values()]
        legend = sum(_legend_width(state) for state in shown)
        wide = max(self.placed.w, legend) + 2 * _MARGIN
        high = self.placed.h + 2 * _MARGIN + (28 if shown else 0)
        name = clean(self.picture.name)
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="tf-diagram" role="img" '
            f'viewBox="0 0 {_n(wide)} {_n(high)}" width="{_n(wide)}" height="{_n(high)}"'
            f" aria-label={quoteattr(f'Flow {name}')}>",
            f"<title>{escape(f'Flow {name}')}</title>",
            f"<desc>{escape(self.described())}</desc>",
        ]
        if with_style:
            lines.append(f"<style>{STYLE}</style>")
        lines.append(f'<rect class="tf-page" width="{_n(wide)}" height="{_n(high)}"/>')
        left = _MARGIN + (wide - 2 * _MARGIN - self.placed.w) / 2
        lines.append(f'<g transform="translate({_n(left)} {_n(_MARGIN)})">')
        for group, rect in self.placed.frames:
            title = clean(group.text)
            lines.append(f'<rect class="tf-frame" {_rect(rect)} rx="8"/>')
            lines.append(
                f'<text class="tf-small tf-left" x="{_n(rect.x + 10)}" y="{_n(rect.y + 17)}">{escape(title)}</text>'
            )
        lines += [self.way(way) for way in self.placed.ways]
        lines += [self.box(box, self.placed.boxes[box.id]) for box in self.picture.boxes]
        lines.append("</g>")
        x = _MARGIN
        for state in shown:
            y = self.placed.h + 2 * _MARGIN + 8
            lines.append(f'<g class="tf-{state}">{_mark(state, x + 8, y)}')
            lines.append(f'<text class="tf-small tf-left" x="{_n(x + 21)}" y="{_n(y + 4)}">{state}</text></g>')
            x += _legend_width(state)
        return "\n".join([*lines, "</svg>"]) + "\n"

    def described(self) -> str:
        """What a reader hears who does not see it."""
        names = [clean(box.text) for box in self.picture.boxes if box.kind in ("chunk", "sub_flow")]
        if not self.states:
            return f"Chunks: {', '.join(names)}."
        told = [
            f"{clean(box.text)}: {self.words(box)}"
            for box in self.picture.boxes
            if box.kind in ("chunk", "sub_flow") and box.node in self.states
        ]
        return ". ".join(told) + "."

    def words(self, box: Box) -> str:
        count = self.counts.get(box.node, 0)
        state = self.states.get(box.node, "")
        return f"{state}, {count} times" if count > 1 else state

    def way(self, way: Way) -> str:
        target = self.boxes[way.arrow.target]
        kind = "tf-way tf-back-way" if way.back else "tf-way"
        if way.arrow.source == way.arrow.target:
            (x, y), (far, _), _, (_, low) = way.points
            path = f"M{_n(x)} {_n(y)}C{_n(far)} {_n(y - 4)} {_n(far)} {_n(low + 4)} {_n(x + _HEAD)} {_n(low)}"
            return f'<path class="{kind}" d="{path}"/>{_head(x, low, -1, 0)}'
        points = [point for place, point in enumerate(way.points) if not place or point != way.points[place - 1]]
        (x, y), (_, before) = points[-1], points[-2]
        down = 1 if y >= before else -1
        head = ""
        if target.kind != "label":
            points[-1] = (x, y - down * (_HEAD - 1))
            head = _head(x, y, 0, down)
        return f'<path class="{kind}" d="{_path(points)}"/>{head}'

    def box(self, box: Box, rect: Rect) -> str:
        state, count = self.states.get(box.node, ""), self.counts.get(box.node, 0)
        if box.kind == "label":
            lines = self.texts(box, rect)
            return f"<g><title>{escape(clean(box.note or box.text))}</title>{lines}</g>"
        note = clean(box.note or box.text)
        words = f"{note}: {self.words(box)}" if state else note
        parts = [
            f'<g class="tf-{box.kind}{f" tf-{state}" if state else ""}"><title>{escape(words)}</title>',
            _shape(box, rect),
        ]
        parts.append(self.texts(box, rect))
        small = box.kind in ("fork", "join", "merge", "match")
        if state and not (small and state == "done"):
            parts.append(_mark(state, rect.x - (7 if small else 0), rect.y))
        if count > 1 and not small:
            text = f"\u00d7{count}"
            w = width(text, _SMALL) + 8
            pill = Rect(rect.x + rect.w - w + 6, rect.y - 8, w, 16)
            parts.append(
                f'<rect class="tf-count" {_rect(pill)} rx="8"/>'
                f'<text class="tf-small" x="{_n(rect.x + rect.w - w / 2 + 6)}" y="{_n(rect.y + 4)}">{text}</text>'
            )
        return "".join([*parts, "</g>"])

    def texts(self, box: Box, rect: Rect) -> str:
        lines = [line for line in self.looks[box.id].lines if line]
        small = ' class="tf-small"' if box.kind in ("when", "collect", "label", "match") else ""
        first = rect.y + rect.h / 2 + (4 if small else 4.5) - _LINE * (len(lines) - 1) / 2
        middle = _n(rect.x + rect.w / 2)
        return "".join(
            f'<text{small} x="{middle}" y="{_n(first + _LINE * place)}">{escape(line)}</text>'
            for place, line in enumerate(lines)
        )


def _shape(box: Box, rect: Rect) -> str:
    x, y, w, h = rect.x, rect.y, rect.w, rect.h
    match box.kind:
        case "match":
            return _polygon((x, y + h / 2), (x + w / 2, y), (x + w, y + h / 2), (x + w / 2, y + h))
        case "when" | "collect":
            return _polygon(
                (x, y + h / 2), (x + 10, y), (x + w - 10, y), (x + w, y + h / 2), (x + w - 10, y + h), (x + 10, y + h)
            )
        case "fork" | "join" | "merge":
            return f'<circle class="tf-shape" cx="{_n(x + w / 2)}" cy="{_n(y + h / 2)}" r="{_n(w / 2)}"/>'
        case "start" | "trigger":
            return f'<rect class="tf-shape" {_rect(rect)} rx="{_n(h / 2)}"/>'
        case "sub_flow":
            sides = f"M{_n(x + 8)} {_n(y)}v{_n(h)}M{_n(x + w - 8)} {_n(y)}v{_n(h)}"
            return f'<rect class="tf-shape" {_rect(rect)} rx="4"/><path class="tf-shape" d="{sides}"/>'
        case _:
            return f'<rect class="tf-shape" {_rect(rect)} rx="6"/>'


def _polygon(*points: tuple[float, float]) -> str:
    return f'<polygon class="tf-shape" points="{" ".join(f"{_n(x)},{_n(y)}" for x, y in points)}"/>'


def _rect(rect: Rect) -> str:
    return f'x="{_n(rect.x)}" y="{_n(rect.y)}" width="{_n(rect.w)}" height="{_n(rect.h)}"'


def _mark(state: str, x: float, y: float) -> str:
    return (
        f'<g transform="translate({_n(x)} {_n(y)})"><circle class="tf-disc" r="8.5"/>'
        f'<path class="tf-mark" d="{_MARKS[state]}"/></g>'
    )


def _legend_width(state: str) -> float:
    return 21 + width(state, _SMALL) + 18


def _path(points: list[tuple[float, float]]) -> str:
    (x, y), *rest = points
    made = [f"M{_n(x)} {_n(y)}"]
    for to_x, to_y in rest:
        if to_x == x:
            made.append(f"V{_n(to_y)}")
        else:
            middle = _n((y + to_y) / 2)
            made.append(f"C{_n(x)} {middle} {_n(to_x)} {middle} {_n(to_x)} {_n(to_y)}")
        x, y = to_x, to_y
    return "".join(made)


def _head(x: float, y: float, dx: int, dy: int) -> str:
    """A triangle whose tip is there and that points that way."""
    back_x, back_y = x - dx * _HEAD, y - dy * _HEAD
    wing_x, wing_y = dy * _HEAD * 0.5, dx * _HEAD * 0.5
    return (
        f'<path class="tf-head" d="M{_n(x)} {_n(y)}L{_n(back_x + wing_x)} {_n(back_y + wing_y)}'
        f'L{_n(back_x - wing_x)} {_n(back_y - wing_y)}z"/>'
    )


def _n(number: float) -> str:
    """A number in as few characters as it takes."""
    return f"{number:.1f}".removesuffix(".0")
