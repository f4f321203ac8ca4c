"""A flow's contract: what it takes, streams and gives, as Python types (with pydantic) or JSON Schema.

Checked where a value enters: the input when an execution is started (before anything is stored), stream items and the
result where a chunk hands them over. Exported as JSON Schema for forms and OpenAPI.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, Final, Literal

from triggerflow_django import exceptions, json_schema, jsongate

Part = Literal["initial_input", "stream", "result"]
PARTS: Final[tuple[Part, ...]] = ("initial_input", "stream", "result")


@dataclass(frozen=True, slots=True)
class Shape:
    """What one part of a contract must look like: a JSON Schema, or a type that pydantic knows how to check."""

    #: A JSON Schema (``dict`` or ``bool``); else ``type`` is a Python type.
    schema: Any = None
    #: pydantic's ``TypeAdapter`` of the type.
    adapter: Any = None

    def checked(self, value: Any) -> tuple[Any, list[dict[str, str]]]:
        """The value as JSON (types: coerced, as pydantic does it), and where it does not match."""
        if self.adapter is None:
            return value, json_schema.errors(self.schema, value)
        try:
            return self.adapter.dump_python(self.adapter.validate_python(value), mode="json"), []
        except ValueError as error:
            told = getattr(error, "errors", None)
            if told is None:
                return value, [{"path": "$", "message": str(error)[:500]}]
            return value, [{"path": _path(one["loc"]), "message": str(one["msg"])[:500]} for one in told()]

    def json_schema(self) -> Any:
        """The JSON Schema of it."""
        return self.schema if self.adapter is None else self.adapter.json_schema()


@dataclass(frozen=True, slots=True)
class Contract:
    """The shapes of a flow's input, stream items and result, each if declared, and free notes."""

    shapes: Mapping[str, Shape] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)

    def checked(self, part: Part, value: Any) -> Any:
        """The value, as the contract's type makes it (``"5"`` of an ``int`` is 5); unchanged without one.

        Raises: ContractError, whose ``errors`` list every failing path.
        """
        shape = self.shapes.get(part)
        if shape is None:
            return value
        made, errors = shape.checked(value)
        if errors:
            told = "; ".join(f"{error['path']}: {error['message']}" for error in errors)
            raise exceptions.ContractError(f"{_WORDS[part]} does not match the flow's contract: {told}", errors)
        return made

    def json_schemas(self) -> dict[str, Any]:
        """``{"initial_input": schema or None, "stream": ..., "result": ..., "meta": {...}}``."""
        found: dict[str, Any] = {
            part: self.shapes[part].json_schema() if part in self.shapes else None for part in PARTS
        }
        return {**found, "meta": dict(self.meta)}


#: Of a flow that declared nothing.
NOTHING: Final = Contract()

_WORDS: Final = {"initial_input": "the input", "stream": "the stream item", "result": "the result"}


def contract(*, meta: Mapping[str, Any] | None = None, **declared: Any) -> Contract:
    """A checked contract. ``declared``: by part a JSON Schema (a dict), or anything pydantic takes for a type.

    Raises: DefinitionError for what is neither, and for a type where pydantic is not installed.
    """
    shapes = {part: _shape(part, given) for part, given in declared.items() if given is not None}
    notes: Any = jsongate.check(dict(meta or {}), limits=jsongate.ANSWER, root="contract.meta")
    return Contract(shapes, notes)


def _shape(part: str, given: Any) -> Shape:
    if isinstance(given, dict | bool):
        schema = jsongate.check(given, limits=jsongate.ANSWER, root=f"contract.{part}")
        wrong = json_schema.problem(schema)
        if wrong is not None:
            raise exceptions.DefinitionError(f"set_contract({part}=...): {wrong}")
        return Shape(schema=schema)
    return Shape(adapter=_adapter(part, given))


def _adapter(part: str, given: Any) -> Any:
    if isinstance(given, str | FunctionType):  # pydantic would take both for something else
        raise exceptions.DefinitionError(
            f"set_contract({part}={given!r}): give a Python type, or a JSON Schema as a dict"
        )
    try:
        from pydantic import TypeAdapter  # noqa: PLC0415 - optional
    except ImportError:
        raise exceptions.DefinitionError(
            f"set_contract({part}={given!r}): Python types need pydantic (pip install 'triggerflow-django[pydantic]'); "
            "or give a JSON Schema as a dict"
        ) from None
    try:
        adapter = TypeAdapter(given)
        adapter.json_schema()
    except Exception as error:  # pydantic raises errors of several kinds for what is no type, or has no schema
        raise exceptions.DefinitionError(f"set_contract({part}={given!r}): {error}") from error
    return adapter


def _path(places: tuple[Any, ...]) -> str:
    return "$" + "".join(f"[{place}]" if isinstance(place, int) else f".{place}" for place in places)
