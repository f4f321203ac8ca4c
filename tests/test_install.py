"""docs/install.md, followed to the letter: the wheel, a new project, a worker, a decision in the admin; then in
projects that are set up otherwise.

Taken from the page: every ``sh`` block, line by line, in the terminal that its first line names; every ``python``
block, as the file that its first line names (``at the end``: added to it); the ``json`` block, as what is typed into
the form. Only the ports differ.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests import documents, valkey
from tests.install.browser import decide_in_the_admin
from tests.install.desk import SECONDS, Desk, Terminal, free_port, until
from tests.install.projects import VARIANTS, WALK, Variant

pytestmark = pytest.mark.once

PAGE: Final = documents.ROOT / "docs" / "install.md"
_FILE: Final = re.compile(r"# ([\w/]+\.py)(, at the end)?\n")
_TERMINAL: Final = re.compile(r"# in a (second|third) terminal\n")


@pytest.fixture
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder]
    built = subprocess.run(command, cwd=documents.ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    server = valkey.started()
    # PYTHONPATH, DJANGO_SETTINGS_MODULE and the like would let this repository in.
    foreign = ("PYTHON", "DJANGO", "DATABASE", "VIRTUAL", "REDIS", "COV", "RUNNER", "SECRET_KEY", "DEBUG")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    environment["REDIS_URL"] = f"redis://127.0.0.1:{server.port}/0"
    found = Desk(folder, environment)
    try:
        yield found
    finally:
        for terminal in found.terminals:
            terminal.close()
        server.stop()


def write(project: Path, block: documents.Block) -> None:
    """Put a block of the page where it says."""
    named = _FILE.match(block.text)
    assert named, f"install.md, line {block.line}: which file is this?"
    path = project / named[1]
    before = path.read_text(encoding="utf-8") if named[2] else ""
    path.write_text(before + "\n" + block.text, encoding="utf-8")


def follow(desk: Desk) -> dict[str, str]:
    """Walk through the page; what the commands of the first terminal said, and the web server's address."""
    port = free_port()
    first = desk.terminal()
    said: dict[str, str] = {"address": f"http://127.0.0.1:{port}"}
    for block in documents.blocks(PAGE):
        if block.language == "python":
            write(desk.folder / "office", block)
        elif block.language == "json":
            decide_in_the_admin(said["address"], block.text.strip())
        elif block.language == "sh" and (named := _TERMINAL.match(block.text)):
            terminal = desk.terminal()
            *before, last = block.text.removeprefix(named[0]).splitlines()
            for line in before:
                terminal.run(line)
            terminal.type(last.replace("runserver", f"runserver {port}"))
        elif block.language == "sh":
            for line in block.text.splitlines():
                said[line] = run(first, line)
    return said


#: Commands that are looked at until they show what the page says they show: workers take their time.
SHOWS: Final = {"triggerflow_list": " waiting ", "triggerflow_list --status completed": " completed "}


def run(terminal: Terminal, line: str) -> str:
    """What a command of the page says."""
    shows = SHOWS.get(line.removeprefix("python manage.py "), "")
    return until(lambda: (said := terminal.run(line)) and shows in said and said) if shows else terminal.run(line)


# One test: each further one could be another process of xdist, which would make the environment again.
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_page_leads_to_a_decision_and_a_closed_execution_in_projects_of_all_kinds(
    desk: Desk, tmp_path: Path
) -> None:
    said = follow(desk)
    assert "no issues" in said["python manage.py check"]
    started = next(text for line, text in said.items() if "triggerflow_start" in line)
    execution_id = re.findall("[0-9a-f]{32}", started)[0]
    shown = desk.terminals[0].run(f"python manage.py triggerflow_show {execution_id} --values")
    for expected in ("order-17", "by ann", "interrupt decided", '{"approved":true}', "Closed for good"):
        assert expected in " ".join(shown.split()), shown
    for number, (name, variant) in enumerate(VARIANTS.items(), 1):
        (tmp_path / str(number)).mkdir()
        assert walk(variant, desk, tmp_path / str(number), number) == f"{variant.superuser[0]} decided", name


def test_the_page_shows_the_first_flow_of_the_readme() -> None:
    shown, told = (
        [block.text for block in documents.blocks(page, "python") if block.text.startswith("# shop/flows.py")]
        for page in (PAGE, documents.README)
    )
    assert shown == told


# -- projects that are set up otherwise --------------------------------------------------------------------------------


def walk(variant: Variant, desk: Desk, project: Path, number: int) -> str:
    """Set a project up by the page, but for what is different, and walk an execution through it; the last line said."""
    interpreter = desk.folder / "office" / ".venv" / "bin" / "python"
    # Another database of the same Valkey: no bell of one project wakes the other's workers.
    url = desk.environment["REDIS_URL"].removesuffix("0") + str(number)
    environment = {**desk.environment, "REDIS_URL": url, "DJANGO_SETTINGS_MODULE": "office.settings"}

    def python(*command: str) -> str:
        done = subprocess.run(
            [interpreter, *command],
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    python("-m", "django", "startproject", "office", ".")
    (project / "shop").mkdir()
    (project / "shop" / "__init__.py").touch()
    for block in documents.blocks(PAGE, "python"):
        write(project, block)
    for path, content in variant.files.items():
        (project / path).parent.mkdir(exist_ok=True)
        (project / path).write_text(content, encoding="utf-8")
    with (project / "office" / "settings.py").open("a", encoding="utf-8") as file:
        file.write("\n" + variant.settings + "\n")
    (project / "walk.py").write_text(WALK, encoding="utf-8")
    if variant.migrations_of:
        python("manage.py", "makemigrations", variant.migrations_of, "--verbosity=0")
    python("manage.py", "migrate", "--verbosity=0")
    python("manage.py", "check", "--fail-level=WARNING")
    return python("walk.py", variant.admin, variant.language, *variant.superuser).splitlines()[-1]
