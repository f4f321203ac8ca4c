"""A pytest plugin: a laboratory's tests see the laboratory's copy of the package and no other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def pytest_sessionstart() -> None:
    """Refuse to test another copy: every mutant of this one would survive."""
    import triggerflow_django

    root = os.environ["TRIGGERFLOW_MUTANTS_ROOT"]
    if not Path(triggerflow_django.__file__).is_relative_to(root):
        pytest.exit(f"the package is {triggerflow_django.__file__}, not the one in {root}", returncode=4)
