"""``to_sub_flow``: a node that runs another flow as an execution of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from triggerflow_django import exceptions, jsongate
from triggerflow_django.definition.mapping import WHOLE_VALUE, Binding, bindings

if TYPE_CHECKING:
    from triggerflow_django.definition.flow import FlowDefinition
    from triggerflow_django.definition.graph import GraphBuilder, Source
    from triggerflow_django.definition.process import Process

_MAX_NAME = 200


@dataclass(frozen=True, slots=True)
class SubFlow:
    """What a node of kind ``sub_flow`` runs. The child is the flow as it is when it starts, not as it was when this was
    written: two flows may contain each other.
    """

    id: str
    name: str
    flow: FlowDefinition
    capture: tuple[Binding, ...]
    #: ``None``: the child's result becomes the value.
    write_back: tuple[Binding, ...] | None
    #: How many steps of one child may run at once.
    concurrency: int | None


def is_flow(item: object) -> bool:
    """Whether something that was attached is a flow."""
    from triggerflow_django.definition.flow import FlowDefinition  # noqa: PLC0415 - a flow makes processes

    return isinstance(item, FlowDefinition)


def attach(
    builder: GraphBuilder,
    flow: Any,
    *,
    owner: str,
    name: str | None = None,
    capture: Mapping[str, Any] | None = None,
    write_back: Mapping[str, Any] | None = None,
    concurrency: int | None = None,
) -> SubFlow:
    """Add a node for a flow. Each call adds one; its id is its ``name``, or follows from its place.

    Raises: MappingTypeError, DefinitionError.
    """
    if not is_flow(flow):
        raise exceptions.MappingTypeError(f"to_sub_flow() takes a flow, not {type(flow).__name__}")
    if name is not None and not jsongate.is_name(name, most=_MAX_NAME):
        raise exceptions.DefinitionError(f"sub flow name {name!r}: give a text of 1 to {_MAX_NAME} characters")
    if concurrency is not None and (
        isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1
    ):
        raise exceptions.DefinitionError(f"concurrency={concurrency!r}: give a whole number, 1 or more, or None")
    captured = WHOLE_VALUE if capture is None else bindings("capture", capture)
    written = None if write_back is None else bindings("write_back", write_back)
    draft = builder.add("sub_flow", name if name is not None else builder.numbered(owner, "sub_flow"))
    draft.sub_flow = SubFlow(draft.id, name or flow.name, flow, captured, written, concurrency)
    return draft.sub_flow


class SubFlowMethods:
    """The part of a chain that is about sub flows."""

    _builder: GraphBuilder
    _owner: str

    def to_sub_flow(
        self,
        flow: FlowDefinition,
        side_branch: bool = False,
        name: str | None = None,
        capture: Mapping[str, Any] | None = None,
        write_back: Mapping[str, Any] | None = None,
        concurrency: int | None = None,
    ) -> Process:
        """Run another flow with the value of this place, as an execution of its own; go on with its result:
        ``$final_result`` where it gave one, else its snapshot.

        ``capture``: what the child gets instead of the value, by scope: ``input`` (a source, or ``{path: source}``),
        ``runtime_data`` (its first state), ``flow_data``, ``resources``; a source is ``value``, ``runtime_data``,
        ``flow_data`` or ``resources``, and a dotted path in it. ``write_back``: what this flow takes over, into
        ``value``, ``runtime_data`` and ``flow_data``, from ``result``; without ``value`` the value stays as it was.
        ``concurrency``: how many steps of one child run at once. ``name``: names the node.

        Raises: DefinitionError (a ValueError) for a scope or path there is none of; MappingTypeError (a TypeError).
        """
        source = self._standing("to_sub_flow")
        attached = attach(
            self._builder,
            flow,
            owner=self._owner,
            name=name,
            capture=capture,
            write_back=write_back,
            concurrency=concurrency,
        )
        self._builder.connect(source, attached.id)
        here: Any = self
        return here if side_branch else self._at(("done", attached.id), owner=attached.id)

    def _standing(self, method: str) -> Source:
        raise NotImplementedError

    def _at(self, source: Source | None, *, owner: str) -> Process:
        raise NotImplementedError


class FlowSubFlowMethods:
    """The same at the start of a flow."""

    @property
    def _start(self) -> Process:
        raise NotImplementedError

    def to_sub_flow(
        self,
        flow: FlowDefinition,
        side_branch: bool = False,
        name: str | None = None,
        capture: Mapping[str, Any] | None = None,
        write_back: Mapping[str, Any] | None = None,
        concurrency: int | None = None,
    ) -> Process:
        """Run another flow when an execution starts. See ``Process.to_sub_flow``."""
        return self._start.to_sub_flow(flow, side_branch, name, capture, write_back, concurrency)
