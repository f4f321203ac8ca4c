"""A short folder for sockets, and supervisors that end with their test."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.project.stack import Starter


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the processes of one test leave their files; a short path, because their sockets lie there."""
    with tempfile.TemporaryDirectory(prefix="tf-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture
def start(folder: Path) -> Iterator[Starter]:
    """Start a supervisor: ``start("--port", "0", DATABASE_URL=...)``."""
    starter = Starter(folder)
    yield starter
    starter.end()
