"""The frozen graph: nodes by id, and edges from what happens (a source) to the nodes that listen.

A *source* is ``(type, name)``: an event, a written state key, a finished chunk, a chosen branch, an item of a fan-out,
a join that fired. ``GraphBuilder`` collects them while a flow is written; ``build()`` gives the immutable ``Graph``
that routing walks and the fingerprint describes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from triggerflow_django import exceptions, jsongate
from triggerflow_django.definition.chunk import (
    Chunk,
    ChunkOptions,
    Handler,
    function_name,
    identity,
    is_async,
    is_lambda,
    may_read_state,
    takes_one_argument,
)
from triggerflow_django.definition.contract import NOTHING, Contract
from triggerflow_django.definition.sub_flow import SubFlow

Source = tuple[str, str]
NodeKind = Literal["chunk", "when", "batch", "for_each", "match", "collect", "end", "sub_flow"]

START: Final[Source] = ("event", "START")
#: Source types that come from user code or from outside; the others name a place inside the graph.
TRIGGER_TYPES: Final = ("event", "runtime_data", "flow_data")
ELSE: Final = "else"
_MAX_ID: Final = 200


@dataclass(frozen=True, slots=True)
class Edge:
    """Where a source leads: a node, and for a join the slot its value fills there."""

    node: str
    slot: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One place in the graph. Which of the optional fields hold something depends on ``kind``."""

    id: str
    kind: NodeKind
    #: kind chunk: the user function.
    chunk: Chunk | None = None
    #: kind sub_flow: the other flow. No part of the shape: the child is an execution with a shape of its own.
    sub_flow: SubFlow | None = None
    #: kind when: and / or / simple_or; match: hit_first / hit_all; collect: filled_and_update / filled_then_empty.
    mode: str = ""
    #: kind when, batch, collect: the slots in declaration order.
    slots: tuple[str, ...] = ()
    #: kind match: plain values or callables, in case order.
    conditions: tuple[Any, ...] = ()
    has_else: bool = False
    #: kind batch, for_each: how many steps below it may run at once.
    concurrency: int | None = None
    #: kind batch, for_each, match: the id of the node that joins it again; kind end: the id of the node it closes.
    partner: str = ""


@dataclass(frozen=True, slots=True)
class Graph:
    """An immutable flow definition, as routing sees it."""

    name: str
    nodes: dict[str, Node]
    edges: dict[Source, tuple[Edge, ...]]
    fingerprint: str
    #: What goes in and comes out. No part of the shape: a contract may change under executions that wait.
    contract: Contract = NOTHING

    def listeners(self, source: Source) -> tuple[Edge, ...]:
        """The edges that leave a source; none where nobody listens."""
        return self.edges.get(source, ())

    @property
    def has_async_code(self) -> bool:
        """Whether a chunk or a condition of it, or of a flow it contains, is a coroutine function."""
        return any(
            (node.chunk is not None and node.chunk.is_async)
            or any(callable(condition) and is_async(condition) for condition in node.conditions)
            for graph in self.with_sub_flows()
            for node in graph.nodes.values()
        )

    @property
    def has_sub_flows(self) -> bool:
        """Whether it contains another flow."""
        return any(node.sub_flow is not None for node in self.nodes.values())

    def with_sub_flows(self) -> Iterator[Graph]:
        """It, and the graphs of the flows it contains, each once (a flow may contain itself)."""
        found: dict[int, Graph] = {id(self): self}
        pending = [self]
        while pending:
            graph = pending.pop()
            yield graph
            for node in graph.nodes.values():
                inner = node.sub_flow.flow.graph if node.sub_flow is not None else graph
                if id(inner) not in found:
                    found[id(inner)] = inner
                    pending.append(inner)

    def problems(self) -> list[str]:
        """What is unfinished in it, in words: blocks that were opened and never closed, so that their values lead
        nowhere.
        """
        closed = {edge.node for edges in self.edges.values() for edge in edges}
        words = {"for_each": "end_for_each()", "match": "end_match()"}
        return [
            f"{node.id} is opened and never closed: add {words[node.kind]}"
            for node in self.nodes.values()
            if node.kind in words and node.partner not in closed
        ]

    def chunk(self, node_id: str) -> Chunk | None:
        """The chunk under that node id, or ``None`` where the graph has no such chunk."""
        node = self.nodes.get(node_id)
        return node.chunk if node is not None else None


@dataclass(slots=True)
class Draft:
    """A node while its flow is still being written."""

    id: str
    kind: NodeKind
    chunk: Chunk | None = None
    sub_flow: SubFlow | None = None
    mode: str = ""
    slots: list[str] = field(default_factory=list)
    conditions: list[Any] = field(default_factory=list)
    has_else: bool = False
    concurrency: int | None = None
    partner: str = ""

    def freeze(self) -> Node:
        """The node as it stands now."""
        return Node(
            id=self.id,
            kind=self.kind,
            chunk=self.chunk,
            sub_flow=self.sub_flow,
            mode=self.mode or ("filled_and_update" if self.kind == "collect" else ""),
            slots=tuple(self.slots),
            conditions=tuple(self.conditions),
            has_else=self.has_else,
            concurrency=self.concurrency,
            partner=self.partner,
        )


class GraphBuilder:
    """Collects nodes and edges while a flow is written; every chain of one flow shares one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.drafts: dict[str, Draft] = {}
        self.edges: dict[Source, list[Edge]] = {}
        self.contract = NOTHING
        #: The drafts of ``collect()`` by chain root and name, which a long node id does not show.
        self.collections: dict[tuple[str, str], Draft] = {}
        self._chunks: dict[tuple[str, tuple[int, ...]], Chunk] = {}
        self._by_name: dict[str, Chunk] = {}
        #: How many chains begin with the same ``when()``.
        self.roots: dict[str, int] = {}
        self._graph: Graph | None = None

    # -- nodes

    def unique_root(self, wanted: str) -> str:
        """A name for the chain of one ``when()`` call, so that two of them do not share their collections."""
        self.roots[wanted] = ordinal = self.roots.get(wanted, 0) + 1
        return wanted if ordinal == 1 else f"{wanted}#{ordinal}"

    def unique_id(self, wanted: str) -> str:
        """``wanted``, shortened by a digest of its front where long, with ``#2``, ``#3`` ... where it is taken."""
        if len(wanted) > _MAX_ID:
            digest = hashlib.sha256(wanted[:-60].encode()).hexdigest()[:12]
            wanted = f"~{digest}{wanted[-60:]}"
        node_id, ordinal = wanted, 1
        while node_id in self.drafts:
            ordinal += 1
            node_id = f"{wanted}#{ordinal}"
        return node_id

    def add(self, kind: NodeKind, wanted: str, **fields: Any) -> Draft:
        """Add a node; its id is ``wanted`` unless that is taken."""
        draft = Draft(id=self.unique_id(wanted), kind=kind, **fields)
        self.drafts[draft.id] = draft
        self._graph = None
        return draft

    def numbered(self, owner: str, kind: str) -> str:
        """An id for a nameless node: its owner's id, its kind and its ordinal there (design.md 5.16)."""
        ordinal = 1
        while (wanted := f"{owner}/{kind}-{ordinal}") in self.drafts:
            ordinal += 1
        return wanted

    def chunk(self, handler: Handler, *, name: str | None, owner: str, options: ChunkOptions) -> Chunk:
        """The chunk for a function: the one made earlier for the same function and name, or a new one.

        A lambda is a new chunk each time unless it is given a name.
        """
        if not callable(handler) or not takes_one_argument(handler):
            raise exceptions.DefinitionError(f"a chunk is a function that takes one argument, data, not {handler!r}")
        if options.atomic and is_async(handler):
            raise exceptions.DefinitionError(
                f"chunk {function_name(handler)}: atomic=True needs a sync function; an async one cannot hold a "
                "transaction"
            )
        anonymous = name is None and is_lambda(handler)
        shown = name if name is not None else "lambda" if anonymous else function_name(handler)
        if not jsongate.is_name(shown, most=_MAX_ID):
            raise exceptions.DefinitionError(f"chunk name {shown!r}: give a text of 1 to {_MAX_ID} characters")
        key = (shown, identity(handler))
        known = self._chunks.get(key)
        if known is not None and not anonymous:
            if options not in (known.options, ChunkOptions()):
                raise exceptions.DefinitionError(
                    f"chunk {shown}: attached before with other options; give this one a name="
                )
            return known
        wanted = self.numbered(owner, "lambda") if anonymous else shown
        draft = self.add("chunk", wanted)
        chunk = Chunk(
            id=draft.id,
            name=shown,
            handler=handler,
            options=options,
            is_async=is_async(handler),
            reads_state=may_read_state(handler),
        )
        draft.chunk = chunk
        self._chunks[key] = chunk
        self._by_name[shown] = chunk
        return chunk

    def named_chunk(self, name: str) -> Chunk | None:
        """The chunk last made under that name."""
        return self._by_name.get(name)

    def adopt(self, chunk: Chunk) -> None:
        """Take a chunk that was made elsewhere, for the node of its id."""
        self.drafts[chunk.id].chunk = chunk
        self._chunks.setdefault((chunk.name, identity(chunk.handler)), chunk)
        self._by_name[chunk.name] = chunk

    def collection_of(self, node_id: str) -> tuple[str, str]:
        """The chain root and the name of a ``collect()``."""
        return next(key for key, draft in self.collections.items() if draft.id == node_id)

    # -- edges

    def connect(self, source: Source, node_id: str, slot: str | None = None) -> None:
        """Let a node listen to a source; once, however often it is said."""
        edge = Edge(node_id, slot)
        edges = self.edges.setdefault(source, [])
        if edge not in edges:
            edges.append(edge)
            self._graph = None

    def changed(self) -> None:
        """Say that a draft was edited in place."""
        self._graph = None

    def build(self) -> Graph:
        """The graph as written so far; the same object until something is added."""
        if self._graph is None:
            nodes = {draft.id: draft.freeze() for draft in self.drafts.values()}
            edges = {source: tuple(edges) for source, edges in self.edges.items()}
            self._graph = Graph(self.name, nodes, edges, fingerprint(nodes, edges), self.contract)
        return self._graph


def fingerprint(nodes: dict[str, Node], edges: dict[Source, tuple[Edge, ...]]) -> str:
    """A digest of the graph's shape: ids, kinds, modes, limits and wiring; not of what the functions do.

    Two processes with the same fingerprint route the same signal the same way.
    """
    lines = [
        "|".join(
            (
                node.id,
                node.kind,
                node.mode,
                ",".join(node.slots),
                str(node.has_else),
                str(node.concurrency),
                node.partner,
                *("callable" if callable(condition) else repr(condition) for condition in node.conditions),
            )
        )
        for node in nodes.values()
    ]
    lines += [f"{kind}:{name}>{edge.node}>{edge.slot}" for (kind, name), targets in edges.items() for edge in targets]
    return hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "surrogatepass")).hexdigest()[:16]
