"""Which boxes lie inside which fan-out, so that a drawing can put a frame around them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

Leads = Mapping[str, Sequence[str]]


def bodies(leads: Leads, openers: Mapping[str, str]) -> list[tuple[str, tuple[str, ...], str]]:
    """For every opener (a fan-out's first box) and its end: ``(opener, boxes of its body, the opener around it)``,
    outer ones first. A box is in the innermost body only.

    In a body is what the opener leads to before its end, and nothing else leads to: not what a chain from elsewhere
    also runs into, and not what comes after the end.
    """
    found: dict[str, set[str]] = {}
    roots = _roots(leads)
    for opener, end in openers.items():
        inside = _reached(leads, leads.get(opener, ()), {end})
        elsewhere = _reached(leads, [root for root in roots if root != opener], {opener})
        after = _reached(leads, leads.get(end, ()), {opener})
        found[opener] = (inside - elsewhere - after - {end}) | {opener, end}
    nested = sorted(found, key=lambda opener: -len(found[opener]))  # outer ones first; sorted() keeps the order of ties
    parents: dict[str, str] = {}
    for position, opener in enumerate(nested):
        around = [other for other in nested[:position] if opener in found[other]]
        parents[opener] = around[-1] if around else ""
        if around:
            found[opener] &= found[around[-1]]
    innermost = {box: opener for opener in nested for box in found[opener]}
    return [(opener, tuple(box for box in leads if innermost.get(box) == opener), parents[opener]) for opener in nested]


def _roots(leads: Leads) -> list[str]:
    """Boxes nothing leads to; where a circle has no such box, its first."""
    led_to = {target for targets in leads.values() for target in targets}
    roots = [box for box in leads if box not in led_to]
    reached = _reached(leads, roots, set())
    for box in leads:
        if box not in reached:
            roots.append(box)
            reached |= _reached(leads, [box], set())
    return roots


def _reached(leads: Leads, start: Iterable[str], walls: set[str]) -> set[str]:
    """What can be reached from some boxes, those included, without going on from a wall."""
    reached: set[str] = set()
    pending = list(start)
    while pending:
        box = pending.pop()
        if box in reached:
            continue
        reached.add(box)
        if box not in walls:
            pending.extend(leads.get(box, ()))
    return reached
