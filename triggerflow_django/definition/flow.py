"""A flow's definition: its name, its chunks, and the chains that start at START or at an event.

``TriggerFlow`` in ``handles`` adds what needs a database (creating and starting executions) to this class.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Literal, Self, overload

from triggerflow_django import exceptions, jsongate
from triggerflow_django.definition.blueprint import BlueprintMethods
from triggerflow_django.definition.chunk import UNSET, Chunk, ChunkOptions, Handler, _Unset
from triggerflow_django.definition.contract import Contract, contract
from triggerflow_django.definition.graph import START, Graph, GraphBuilder
from triggerflow_django.definition.handlers import Handlers
from triggerflow_django.definition.process import Attachable, Process
from triggerflow_django.definition.sub_flow import FlowSubFlowMethods
from triggerflow_django.diagrams.methods import DiagramMethods


class FlowDefinition(FlowSubFlowMethods, BlueprintMethods, DiagramMethods):
    """A graph of chunks under a name. Unnamed flows get a random name and cannot be registered usefully."""

    def __init__(
        self, name: str | None = None, *, skip_exceptions: bool = False, blueprint: Mapping[str, Any] | None = None
    ) -> None:
        if name is not None and not jsongate.is_name(name):
            raise exceptions.DefinitionError(f"flow name {name!r}: give a text of 1 to 200 characters")
        self.name = name or uuid.uuid4().hex
        #: Swallow the exceptions of chunks: the chain stops there, the execution is not failed.
        self.skip_exceptions = skip_exceptions
        self._builder = GraphBuilder(self.name)
        self._handlers = Handlers()
        self._has_name = name is not None
        if blueprint is not None:
            self.load_blueprint(blueprint)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    @property
    def graph(self) -> Graph:
        """The graph as written so far, frozen."""
        return self._builder.build()

    # -- contract

    def set_contract(
        self,
        *,
        initial_input: Any = None,
        stream: Any = None,
        result: Any = None,
        meta: Mapping[str, Any] | None = None,
    ) -> Self:
        """Declare what the flow takes, streams and gives: each a JSON Schema (a dict) or, with pydantic, a Python type.
        Replaces what was declared before. ``meta``: notes for whoever reads the contract.

        An input is checked (types: coerced) before anything is stored, stream items and ``set_result`` values where a
        chunk hands them over; a violation is a ``ContractError`` (a ``ValueError``).

        Raises: DefinitionError for what is neither, and for types without pydantic.
        """
        self._builder.contract = contract(initial_input=initial_input, stream=stream, result=result, meta=meta)
        self._builder.changed()
        return self

    @property
    def contract(self) -> Contract:
        """What was declared; ``contract.json_schemas()`` gives it as JSON Schema, for forms and OpenAPI."""
        return self._builder.contract

    # -- chunks

    @overload
    def chunk(self, target: Handler, /) -> Chunk: ...
    @overload
    def chunk(self, target: str, handler: Handler, /) -> Chunk: ...
    @overload
    def chunk(
        self,
        target: str | None = None,
        /,
        *,
        retries: int = 0,
        backoff: float | None = None,
        timeout: float | _Unset | None = UNSET,
        queue: str | None = None,
        atomic: bool = False,
    ) -> Callable[[Handler], Chunk]: ...

    def chunk(
        self,
        target: str | Handler | None = None,
        handler: Handler | None = None,
        /,
        *,
        retries: int = 0,
        backoff: float | None = None,
        timeout: float | _Unset | None = UNSET,
        queue: str | None = None,
        atomic: bool = False,
    ) -> Chunk | Callable[[Handler], Chunk]:
        """Make a chunk: ``flow.chunk(f)``, ``flow.chunk("name", f)``, ``@flow.chunk``, ``@flow.chunk("name")``,
        ``@flow.chunk(retries=3)``.

        ``retries``, ``backoff`` (seconds), ``timeout`` (seconds), ``queue`` and ``atomic`` say how the engine runs it;
        see ``ChunkOptions``.

        Raises: DefinitionError for a bad option or an atomic async function.
        """
        options = ChunkOptions(retries=retries, backoff=backoff, timeout=timeout, queue=queue, atomic=atomic)
        name = target if isinstance(target, str) else None
        function = handler if name is not None or target is None else target
        if function is None:
            return functools.partial(self._make_chunk, name=name, options=options)
        return self._make_chunk(function, name=name, options=options)  # type: ignore[arg-type]

    def _make_chunk(self, handler: Handler, *, name: str | None, options: ChunkOptions) -> Chunk:
        if isinstance(handler, Chunk):  # a second name, or other options, for the same function
            name, handler = name or handler.name, handler.handler
        return self._builder.chunk(handler, name=name, owner="START", options=options)

    # -- chains

    @property
    def _start(self) -> Process:
        return Process(self._builder, START, owner="START", root="")

    def to(self, chunk: Attachable, side_branch: bool = False, name: str | None = None) -> Process:
        """Run a chunk when an execution starts, with its input. See ``Process.to``."""
        return self._start.to(chunk, side_branch=side_branch, name=name)

    def side_branch(self, chunk: Attachable, name: str | None = None) -> Process:
        """Run a chunk at the start and stay there. See ``Process.side_branch``."""
        return self._start.side_branch(chunk, name=name)

    def batch(self, *chunks: Attachable, side_branch: bool = False, concurrency: int | None = None) -> Process:
        """Fan out at the start. See ``Process.batch``."""
        return self._start.batch(*chunks, side_branch=side_branch, concurrency=concurrency)

    def for_each(self, concurrency: int | None = None) -> Process:
        """Loop over the input. See ``Process.for_each``."""
        return self._start.for_each(concurrency=concurrency)

    def match(self, mode: Literal["hit_first", "hit_all"] = "hit_first") -> Process:
        """Choose by the input. See ``Process.match``."""
        return self._start.match(mode=mode)

    def if_condition(self, condition: Any) -> Process:
        """Choose by the input. See ``Process.if_condition``."""
        return self._start.if_condition(condition)

    def collect(
        self,
        collection: str,
        branch_id: str | None = None,
        mode: Literal["filled_and_update", "filled_then_empty"] | None = None,
    ) -> Process:
        """Collect the input itself as one branch. See ``Process.collect``."""
        return self._start.collect(collection, branch_id, mode)

    def when(self, triggers: Any, mode: Literal["and", "or", "simple_or"] = "and") -> Process:
        """A chain that starts at events. See ``Process.when``."""
        return self._start.when(triggers, mode)

    def intervention_point(self, name: str | None = None, target: str | None = None) -> Process:
        """A boundary for interventions at the start. See ``Process.intervention_point``."""
        return self._start.intervention_point(name, target)

    def end(self) -> Process:
        """Deprecated: the input becomes the final result. See ``Process.end``."""
        return self._start.end()

    def ____(self, *_args: object, **_kwargs: object) -> Process:
        """Nothing: a visual separator."""
        return self._start

    # case, end_match and their kin are only meaningful in a chain; on the flow itself they say so.

    def case(self, condition: Any) -> Process:
        """Refused: no ``match()`` is open here."""
        return self._start.case(condition)

    def elif_condition(self, condition: Any) -> Process:
        """Refused: no ``if_condition()`` is open here."""
        return self._start.elif_condition(condition)

    def case_else(self) -> Process:
        """Refused: no ``match()`` is open here."""
        return self._start.case_else()

    def else_condition(self) -> Process:
        """Refused: no ``if_condition()`` is open here."""
        return self._start.else_condition()

    def end_match(self) -> Process:
        """Refused: no ``match()`` is open here."""
        return self._start.end_match()

    def end_condition(self) -> Process:
        """Refused: no ``if_condition()`` is open here."""
        return self._start.end_condition()

    def end_for_each(self) -> Process:
        """Refused: no ``for_each()`` is open here."""
        return self._start.end_for_each()
