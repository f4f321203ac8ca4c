"""What a diagram shows of a flow: boxes, arrows between them, and groups around the bodies of fan-outs.

In: a ``Graph``. Out: a ``Picture``, the same for text and for drawings. ``detailed`` has a box for everything a signal
passes; ``simplified`` only the chunks and sub flows, and where the flow goes from each.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from triggerflow_django import exceptions
from triggerflow_django.definition.chunk import function_name, is_lambda
from triggerflow_django.definition.graph import ELSE, START, TRIGGER_TYPES, Graph, Node, Source
from triggerflow_django.diagrams import grouping

Mode = Literal["simplified", "detailed"]
MODES: Final = ("simplified", "detailed")

#: ``label``: the name of a branch, written on its way. ``fork``, ``join``, ``merge``: where ways part and meet again.
Kind = Literal["start", "trigger", "chunk", "sub_flow", "when", "collect", "match", "fork", "join", "merge", "label"]

_PREFIX: Final = {"event": "on", "runtime_data": "on state", "flow_data": "on flow data"}
_WHEN: Final = {"and": "all of", "or": "any of", "simple_or": "any of"}


@dataclass(frozen=True, slots=True)
class Box:
    """One thing in a picture. ``node``: the flow's node it stands for, whose state it shows; empty for none."""

    id: str
    kind: Kind
    text: str
    note: str = ""
    node: str = ""


@dataclass(frozen=True, slots=True)
class Arrow:
    """From one box to another."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Group:
    """The body of a fan-out. ``boxes``: those in it and in no group inside it."""

    id: str
    text: str
    boxes: tuple[str, ...]
    #: The group it is in; empty at the top.
    parent: str


@dataclass(frozen=True, slots=True)
class Picture:
    """All of it, in the order of the definition."""

    name: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    groups: tuple[Group, ...] = ()


def picture(graph: Graph, mode: Mode) -> Picture:
    """The picture of a graph.

    Raises: DefinitionError (a ValueError) for another mode.
    """
    if mode not in MODES:
        raise exceptions.DefinitionError(f"mode={mode!r}: use 'simplified' or 'detailed'")
    sketch = _Sketch(graph)
    sketch.draw()
    return sketch.detailed() if mode == "detailed" else sketch.simplified()


@dataclass(slots=True)
class _Sketch:
    graph: Graph
    boxes: dict[str, Box] = field(default_factory=dict)
    #: By box: where its arrows lead. A dict for its order.
    leads: dict[str, dict[str, None]] = field(default_factory=dict)

    def draw(self) -> None:
        graph = self.graph
        for source in graph.edges:
            if source[0] in TRIGGER_TYPES:
                self.add(_trigger(source))
        for node in graph.nodes.values():
            self.add(_box(graph, node))
            if node.kind == "match":
                for branch, text, note in _branches(node):
                    self.add(Box(f"{node.id}/{branch}\0", "label", text, note))
                    self.arrow(node.id, f"{node.id}/{branch}\0")
                if not node.has_else:  # the value passes
                    self.arrow(f"{node.id}/{ELSE}\0", node.partner)
        for source, edges in graph.edges.items():
            for edge in edges:
                self.arrow(self.origin(source), edge.node)
        for box in [box for box in self.boxes.values() if box.kind in ("chunk", "sub_flow")]:
            if not self.leads.get(box.id) and not any(box.id in targets for targets in self.leads.values()):
                del self.boxes[box.id]  # made and never attached

    def add(self, box: Box) -> None:
        self.boxes[box.id] = box

    def arrow(self, source: str, target: str) -> None:
        self.leads.setdefault(source, {})[target] = None

    def origin(self, source: Source) -> str:
        """The box a source is drawn as."""
        kind, name = source
        if kind in TRIGGER_TYPES:
            return _trigger(source).id
        if kind == "branch":
            node = name.rpartition("/")[0]
            return f"{name}\0" if self.graph.nodes[node].kind == "match" else node
        return name

    def arrows(self) -> tuple[Arrow, ...]:
        return tuple(Arrow(source, target) for source in self.boxes for target in self.leads.get(source, ()))

    def detailed(self) -> Picture:
        openers = {node.id: node.partner for node in self.graph.nodes.values() if node.kind in ("batch", "for_each")}
        leads = {box: list(self.leads.get(box, ())) for box in self.boxes}
        groups = [
            Group(opener, _group_text(self.graph.nodes[opener]), boxes, parent)
            for opener, boxes, parent in grouping.bodies(leads, openers)
        ]
        return Picture(self.graph.name, tuple(self.boxes.values()), self.arrows(), tuple(groups))

    def simplified(self) -> Picture:
        """Without routing nodes: what came before one leads to what came after it. One that many lead to and that
        leads to many stays, as a dot, for the sake of the number of arrows.
        """
        for box in [*self.boxes.values()]:
            if box.kind not in ("chunk", "sub_flow", "start"):
                self.contract(box)
        if not self.leads.get(_trigger(START).id):
            self.boxes.pop(_trigger(START).id, None)
        return Picture(self.graph.name, tuple(self.boxes.values()), self.arrows())

    def contract(self, box: Box) -> None:
        before = [source for source, targets in self.leads.items() if box.id in targets and source != box.id]
        after = [target for target in self.leads.get(box.id, {}) if target != box.id]
        if len(before) > 1 and len(after) > 1:
            self.boxes[box.id] = Box(box.id, "merge", "", box.note, box.node)
            return
        for source in before:
            # In its place: the order of the definition is the order in the picture.
            targets = [*self.leads[source]]
            place = targets.index(box.id)
            self.leads[source] = dict.fromkeys([*targets[:place], *after, *targets[place + 1 :]])
        self.leads.pop(box.id, None)
        del self.boxes[box.id]


def _trigger(source: Source) -> Box:
    kind, name = source
    if source == START:
        return Box("\0START", "start", "start", "start")
    text = f"{_PREFIX[kind]} {name}"
    return Box(f"\0{kind}:{name}", "trigger", text, text)


def _box(graph: Graph, node: Node) -> Box:  # noqa: PLR0911 - one for each kind
    match node.kind:
        case "chunk":
            name = node.chunk.name if node.chunk is not None else node.id
            return Box(node.id, "chunk", name, name if name == node.id else f"{name} ({node.id})", node.id)
        case "sub_flow":
            name, flow = (node.sub_flow.name, node.sub_flow.flow.name) if node.sub_flow is not None else (node.id, "")
            return Box(
                node.id, "sub_flow", name, f"sub flow {flow}" if name == flow else f"{name}: sub flow {flow}", node.id
            )
        case "when":
            note = f"when {'all' if node.mode == 'and' else 'any'} of {', '.join(node.slots)}"
            return Box(node.id, "when", _WHEN[node.mode], note, node.id)
        case "collect":
            text = node.id[max(0, node.id.rfind("collect(")) :]
            return Box(node.id, "collect", text, f"{text}: {', '.join(node.slots)}", node.id)
        case "match":
            first = node.mode == "hit_first"
            note = "the first case that holds" if first else "every case that holds"
            return Box(node.id, "match", "" if first else "all", note, node.id)
        case "batch" | "for_each":
            return Box(node.id, "fork", _fork_text(node), _group_text(node), node.id)
        case "end":
            opener = graph.nodes[node.partner]
            if opener.kind == "match":
                return Box(node.id, "merge", "", "end of the cases", node.id)
            return Box(node.id, "join", "join", f"end of {_fork_text(opener)}", node.id)


def _fork_text(node: Node) -> str:
    return "batch" if node.kind == "batch" else "for each item"


def _group_text(node: Node) -> str:
    text = _fork_text(node)
    return text if node.concurrency is None else f"{text}, {node.concurrency} at once"


def _branches(node: Node) -> Iterable[tuple[str, str, str]]:
    """Of a match: each branch, what its way is called, and the whole of that."""
    for index, condition in enumerate(node.conditions):
        text = _condition(condition, index)
        yield str(index), text, text
    yield ELSE, *(("else", "no case holds") if node.has_else else ("otherwise", "no case holds: the value passes"))


def _condition(condition: Any, index: int) -> str:
    if not callable(condition):
        return f"= {condition!r}"
    if is_lambda(condition):
        return f"case {index + 1}"
    return function_name(condition)
