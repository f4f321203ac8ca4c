"""A flow from data: what ``document`` wrote, or somebody by hand, checked field by field and made a graph again.

Nothing in a document is trusted and nothing is imported from it: names bind only to functions the loading flow was
given. A refusal starts with the path (``$.nodes[3].cases[0]``). Functions that are missing are told all at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NoReturn, get_args

from triggerflow_django import exceptions, jsongate
from triggerflow_django.definition import deprecated, mapping, soundness
from triggerflow_django.definition.chunk import Chunk, ChunkOptions, Handler, is_async, may_read_state
from triggerflow_django.definition.contract import NOTHING, PARTS, Contract, contract
from triggerflow_django.definition.document import KIND, LIMITS, OPTIONS, VERSION
from triggerflow_django.definition.fields import Fields, called, refuse
from triggerflow_django.definition.graph import Draft, GraphBuilder, NodeKind
from triggerflow_django.definition.handlers import Function, HandlerKind
from triggerflow_django.definition.intervention import InterventionPoint
from triggerflow_django.definition.sub_flow import SubFlow

if TYPE_CHECKING:
    from triggerflow_django.definition.flow import FlowDefinition

#: The function under a name, or ``None``.
Bind = Callable[[HandlerKind, str], "Function | None"]

_MAX_ID: Final = 255
_MODES: Final = {
    "when": ("and", "or", "simple_or"),
    "match": ("hit_first", "hit_all"),
    "collect": ("filled_and_update", "filled_then_empty"),
}


@dataclass(slots=True)
class Loaded:
    """What a document says."""

    name: str
    skip_exceptions: bool
    contract: Contract
    builder: GraphBuilder


def load(document: Any, flow: FlowDefinition, bind: Bind) -> Loaded:
    """What a document says, for a flow it is going to be.

    Raises: BlueprintTypeError for what is no mapping; BlueprintError for what is malformed; UnboundHandlerError.
    """
    if not isinstance(document, dict):
        raise exceptions.BlueprintTypeError(f"a flow as data is a mapping, not {type(document).__name__}")
    try:
        checked = jsongate.check(dict(document), limits=LIMITS)
    except exceptions.JsonValueError as error:
        raise exceptions.BlueprintError(str(error)) from None
    loader = _Loader(bind)
    loaded = loader.flow(Fields(checked, "$"), [flow])
    if loader.missing:
        lines = "; ".join(loader.missing)
        raise exceptions.UnboundHandlerError(f"functions are missing: {lines}", loader.missing)
    return loaded


def _require_none(path: str, problem: str | None) -> None:
    if problem is not None:
        refuse(path, problem)


def _missing(data: Any) -> NoReturn:
    raise exceptions.UnboundHandlerError("never called: the flow was not loaded", [])


@dataclass(slots=True)
class _Loader:
    bind: Bind
    missing: list[str] = field(default_factory=list)

    def flow(self, fields: Fields, flows: list[FlowDefinition]) -> Loaded:
        """``flows``: those around it, the outermost first, and the one it is going to be."""
        kind, version = fields.take("kind", str, "a text"), fields.take("version", int, "a number")
        if kind != KIND:
            refuse(fields.at("kind"), f"{kind[:50]!r} is not {KIND!r}")
        if version != VERSION:
            refuse(fields.at("version"), f"version {version} is not known here; this is version {VERSION}")
        builder = GraphBuilder(flows[-1].name)
        name = fields.text("name")
        skips = fields.take("skip_exceptions", bool, "true or false", False)
        made = self.contract(fields)
        nodes: list[Any] = fields.take("nodes", list, "a list")
        for number, node in enumerate(nodes):
            self.node(Fields(node, f"{fields.at('nodes')}[{number}]"), builder, flows)
        _require_none(fields.at("nodes"), soundness.nodes_problem(builder))
        edges: list[Any] = fields.take("edges", list, "a list")
        for number, edge in enumerate(edges):
            _edge(Fields(edge, f"{fields.at('edges')}[{number}]"), builder)
        chains: dict[str, Any] = fields.take("chains", dict, "a mapping", {})
        for root, count in chains.items():
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                refuse(fields.at("chains"), "how many chains begin with each: whole numbers, 1 or more")
            builder.roots[root] = count
        fields.done()
        _require_none(fields.path, soundness.problem(builder))
        builder.contract = made
        return Loaded(name, skips, made, builder)

    def contract(self, fields: Fields) -> Contract:
        if "contract" not in fields.left:
            return NOTHING
        inner = Fields(fields.left.pop("contract"), fields.at("contract"))
        declared = {part: inner.left.pop(part, None) for part in PARTS}
        meta = inner.take("meta", dict, "a mapping", {})
        inner.done()
        for part, schema in declared.items():
            if not isinstance(schema, dict | bool | None):
                refuse(inner.at(part), f"a JSON Schema belongs here, not {called(schema)}")
        with _Told(inner.path):
            return contract(meta=meta, **declared)

    def node(self, fields: Fields, builder: GraphBuilder, flows: list[FlowDefinition]) -> None:
        node_id, kind = fields.text("id", most=_MAX_ID), fields.choice("kind", get_args(NodeKind))
        if node_id in builder.drafts:
            refuse(fields.at("id"), f"{node_id!r} is there twice")
        draft = builder.drafts[node_id] = Draft(id=node_id, kind=kind)  # type: ignore[arg-type]
        if kind in _MODES:
            draft.mode = fields.choice("mode", _MODES[kind])
        if kind in ("when", "collect", "batch"):
            draft.slots = fields.texts("slots")
        if kind in ("batch", "for_each", "match"):
            draft.partner = fields.text("end", most=_MAX_ID)
        if kind in ("batch", "for_each"):
            draft.concurrency = _concurrency(fields)
        match kind:
            case "chunk":
                builder.adopt(self.chunk(fields, node_id))
            case "sub_flow":
                draft.sub_flow = self.sub_flow(fields, node_id, flows)
            case "match":
                self.cases(fields, draft)
            case "collect":
                key = (fields.take("chain", str, "a text"), fields.text("collection"))
                if key in builder.collections:
                    refuse(fields.path, "this collection is there twice")
                builder.collections[key] = draft
            case "end":
                draft.partner = fields.text("of", most=_MAX_ID)
        fields.done()

    def chunk(self, fields: Fields, node_id: str) -> Chunk:
        name = fields.text("name", node_id, most=_MAX_ID)
        handler: Handler
        if "built_in" in fields.left:
            if fields.choice("built_in", ("end", "intervention_point")) == "end":
                handler = deprecated.end
            else:
                handler = InterventionPoint(fields.text("target", None))
        else:
            handler = self.function("chunk", fields, "handler", f"chunk {node_id}")
        options = ChunkOptions()
        if "options" in fields.left:
            inner = Fields(fields.left.pop("options"), fields.at("options"))
            given = {option: inner.left.pop(option) for option in OPTIONS if option in inner.left}
            inner.done()
            if not isinstance(given.get("atomic", False), bool):
                refuse(inner.at("atomic"), "true or false belongs here")
            with _Told(inner.path):
                options = ChunkOptions(**given)
        if options.atomic and is_async(handler):
            refuse(fields.at("options"), f"atomic needs a sync function, and {name!r} is bound to an async one")
        return Chunk(
            id=node_id,
            name=name,
            handler=handler,
            options=options,
            is_async=is_async(handler),
            reads_state=may_read_state(handler),
        )

    def cases(self, fields: Fields, draft: Draft) -> None:
        given: list[Any] = fields.take("cases", list, "a list")
        for number, item in enumerate(given):
            case = Fields(item, f"{fields.at('cases')}[{number}]")
            if "equals" in case.left:
                draft.conditions.append(case.left.pop("equals"))
            else:
                draft.conditions.append(self.function("condition", case, "condition", f"a case of {draft.id}"))
            case.done()
        if not given:
            refuse(fields.at("cases"), "at least one")
        draft.has_else = fields.take("else", bool, "true or false", False)

    def function(self, kind: HandlerKind, fields: Fields, name: str, what: str) -> Function:
        wanted = fields.text(name)
        found = self.bind(kind, wanted)
        if found is None:
            self.missing.append(f"{fields.at(name)}: no {kind} handler is registered as {wanted!r} ({what})")
            return _missing
        return found

    def sub_flow(self, fields: Fields, node_id: str, flows: list[FlowDefinition]) -> SubFlow:
        name = fields.text("name", node_id, most=_MAX_ID)
        inner = Fields(fields.take("flow", dict, "a flow"), fields.at("flow"))
        if "levels_up" in inner.left:
            up: int = inner.take("levels_up", int, "a number")
            inner.done()
            if not 1 <= up <= len(flows):
                refuse(inner.at("levels_up"), f"there are {len(flows)} flows around this place")
            child = flows[-up]
        else:
            if not jsongate.is_name(inner.left.get("name")):
                refuse(inner.at("name"), "a text of 1 to 200 characters belongs here")
            child = type(flows[-1])(name=inner.left["name"])
            child._become(self.flow(inner, [*flows, child]))
        with _Told(fields.path):
            captured = fields.left.pop("capture", None)
            written = fields.left.pop("write_back", None)
            return SubFlow(
                node_id,
                name,
                child,
                mapping.WHOLE_VALUE if captured is None else mapping.bindings("capture", captured),
                None if written is None else mapping.bindings("write_back", written),
                _concurrency(fields),
            )


class _Told:
    """Puts the path before what a part of the definition refuses."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, exceptions.TriggerFlowError) and not isinstance(error, exceptions.BlueprintError):
            raise exceptions.BlueprintError(f"{self.path}: {error}") from error


def _concurrency(fields: Fields) -> int | None:
    value: int | None = fields.take("concurrency", int, "a whole number", None)
    if value is not None and value < 1:
        refuse(fields.at("concurrency"), "a whole number, 1 or more, belongs here")
    return value


def _edge(fields: Fields, builder: GraphBuilder) -> None:
    kind, colon, name = fields.text("from", most=300).partition(":")
    target = fields.text("to", most=_MAX_ID)
    slot = fields.text("slot", None, most=300)
    fields.done()
    problem = (
        "write type:name" if not colon or not name else soundness.edge_problem(builder, (kind, name), target, slot)
    )
    _require_none(fields.path, problem)
    builder.connect((kind, name), target, slot)
