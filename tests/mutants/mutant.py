"""A mutant: the package with one guard taken out, and the tests that should notice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


class StaleMutantError(Exception):
    """The code has changed: what a mutant replaces is not there once, or a test it names does not exist."""


@dataclass(frozen=True, slots=True)
class Edit:
    """``old`` stands in ``file`` in one place; the mutant has ``new`` there. Files: inside the package."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """One guard less. ``tests``: node ids below ``tests/``; one that fails is enough."""

    guard: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]
    #: Only a real row lock can be missed.
    needs_postgres: bool = False

    def require_current(self, root: Path) -> None:
        """Hold the mutant against the tree.

        Raises: StaleMutantError saying what is not there.
        """
        for edit in self.edits:
            _mutated((root / "triggerflow_django" / edit.file).read_text(encoding="utf-8"), edit, self.guard)
        for test in self.tests:
            path, name = test.split("::")
            file = root / "tests" / path
            text = file.read_text(encoding="utf-8") if file.exists() else ""
            if not re.search(rf"^(async )?def {name.partition('[')[0]}\(", text, re.MULTILINE):
                raise StaleMutantError(f"{self.guard}: there is no test tests/{test}")

    @contextmanager
    def applied(self, root: Path) -> Iterator[None]:
        """The tree with the guard taken out; put back at the end.

        Raises: StaleMutantError; nothing is changed then.
        """
        former: dict[Path, str] = {}
        changed: dict[Path, str] = {}
        for edit in self.edits:
            path = root / "triggerflow_django" / edit.file
            former.setdefault(path, path.read_text(encoding="utf-8"))
            changed[path] = _mutated(changed.get(path, former[path]), edit, self.guard)
        try:
            for path, text in changed.items():
                path.write_text(text, encoding="utf-8")
            yield
        finally:
            for path, text in former.items():
                path.write_text(text, encoding="utf-8")


def _mutated(text: str, edit: Edit, guard: str) -> str:
    found = text.count(edit.old)
    if found != 1:
        raise StaleMutantError(f"{guard}: what it replaces stands {found} times in {edit.file}, not once:\n{edit.old}")
    if edit.old == edit.new:
        raise StaleMutantError(f"{guard}: it changes nothing")
    return text.replace(edit.old, edit.new)
