"""``save_blueprint``, ``get_json_flow`` and their kin: a flow as data, and a flow from data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from triggerflow_django import exceptions, jsongate
from triggerflow_django.definition import document, loading, yaml_text
from triggerflow_django.definition.contract import Contract
from triggerflow_django.definition.graph import GraphBuilder
from triggerflow_django.definition.handlers import ANONYMOUS, KINDS, Function, HandlerKind, Handlers
from triggerflow_django.definition.loading import Bind, Loaded

if TYPE_CHECKING:
    from triggerflow_django.definition.flow import FlowDefinition

_MOST_BYTES = document.LIMITS.total_bytes


class Blueprint(dict[str, Any]):
    """What ``save_blueprint()`` gives: the flow as data, a ``dict`` that can be stored as JSON; in this process it also
    remembers the functions, lambdas included.
    """

    def __init__(self, data: Mapping[str, Any], functions: document.Live, contract: Contract) -> None:
        super().__init__(data)
        self.functions = functions
        #: The flow's contract, with its Python types.
        self.contract = contract


class BlueprintMethods:
    """The part of a flow that becomes data and comes from data."""

    name: str
    skip_exceptions: bool
    _builder: GraphBuilder
    _handlers: Handlers
    _has_name: bool

    # -- functions by name

    def register_chunk_handler(self, handler: Any, *, name: str | None = None) -> Self:
        """Bind a name in flows as data to a chunk function; without ``name`` that of the function.

        Raises: DefinitionError (a ValueError) for a lambda without a name, and for a name bound to another function.
        """
        self._handlers.register("chunk", handler, name)
        return self

    def register_condition_handler(self, handler: Any, *, name: str | None = None) -> Self:
        """The same for the condition of a ``case``."""
        self._handlers.register("condition", handler, name)
        return self

    # -- to data

    def save_blueprint(self) -> Blueprint:
        """The flow as data, for ``load_blueprint`` of another flow. Within this process that needs no registered
        functions; stored and loaded elsewhere it is what ``get_flow_config`` gives.
        """
        written = document.write(self._definition)
        return Blueprint(written.document, written.live, self._builder.contract)

    def get_flow_config(self, *, validate_serializable: bool = True) -> dict[str, Any]:
        """The flow as plain data. Functions appear under the name they are registered by, else under their own.

        Raises: UnboundHandlerError (a ValueError) that lists every lambda, every second function of one name, and every
        case that is not JSON; not with ``validate_serializable=False``: then nobody can load it again.
        """
        written = document.write(self._definition)
        if validate_serializable and written.missing:
            lines = "; ".join(written.missing)
            raise exceptions.UnboundHandlerError(f"flow {self.name!r} cannot become data: {lines}", written.missing)
        return written.document

    def get_json_flow(self, save_to: str | Path | None = None, *, encoding: str = "utf-8") -> str:
        """``get_flow_config`` as JSON text, also written to a file."""
        return _saved(json.dumps(self.get_flow_config(), indent=2, ensure_ascii=False), save_to, encoding)

    def get_yaml_flow(self, save_to: str | Path | None = None, *, encoding: str = "utf-8") -> str:
        """``get_flow_config`` as YAML text, also written to a file; needs the extra ``yaml``."""
        return _saved(yaml_text.dump(self.get_flow_config()), save_to, encoding)

    # -- from data

    def load_blueprint(self, blueprint: Mapping[str, Any]) -> Self:
        """Become the flow that ``save_blueprint`` or ``get_flow_config`` of another one gave; the name stays.

        Functions are those registered here, else, of a ``Blueprint`` from this process, those it remembers.

        Raises: BlueprintError (a ValueError), with a path; UnboundHandlerError (a ValueError), listing every function
        that is missing; BlueprintTypeError (a TypeError) for what is no mapping.
        """
        live: document.Live = getattr(blueprint, "functions", {kind: {} for kind in KINDS})
        loaded = self._load(blueprint, lambda kind, name: self._handlers.find(kind, name) or live[kind].get(name))
        if isinstance(blueprint, Blueprint) and blueprint.contract.json_schemas() == loaded.contract.json_schemas():
            self._builder.contract = blueprint.contract
        return self

    def load_flow_config(self, config: Mapping[str, Any], *, replace: bool = True) -> Self:
        """Become the flow that a document describes; everything the flow had is replaced. A flow that was made without
        a name takes that of the document.

        Functions are found by name among those registered here and those of the flow so far. Nothing is imported.

        Raises: see ``load_blueprint``; DefinitionError for ``replace=False`` where there is something to replace.
        """
        if not replace and self._builder.drafts:
            raise exceptions.DefinitionError("replace=False: a flow as data cannot be merged into one that has chunks")
        loaded = self._load(config, self._bind_here())
        if not self._has_name:
            self.name = self._builder.name = loaded.name
            self._has_name = True
        return self

    def load_json_flow(self, path_or_content: str | Path, *, replace: bool = True, encoding: str = "utf-8") -> Self:
        """``load_flow_config`` of JSON text (it begins with ``{``) or of a file."""
        try:
            config = jsongate.parse(_content(path_or_content, encoding), limits=document.LIMITS)
        except exceptions.JsonValueError as error:
            raise exceptions.BlueprintError(str(error)) from None
        return self.load_flow_config(config, replace=replace)  # type: ignore[arg-type]

    def load_yaml_flow(self, path_or_content: str | Path, *, replace: bool = True, encoding: str = "utf-8") -> Self:
        """``load_flow_config`` of YAML text (it has more than one line, or begins with ``{``) or of a file; needs the
        extra ``yaml``.
        """
        return self.load_flow_config(yaml_text.parse(_content(path_or_content, encoding)), replace=replace)

    # -- inside

    @property
    def _definition(self) -> FlowDefinition:
        flow: Any = self
        return flow  # type: ignore[no-any-return]

    def _bind_here(self) -> Bind:
        so_far: dict[HandlerKind, dict[str, Function]] = document.write(self._definition).live
        return lambda kind, name: (
            self._handlers.find(kind, name) or (None if name.startswith(ANONYMOUS) else so_far[kind].get(name))
        )

    def _load(self, config: Mapping[str, Any], bind: Bind) -> Loaded:
        bound: dict[tuple[HandlerKind, str], Function] = {}

        def noting(kind: HandlerKind, name: str) -> Function | None:
            found = bind(kind, name)
            if found is not None and not name.startswith(ANONYMOUS):
                bound[kind, name] = found
            return found

        loaded = loading.load(config, self._definition, noting)
        self._become(loaded)
        for (kind, name), function in bound.items():
            if self._handlers.find(kind, name) is None:
                self._handlers.register(kind, function, name)
        return loaded

    def _become(self, loaded: Loaded) -> None:
        loaded.builder.name = self.name
        self._builder = loaded.builder
        self.skip_exceptions = self.skip_exceptions or loaded.skip_exceptions


def _saved(text: str, save_to: str | Path | None, encoding: str) -> str:
    if save_to is not None:
        path = Path(save_to)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding=encoding)
    return text


def _content(given: str | Path, encoding: str) -> str:
    """Text that was given, or that a file holds.

    Raises: BlueprintError for a file that is not there, is no text, or is too large.
    """
    if isinstance(given, str) and (given.lstrip().startswith(("{", "[")) or "\n" in given):
        text = given
    else:
        try:
            if not Path(given).is_file():
                raise FileNotFoundError
            with Path(given).open(encoding=encoding) as file:
                text = file.read(_MOST_BYTES + 1)
        except (OSError, ValueError) as error:
            raise exceptions.BlueprintError(
                f"{str(given)[:200]!r} is neither a flow nor a file with one: {type(error).__name__}"
            ) from None
    if len(text) > _MOST_BYTES:
        raise exceptions.BlueprintError(f"a flow as data has at most {_MOST_BYTES} bytes")
    return text
