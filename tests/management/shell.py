"""Run a command in this process as a shell would: words in, exit code, output and errors out."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    error: str

    @property
    def document(self) -> Any:
        """The one JSON document of ``--format json``."""
        return json.loads(self.out)


def run(name: str, *words: object, stdin: bytes | None = None, typed: str | None = None) -> Ran:
    """Run ``triggerflow_<name>``. ``stdin``: what is piped into it; ``typed``: what somebody types at a terminal."""
    out, error = io.StringIO(), io.StringIO()
    with standard_input(stdin, typed):
        try:
            call_command(f"triggerflow_{name}", *map(str, words), stdout=out, stderr=error)
        except CommandError as refused:
            return Ran(refused.returncode, out.getvalue(), error.getvalue() + str(refused))
    return Ran(0, out.getvalue(), error.getvalue())


class Terminal(io.TextIOWrapper):
    """A terminal, and what is typed at it."""

    def isatty(self) -> bool:
        return True


@contextmanager
def standard_input(piped: bytes | None, typed: str | None) -> Iterator[None]:
    """Standard input for the length of the block; a pipe with nothing in it unless said otherwise."""
    former = sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(piped or b"")) if typed is None else Terminal(io.BytesIO(typed.encode()))
    try:
        yield
    finally:
        sys.stdin = former


def rows() -> dict[str, int]:
    """How many rows every table of the app has, to see that a refusal left none."""
    from django.apps import apps

    return {model.__name__: model._default_manager.count() for model in apps.get_app_config("triggerflow").get_models()}


def is_postgresql() -> bool:
    """Whether this run is the one on PostgreSQL."""
    return connection.vendor == "postgresql"
