"""A flow becomes data: a plain document with its nodes, its edges, and the names of its functions.

``loading`` makes a flow of it again. The document is versioned; what a version means never changes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from triggerflow_django import exceptions, jsongate
from triggerflow_django.definition import deprecated, handlers
from triggerflow_django.definition.chunk import UNSET, Chunk, ChunkOptions, identity
from triggerflow_django.definition.handlers import Function, HandlerKind
from triggerflow_django.definition.intervention import InterventionPoint
from triggerflow_django.definition.mapping import WHOLE_VALUE, Binding

if TYPE_CHECKING:
    from triggerflow_django.definition.flow import FlowDefinition
    from triggerflow_django.definition.graph import Node
    from triggerflow_django.definition.sub_flow import SubFlow

KIND: Final = "triggerflow.flow"
VERSION: Final = 1
#: What a document may hold, whoever wrote it.
LIMITS: Final = jsongate.Limits(total_bytes=1024 * 1024, nodes=100_000, string_bytes=64 * 1024, depth=64)
OPTIONS: Final = ("retries", "backoff", "timeout", "queue", "atomic")

Live = dict[HandlerKind, dict[str, Function]]


@dataclass(slots=True)
class Written:
    """A document, the functions behind the names in it, and what in it cannot be loaded in another process."""

    document: dict[str, Any]
    live: Live = field(default_factory=lambda: {"chunk": {}, "condition": {}})
    missing: list[str] = field(default_factory=list)


def write(flow: FlowDefinition) -> Written:
    """The document of a flow, with those of its sub flows inside."""
    written = Written({})
    written.document = _Writer(written, [flow], "$").flow()
    return written


class _Writer:
    """Writes one flow; ``flows``: those around it, the outermost first, and it."""

    def __init__(self, written: Written, flows: list[FlowDefinition], place: str) -> None:
        self.written = written
        self.flows = flows
        self.place = place
        self.flow_ = flows[-1]

    def flow(self) -> dict[str, Any]:
        graph = self.flow_.graph
        document: dict[str, Any] = {"kind": KIND, "version": VERSION, "name": self.flow_.name}
        if self.flow_.skip_exceptions:
            document["skip_exceptions"] = True
        if graph.contract.shapes or graph.contract.meta:
            document["contract"] = {
                part: value for part, value in graph.contract.json_schemas().items() if value not in (None, {})
            }
        document["nodes"] = [
            {"id": node.id, "kind": node.kind, **self.node(node, f"{self.place}.nodes[{number}]")}
            for number, node in enumerate(graph.nodes.values())
        ]
        document["edges"] = [
            {"from": f"{kind}:{name}", "to": edge.node, **({} if edge.slot is None else {"slot": edge.slot})}
            for (kind, name), edges in graph.edges.items()
            for edge in edges
        ]
        roots = self.flow_._builder.roots
        if roots:
            document["chains"] = dict(roots)
        return document

    def node(self, node: Node, place: str) -> dict[str, Any]:  # noqa: PLR0911 - one for each kind
        """What a node of its kind has beside id and kind."""
        match node.kind:
            case "chunk" if node.chunk is not None:
                return self.chunk(node.chunk, place)
            case "sub_flow" if node.sub_flow is not None:
                return self.sub_flow(node.sub_flow, place)
            case "when":
                return {"mode": node.mode, "slots": list(node.slots)}
            case "collect":
                root, collection = self.flow_._builder.collection_of(node.id)
                return {"mode": node.mode, "slots": list(node.slots), "chain": root, "collection": collection}
            case "batch":
                return {"slots": list(node.slots), "end": node.partner, **_concurrency(node.concurrency)}
            case "for_each":
                return {"end": node.partner, **_concurrency(node.concurrency)}
            case "match":
                cases = [
                    self.case(condition, node, f"{place}.cases[{number}]")
                    for number, condition in enumerate(node.conditions)
                ]
                return {"mode": node.mode, "cases": cases, "else": node.has_else, "end": node.partner}
        return {"of": node.partner}

    def chunk(self, chunk: Chunk, place: str) -> dict[str, Any]:
        made: dict[str, Any] = {} if chunk.name == chunk.id else {"name": chunk.name}
        if chunk.handler is deprecated.end:
            made["built_in"] = "end"
        elif isinstance(chunk.handler, InterventionPoint):
            made["built_in"] = "intervention_point"
            if chunk.handler.target is not None:
                made["target"] = chunk.handler.target
        else:
            made["handler"] = self.name("chunk", chunk.handler, f"chunk {chunk.id}", place)
        options = {name: getattr(chunk.options, name) for name in OPTIONS}
        usual = ChunkOptions()
        changed = {
            name: value for name, value in options.items() if value is not UNSET and value != getattr(usual, name)
        }
        return {**made, "options": changed} if changed else made

    def case(self, condition: Any, node: Node, place: str) -> dict[str, Any]:
        if callable(condition):
            return {"condition": self.name("condition", condition, f"a case of {node.id}", place)}
        try:
            plain = jsongate.check(condition, limits=LIMITS, root=place)
        except exceptions.JsonValueError as error:
            self.written.missing.append(f"{error} (a case of {node.id}); register a function for it")
            return {"equals": None}
        if repr(plain) != repr(condition):
            self.written.missing.append(f"{place}: {condition!r} is not JSON (a case of {node.id})")
        return {"equals": plain}

    def sub_flow(self, sub_flow: SubFlow, place: str) -> dict[str, Any]:
        made: dict[str, Any] = {} if sub_flow.name == sub_flow.id else {"name": sub_flow.name}
        if sub_flow.flow in self.flows:  # it contains itself, or they one another
            made["flow"] = {"levels_up": len(self.flows) - self.flows.index(sub_flow.flow)}
        else:
            made["flow"] = _Writer(self.written, [*self.flows, sub_flow.flow], f"{place}.flow").flow()
        if sub_flow.capture != WHOLE_VALUE:
            made["capture"] = _mapping(sub_flow.capture)
        if sub_flow.write_back is not None:
            made["write_back"] = _mapping(sub_flow.write_back)
        return {**made, **_concurrency(sub_flow.concurrency)}

    def name(self, kind: HandlerKind, handler: Function, what: str, place: str) -> str:
        """The name a function goes by in the document: the one it was registered under, else its own."""
        given = next((name for flow in reversed(self.flows) if (name := flow._handlers.name_of(kind, handler))), None)
        name = given or handlers.natural_name(handler)
        live = self.written.live[kind]
        if name is None:
            self.written.missing.append(
                f"{place}: {what} is a lambda; {_register(kind)} with a name=, or write a function"
            )
        elif name in live and identity(live[name]) != identity(handler):
            self.written.missing.append(
                f"{place}: {what} is another function called {name!r}; {_register(kind)} with a name="
            )
            name = None
        if name is None:
            name = self.unique(live, f"{handlers.ANONYMOUS}{place}>")
        live[name] = handler
        return name

    def unique(self, live: dict[str, Function], wanted: str) -> str:
        return wanted if wanted not in live else self.unique(live, f"{wanted}'")


def _register(kind: HandlerKind) -> str:
    return f"register it by register_{kind}_handler()"


def _concurrency(value: int | None) -> dict[str, Any]:
    return {} if value is None else {"concurrency": value}


def _mapping(bindings: tuple[Binding, ...]) -> dict[str, Any]:
    """What ``mapping.bindings`` read."""
    made: dict[str, Any] = {}
    for binding in bindings:
        source = ".".join((binding.source, *binding.source_path))
        if binding.target_path:
            made.setdefault(binding.target, {})[".".join(binding.target_path)] = source
        else:
            made[binding.target] = source
    return made
