"""Where a signal goes: a walk over the graph that says what should happen and does nothing itself.

In: a graph, a signal (source, value, scope), and whether user conditions may be asked. Out, one by one: ``Run`` a
chunk, ``Fill`` a slot of a join, ``Open`` a join, ``Defer`` a node whose condition may not be asked here, ``Ask`` a
condition (answered through ``send``). The walk stops at every join: what a join that is full leads to is a new walk
from its ``fired`` source.

It is pure: the same arguments give the same effects. ``runtime`` data never enters, and nothing is looked up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, Final

from triggerflow_django import exceptions
from triggerflow_django.definition.graph import ELSE, Edge, Graph, Node, Source

#: The path of fan-outs a signal belongs to: (node that opened it, its activation, ordinal of the branch or item).
Scope = tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Signal:
    """Something that happened in an execution."""

    source: Source
    value: Any
    scope: Scope = ()


@dataclass(frozen=True, slots=True)
class Run:
    """Run this chunk, or this sub flow, with this value."""

    node: str
    value: Any
    scope: Scope
    #: What caused it, as the chunk sees it in ``data.trigger_type`` and ``data.trigger_event``.
    source: Source


@dataclass(frozen=True, slots=True)
class Fill:
    """Put a value into a slot of a join. ``scope`` is the one the join's result will have."""

    node: str
    activation: str
    slot: str
    value: Any
    scope: Scope


@dataclass(frozen=True, slots=True)
class Open:
    """Open a fan-out's join: its slots (batch, match) or its items (for_each), frozen now."""

    node: str
    activation: str
    scope: Scope
    slots: tuple[str, ...]
    items: list[Any] | None
    #: for_each: how many of the items this walk has entered; the rest follow as places become free.
    entered: int
    concurrency: int | None


@dataclass(frozen=True, slots=True)
class Defer:
    """Enter this node in a step of its own: a user condition stands there and may not be asked here."""

    node: str
    value: Any
    scope: Scope
    source: Source


@dataclass(frozen=True, slots=True)
class Ask:
    """Evaluate a user condition for this value; the answer (truthy or not) comes back through ``send``."""

    condition: Any
    value: Any
    scope: Scope
    source: Source


Effect = Run | Fill | Open | Defer
#: The answer to ``Ask`` that leaves the whole choice to a step of its own, for instance because the condition raised.
DEFER: Final = object()
Walk = Generator[Effect | Ask, Any, None]


def activations(path: str) -> Iterator[str]:
    """Fresh activation tokens for one step: they follow from its causal path, so a repeated walk finds the same
    ones.
    """
    ordinal = 0
    while True:
        yield hashlib.sha256(f"{path}:{ordinal}".encode()).hexdigest()[:16]
        ordinal += 1


def scope_key(scope: Scope) -> str:
    """The activation under which ``when`` and ``collect`` join: the execution at the top, else this layer."""
    if not scope:
        return ""
    return hashlib.sha256(repr(scope).encode()).hexdigest()[:16]


def walk(graph: Graph, signal: Signal, tokens: Iterator[str], *, evaluate: bool, window: int) -> Walk:
    """Yield what follows from a signal. ``window`` bounds how many items of a for_each are entered at once.

    Raises: JoinClosedError where the value was meant for fan-outs of which none is open around it.
    """
    walker = _Walker(graph, tokens, evaluate, window)
    yield from walker.follow(signal.source, signal.value, signal.scope, signal.source)


def enter(graph: Graph, node_id: str, signal: Signal, tokens: Iterator[str], *, evaluate: bool, window: int) -> Walk:
    """Like ``walk``, but start at one node: the second half of a ``Defer``."""
    walker = _Walker(graph, tokens, evaluate, window)
    yield from walker.enter(Edge(node_id), signal.value, signal.scope, signal.source)


def enter_item(
    graph: Graph, node_id: str, index: int, signal: Signal, activation: str, tokens: Iterator[str], *, window: int
) -> Walk:
    """Enter one more item of an open for_each; never asks conditions (it runs under the execution's lock)."""
    walker = _Walker(graph, tokens, False, window)
    scope = (*signal.scope, (node_id, activation, str(index)))
    yield from walker.follow(("item", node_id), signal.value, scope, ("item", node_id))


@dataclass(slots=True)
class _Walker:
    graph: Graph
    tokens: Iterator[str]
    evaluate: bool
    window: int

    def follow(self, place: Source, value: Any, scope: Scope, source: Source) -> Walk:
        edges = self.graph.listeners(place)
        ends = [edge for edge in edges if self.graph.nodes[edge.node].kind == "end"]
        if ends and not any(self.closes(edge, scope) for edge in ends):
            names = ", ".join(edge.node for edge in ends)
            raise exceptions.JoinClosedError(
                f"{place[1]} finished outside of the fan-out that {names} joins; "
                "a chunk that is used inside a fan-out and elsewhere needs a name= of its own there"
            )
        for edge in edges:
            yield from self.enter(edge, value, scope, source)

    def closes(self, edge: Edge, scope: Scope) -> bool:
        """Whether this end node belongs to the innermost fan-out of the scope (a hit_first match opens none)."""
        opener = self.graph.nodes[self.graph.nodes[edge.node].partner]
        if opener.kind == "match" and opener.mode == "hit_first":
            return True
        return bool(scope) and scope[-1][0] == opener.id

    def enter(self, edge: Edge, value: Any, scope: Scope, source: Source) -> Walk:
        node = self.graph.nodes[edge.node]
        match node.kind:
            case "chunk" | "sub_flow":
                yield Run(node.id, value, scope, source)
            case "when":
                yield from self.when(node, edge, value, scope, source)
            case "collect":
                layer = self.layer(scope)
                yield Fill(node.id, scope_key(layer), str(edge.slot), value, layer)
            case "batch":
                yield from self.batch(node, value, scope, source)
            case "for_each":
                yield from self.for_each(node, value, scope)
            case "match":
                yield from self.match(node, value, scope, source)
            case "end":
                yield from self.end(node, edge, value, scope)

    def layer(self, scope: Scope) -> Scope:
        """The scope without the names of branches: those of one batch or ``hit_all`` join with one another, the items
        of a for_each do not.
        """
        return tuple((node, activation, "" if self.has_branches(node) else name) for node, activation, name in scope)

    def has_branches(self, node_id: str) -> bool:
        """Whether that fan-out has branches rather than items."""
        node = self.graph.nodes.get(node_id)
        return node is not None and node.kind in ("batch", "match")

    def when(self, node: Node, edge: Edge, value: Any, scope: Scope, source: Source) -> Walk:
        slot = str(edge.slot)
        if node.mode == "and":
            layer = self.layer(scope)
            yield Fill(node.id, scope_key(layer), slot, value, layer)
            return
        kind, _, name = slot.partition(":")
        passed = [kind, name, value] if node.mode == "or" else value
        yield from self.follow(("fired", node.id), passed, scope, source)

    def batch(self, node: Node, value: Any, scope: Scope, source: Source) -> Walk:
        activation = next(self.tokens)
        yield Open(node.partner, activation, scope, node.slots, None, 0, node.concurrency)
        for index in range(len(node.slots)):
            inner = (*scope, (node.id, activation, str(index)))
            yield from self.follow(("branch", f"{node.id}/{index}"), value, inner, source)

    def for_each(self, node: Node, value: Any, scope: Scope) -> Walk:
        items = list(value) if isinstance(value, list | tuple) else [value]
        if not items:
            yield from self.follow(("fired", node.partner), [], scope, ("fired", node.partner))
            return
        activation = next(self.tokens)
        entered = min(len(items), node.concurrency or self.window)
        yield Open(node.partner, activation, scope, (), items, entered, node.concurrency)
        for index in range(entered):
            inner = (*scope, (node.id, activation, str(index)))
            yield from self.follow(("item", node.id), items[index], inner, ("item", node.id))

    def match(self, node: Node, value: Any, scope: Scope, source: Source) -> Walk:
        if not self.evaluate and any(callable(condition) for condition in node.conditions):
            yield Defer(node.id, value, scope, source)
            return
        hits: list[int] = []
        for index, condition in enumerate(node.conditions):
            hit = (yield Ask(condition, value, scope, source)) if callable(condition) else condition == value
            if hit is DEFER:
                yield Defer(node.id, value, scope, source)
                return
            if hit:
                hits.append(index)
                if node.mode == "hit_first":
                    break
        if node.mode == "hit_first":
            yield from self.branch(node, str(hits[0]) if hits else None, value, scope, source)
        elif hits:
            activation = next(self.tokens)
            yield Open(node.partner, activation, scope, tuple(str(hit) for hit in hits), None, 0, None)
            for hit in hits:
                inner = (*scope, (node.id, activation, str(hit)))
                yield from self.follow(("branch", f"{node.id}/{hit}"), value, inner, source)
        elif node.has_else:
            inner = (*scope, (node.id, next(self.tokens), ELSE))
            yield from self.follow(("branch", f"{node.id}/{ELSE}"), value, inner, source)
        else:
            yield from self.follow(("fired", node.partner), value, scope, source)

    def branch(self, node: Node, hit: str | None, value: Any, scope: Scope, source: Source) -> Walk:
        if hit is None and not node.has_else:
            yield from self.follow(("fired", node.partner), value, scope, source)
        else:
            yield from self.follow(("branch", f"{node.id}/{hit or ELSE}"), value, scope, source)

    def end(self, node: Node, edge: Edge, value: Any, scope: Scope) -> Walk:
        opener = self.graph.nodes[node.partner]
        if opener.kind == "match" and opener.mode == "hit_first":
            yield from self.follow(("fired", node.id), value, scope, ("fired", node.id))
            return
        if not self.closes(edge, scope):
            return  # the chunk stands in several fan-outs; another of its edges closes this one
        _, activation, ordinal = scope[-1]
        slot = ordinal if opener.kind == "for_each" else str(edge.slot)
        if opener.kind == "match":
            if ordinal not in (slot, ""):
                return  # the chunk stands in several cases; this value belongs to another one
            if slot == ELSE:
                yield from self.follow(("fired", node.id), value, scope[:-1], ("fired", node.id))
                return
        yield Fill(node.id, activation, slot, value, scope[:-1])
