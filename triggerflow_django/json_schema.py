"""JSON Schema 2020-12, as this package uses it: a schema is checked where it is written, a value is held against it,
and nothing is ever fetched.
"""

from __future__ import annotations

from typing import Any

import jsonschema
from jsonschema.validators import Draft202012Validator
from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012


def problem(schema: Any) -> str | None:
    """What is wrong with a schema, in words: no schema at all, or a ``$ref`` into nowhere, so that no value could ever
    be held against it; ``None`` where nothing is.
    """
    try:
        Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        return f"{error.json_path}: {error.message}"
    whole = DRAFT202012.create_resource(schema)
    todo = [(whole, REGISTRY.resolver_with_root(whole))]
    while todo:
        part, resolver = todo.pop()
        for word in ("$ref", "$dynamicRef") if isinstance(part.contents, dict) else ():
            if word in part.contents:
                try:
                    resolver.lookup(part.contents[word])
                except Unresolvable:
                    return f"{word} {part.contents[word]!r} leads nowhere in this schema"
        todo.extend((inner, resolver.in_subresource(inner)) for inner in part.subresources())
    return None


def errors(schema: Any, value: Any) -> list[dict[str, str]]:
    """Where a value does not match a (checked) schema: ``{"path": "$.amount", "message": ...}``, by path."""
    # An empty registry: a schema may refer to itself, never to an address.
    validator = Draft202012Validator(schema, registry=Registry())
    try:
        found = sorted(validator.iter_errors(value), key=lambda error: error.json_path)
    except RecursionError:
        return [{"path": "$", "message": "the schema runs in circles, so nothing can be held against it"}]
    return [{"path": error.json_path, "message": error.message[:500]} for error in found]
