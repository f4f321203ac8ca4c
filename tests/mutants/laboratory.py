"""A copy of the tree in which mutants are tried, so that the checkout itself is never broken.

Each laboratory has a copy of its own, so several may work side by side.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.mutant import Mutant

ROOT = Path(__file__).resolve().parents[2]
#: What the tests need of the tree.
_PARTS = (
    "triggerflow_django", "tests", "project", "templates", "docs", "benchmarks",
    "pyproject.toml", "manage.py", "README.md", "CHANGELOG.md", "LICENSE", "Makefile",
)  # fmt: skip
#: Seconds for the tests of one mutant, all together.
_PATIENCE = 300
_FAILED = re.compile(r"^FAILED tests/([^\s\[]+).*?(?: - (\w.*))?$", re.MULTILINE)
#: By these a test fails that never came to the guard: the mutant itself is broken.
_NO_VERDICT = (
    "NameError", "UnboundLocalError", "ImportError", "ModuleNotFoundError", "SyntaxError", "IndentationError",
)  # fmt: skip


class LaboratoryError(Exception):
    """A run that says nothing about the guard: tests were skipped or could not be collected."""


@dataclass(frozen=True, slots=True)
class Caught:
    """A test that failed, and with what."""

    test: str
    error: str


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a mutant."""

    mutant: Mutant
    #: The test that failed first, and with what; ``None``: it survived.
    caught: Caught | None
    seconds: float


class Laboratory:
    """One copy of the tree."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def try_out(self, mutant: Mutant) -> Result:
        """Run a mutant's tests until one fails.

        Raises: StaleMutantError; LaboratoryError where they could not be run.
        """
        began = time.monotonic()
        with mutant.applied(self.root):
            caught = self.run(mutant.tests, needs_postgres=mutant.needs_postgres)
        return Result(mutant, caught, time.monotonic() - began)

    def run(self, tests: Sequence[str], *, needs_postgres: bool = False) -> Caught | None:
        """Run tests of the copy. Returns the first that failed; ``None`` where all passed.

        Raises: LaboratoryError where they could not be run.
        """
        nodes = [f"tests/{test}" for test in tests]
        command = [sys.executable, "-m", "pytest", *nodes, "-x", "-q", "-n", "0", "-p", "no:cacheprovider"]
        # What a missing guard lets happen may last for ever.
        command += ["-o", "timeout=60", "-p", "tests.mutants.origin"]
        if needs_postgres:
            command = [sys.executable, "-m", "tests.servers", "--", *command]
        code, told = self._call(command)
        failed = _FAILED.search(told)
        if code == 0 and " skipped" not in told.splitlines()[-1]:
            return None
        if code == 1 and failed is not None and not (failed[2] or "").startswith(_NO_VERDICT):
            return Caught(failed[1], failed[2] or "")
        if code == 1 and failed is None and "+ Timeout +" in told:
            return Caught(tests[0], "no end")
        raise LaboratoryError(f"{' '.join(command)}\nended with {code}:\n{told[-4000:]}")

    def _call(self, command: list[str]) -> tuple[int, str]:
        environment = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
        environment |= {
            "PYTHONPATH": str(self.root),
            "PYTHONDONTWRITEBYTECODE": "1",
            "COLUMNS": "400",
            "TRIGGERFLOW_MUTANTS_ROOT": str(self.root),
        }
        process = subprocess.Popen(
            command,
            cwd=self.root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            told, _none = process.communicate(timeout=_PATIENCE)
        except BaseException as stop:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(stop, subprocess.TimeoutExpired):
                raise LaboratoryError(f"{' '.join(command)}\ndid not end within {_PATIENCE} s") from None
            raise
        return process.returncode, told


@contextmanager
def laboratory(source: Path = ROOT) -> Iterator[Laboratory]:
    """A fresh copy of the tree, deleted at the end."""
    with tempfile.TemporaryDirectory(prefix="triggerflow-mutants-") as folder:
        root = Path(folder)
        for part in _PARTS:
            if (source / part).is_dir():
                shutil.copytree(source / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
            elif (source / part).exists():
                shutil.copy(source / part, root / part)
        yield Laboratory(root)
