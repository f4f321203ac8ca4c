"""What ``Process`` makes sure of while a flow is written, asked of a graph that came from data.

Each function gives a problem in words, or ``None``. A graph without problems routes every signal in bounded time and
leaves no join waiting for something that cannot come.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from triggerflow_django import jsongate
from triggerflow_django.definition.graph import ELSE, TRIGGER_TYPES, Draft, GraphBuilder, Source

_RUNS: Final = ("chunk", "sub_flow")
_FIRES: Final = ("when", "collect", "end")
_OPENS: Final = ("batch", "for_each", "match")


def edge_problem(builder: GraphBuilder, source: Source, target: str, slot: str | None) -> str | None:
    """What is wrong with one edge."""
    return _source_problem(builder, source) or _target_problem(builder, source, target, slot)


def _source_problem(builder: GraphBuilder, source: Source) -> str | None:
    kind, name = source
    if kind in TRIGGER_TYPES:
        return None if jsongate.is_name(name) else "an event's name or a key has 1 to 200 characters"
    node, _, branch = name.rpartition("/") if kind == "branch" else (name, "", "")
    draft = builder.drafts.get(node)
    if draft is None:
        return f"there is no node {node!r}"
    fits = {
        "done": draft.kind in _RUNS,
        "item": draft.kind == "for_each",
        "fired": draft.kind in _FIRES,
        "branch": branch in _branches(draft),
    }.get(kind)
    if fits is None:
        return f"{kind!r} is no kind of source; use {', '.join((*TRIGGER_TYPES, 'done', 'item', 'branch', 'fired'))}"
    return None if fits else f"{node!r} ({draft.kind}) has no {kind} {branch}".rstrip()


def _branches(draft: Draft) -> list[str]:
    if draft.kind == "batch":
        return [str(index) for index in range(len(draft.slots))]
    if draft.kind == "match":
        return [*(str(index) for index in range(len(draft.conditions))), *([ELSE] if draft.has_else else [])]
    return []


def _target_problem(builder: GraphBuilder, source: Source, target: str, slot: str | None) -> str | None:
    draft = builder.drafts.get(target)
    if draft is None:
        return f"there is no node {target!r}"
    if source == ("done", target):
        return f"chunk {target!r} would follow itself and never end"
    slots: list[str] = []
    if draft.kind in ("when", "collect"):
        slots = draft.slots
    elif draft.kind == "end":
        opener = builder.drafts.get(draft.partner)
        if opener is not None and opener.kind == "batch":
            slots = opener.slots
        elif opener is not None and opener.kind == "match" and opener.mode == "hit_all":
            slots = _branches(opener)
    if slots and slot not in slots:
        return f"{target!r} has the slots {', '.join(slots)[:300]}; slot={slot!r} is none of them"
    return f"{target!r} ({draft.kind}) has no slots" if slot is not None and not slots else None


def nodes_problem(builder: GraphBuilder) -> str | None:
    """What is wrong with the nodes, before there are edges."""
    return _first(_partner_problem, builder)


def problem(builder: GraphBuilder) -> str | None:
    """What is wrong with the whole, whose nodes and edges are right one by one."""
    return _first(_feed_problem, builder) or _endless(builder)


def _first(ask: Callable[[GraphBuilder, Draft], str | None], builder: GraphBuilder) -> str | None:
    for draft in builder.drafts.values():
        wrong = ask(builder, draft)
        if wrong is not None:
            return f"node {draft.id!r}: {wrong}"
    return None


def _partner_problem(builder: GraphBuilder, draft: Draft) -> str | None:
    if draft.kind in _OPENS or draft.kind == "end":
        other = builder.drafts.get(draft.partner)
        if other is None:
            return f"there is no node {draft.partner!r}"
        fits = other.kind == "end" if draft.kind in _OPENS else other.kind in _OPENS
        if not fits or other.partner != draft.id:
            return f"it and {draft.partner!r} are not the two ends of one block"
    return None


def _feed_problem(builder: GraphBuilder, draft: Draft) -> str | None:
    """A join one of whose slots nothing fills would wait for ever."""
    if draft.kind in ("when", "collect"):
        filled = {edge.slot for edges in builder.edges.values() for edge in edges if edge.node == draft.id}
        empty = [slot for slot in draft.slots if slot not in filled]
        return f"nothing fills its slot {empty[0]!r}" if empty else None
    if draft.kind != "batch":
        return None
    for index, slot in enumerate(draft.slots):
        into = builder.edges.get(("branch", f"{draft.id}/{index}"), [])
        if len(into) != 1 or builder.drafts[into[0].node].kind not in _RUNS:
            return f"its branch {index} leads to one chunk or sub flow, no more and no less"
        ends = builder.edges.get(("done", into[0].node), [])
        if not any(edge.node == draft.partner and edge.slot == slot for edge in ends):
            return f"what its branch {index} leads to does not fill {slot!r} at its end"
    return None


def _endless(builder: GraphBuilder) -> str | None:
    """A circle of routing nodes: a signal would go round in it without a chunk to stop it."""
    leads: dict[str, set[str]] = {draft.id: set() for draft in builder.drafts.values() if draft.kind not in _RUNS}
    for (kind, name), edges in builder.edges.items():
        node = name.rpartition("/")[0] if kind == "branch" else name
        if kind not in TRIGGER_TYPES and node in leads:
            leads[node].update(edge.node for edge in edges if edge.node in leads)
    for draft in builder.drafts.values():
        if draft.kind in _OPENS and draft.partner in leads:  # no items, no case that holds
            leads[draft.id].add(draft.partner)
    into = Counter(target for targets in leads.values() for target in targets)
    free = [node for node in leads if not into[node]]
    for node in free:
        for target in leads[node]:
            into[target] -= 1
            if not into[target]:
                free.append(target)
    left = sorted(set(leads) - set(free))
    return f"no chunk stands between {', '.join(left)[:300]}: a signal would go round for ever" if left else None
