"""YAML in and out, with PyYAML (the extra ``yaml``): plain values only, no aliases, no tags, no key twice."""

from __future__ import annotations

from collections import Counter
from typing import Any

from triggerflow_django import exceptions


def _yaml() -> Any:
    try:
        import yaml  # noqa: PLC0415 - optional
    except ImportError:
        raise exceptions.DefinitionError(
            "YAML needs PyYAML: pip install 'triggerflow-django[yaml]'; or use JSON (get_json_flow, load_json_flow)"
        ) from None
    return yaml


def dump(value: Any) -> str:
    """A plain value as YAML.

    Raises: DefinitionError where PyYAML is not installed.
    """
    yaml = _yaml()

    class Dumper(yaml.SafeDumper):  # type: ignore[misc, name-defined]
        def ignore_aliases(self, data: Any) -> bool:
            return True

    text: str = yaml.dump(value, Dumper=Dumper, allow_unicode=True, sort_keys=False, width=100)
    return text


def parse(text: str) -> Any:
    """A plain value from YAML.

    Raises: BlueprintError for what is not YAML, or not plain; DefinitionError where PyYAML is not installed.
    """
    yaml = _yaml()

    class Loader(yaml.SafeLoader):  # type: ignore[misc, name-defined]
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):  # a few of them nested are gigabytes
                raise yaml.constructor.ConstructorError(
                    None, None, "aliases are not accepted", self.peek_event().start_mark
                )
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = Counter(repr(self.construct_object(key, deep=True)) for key, _ in node.value)
            twice = [key for key, count in keys.items() if count > 1]
            if twice:
                raise yaml.constructor.ConstructorError(None, None, f"{twice[0]} is there twice", node.start_mark)
            return super().construct_mapping(node, deep=deep)

    try:
        return yaml.load(text, Loader=Loader)
    except yaml.YAMLError as error:
        # Not the whole message: it quotes the text, which may be that of a file nobody meant to show.
        mark = getattr(error, "problem_mark", None)
        place = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
        why = str(getattr(error, "problem", None) or "unreadable characters")[:200]
        raise exceptions.BlueprintError(f"not YAML, or not plain: {place}{why}") from None
    except (RecursionError, ValueError, TypeError) as error:  # too deep; a date that is none; a list as a key
        raise exceptions.BlueprintError(f"not YAML, or not plain: {type(error).__name__}") from None
