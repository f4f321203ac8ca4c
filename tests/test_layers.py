"""Imports go down the list of the house only, and the graph needs no Django."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parent.parent
LINT_IMPORTS = Path(sys.executable).parent / "lint-imports"

IMPORT_PURE_PARTS = """
import importlib, pkgutil, sys
import triggerflow_django
from triggerflow_django import definition, exceptions, jsongate
for module in pkgutil.walk_packages(definition.__path__, definition.__name__ + "."):
    importlib.import_module(module.name)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def _lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([LINT_IMPORTS, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False)


def test_every_import_goes_down() -> None:
    result = _lint_imports(ROOT)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("jsongate.py", "from triggerflow_django import models", "Imports go down the list"),
        ("definition/graph.py", "import django", "The graph is pure Python"),
        ("engine/__init__.py", "import rq", "The engine knows neither DRF nor RQ"),
        ("novelty.py", "", "Imports go down the list"),
    ],
)
def test_a_forbidden_import_is_found(tmp_path: Path, module: str, line: str, broken: str) -> None:
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "triggerflow_django", tmp_path / "triggerflow_django", ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "triggerflow_django" / module).open("a") as file:
        file.write(f"\n{line}\n")
    result = _lint_imports(tmp_path)
    assert result.returncode != 0
    assert broken in result.stdout.replace("\n", " ")


def test_the_graph_is_imported_without_django() -> None:
    result = subprocess.run(
        [sys.executable, "-c", IMPORT_PURE_PARTS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    imported = set(result.stdout.split())
    assert "triggerflow_django" in imported
    assert not imported & {"django", "rest_framework", "rq", "django_rq", "redis", "valkey"}
