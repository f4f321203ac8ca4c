"""The model of docs/model, imported as its own command does: by the names of its files, from its folder."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "model"
FILES = ("states", "guards", "verbs", "properties", "check")


@pytest.fixture(scope="package")
def model() -> Iterator[SimpleNamespace]:
    """Its modules, by name."""
    taken = {name: sys.modules.pop(name) for name in FILES if name in sys.modules}
    sys.path.insert(0, str(FOLDER))
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in FILES})
    finally:
        sys.path.remove(str(FOLDER))
        for name in FILES:
            sys.modules.pop(name, None)
        sys.modules.update(taken)
