"""The wheel holds the app and all of its files, nothing else, and is enough for a small project."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

import triggerflow_django

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parent.parent

SETTINGS = """
SECRET_KEY = "of a project that lives for one test"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "triggerflow_django",
    "shop",
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
USE_TZ = True
"""

MANAGE = """
import os, sys
from django.core.management import execute_from_command_line
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
execute_from_command_line(sys.argv)
"""

FLOWS = """
from triggerflow_django import TriggerFlow, TriggerFlowRuntimeData

flow = TriggerFlow(name="refund")

async def ask(data: TriggerFlowRuntimeData):
    return await data.async_pause_for(
        type="approval", payload={"question": f"Refund {data.input['amount']}?"}, resume_to="next",
    )

async def commit(data: TriggerFlowRuntimeData):
    await data.async_set_state("decision", data.input)

flow.to(ask).to(commit)
"""

WALK = """
import json
from shop.flows import flow

execution = flow.create_execution(auto_close=False)
execution.start({"amount": 120})
interrupt_id = next(iter(execution.get_pending_interrupts()))
execution.continue_with(interrupt_id, {"approved": True})
print(json.dumps(execution.close()))
"""


def _run(command: Sequence[str | Path], folder: Path) -> str:
    # PYTHONPATH, DJANGO_SETTINGS_MODULE and the like would let this repository in.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "DJANGO", "DATABASE", "VIRTUAL"))
    }
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    _run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder], ROOT)
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_every_file_of_the_app_and_nothing_else(wheel: Path) -> None:
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    app = ROOT / "triggerflow_django"
    existing = {
        str(path.relative_to(ROOT)) for path in app.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == existing
    assert "triggerflow_django/py.typed" in held


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        folder = f"triggerflow_django-{triggerflow_django.__version__}.dist-info"
        metadata = archive.read(f"{folder}/METADATA").decode()
        assert archive.read(f"{folder}/licenses/LICENSE")
    assert "Name: triggerflow-django\n" in metadata
    assert f"Version: {triggerflow_django.__version__}\n" in metadata
    assert "Requires-Python: >=3.11\n" in metadata
    required = {
        line.removeprefix("Requires-Dist: ").split(">")[0]
        for line in metadata.splitlines()
        if line.startswith("Requires-Dist: ") and "extra ==" not in line
    }
    assert required == {"django", "django-rq", "jsonschema", "rq", "uuid-utils"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_project_of_three_files_runs_a_flow_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    _run([python, "-m", "pip", "install", "--quiet", wheel], tmp_path)

    project = tmp_path / "site"
    (project / "shop").mkdir(parents=True)
    (project / "settings.py").write_text(SETTINGS)
    (project / "manage.py").write_text(MANAGE)
    (project / "shop" / "flows.py").write_text(FLOWS)

    _run([python, "manage.py", "check", "--fail-level", "ERROR"], project)
    _run([python, "manage.py", "migrate", "--verbosity", "0"], project)
    output = _run([python, "manage.py", "shell", "--command", WALK], project)
    assert json.loads(output.splitlines()[-1])["decision"] == {"approved": True}
