"""Projects with other settings than ours, each in a process and a database of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib import parse

import pytest
from django.db import connection

pytestmark = pytest.mark.django_db(transaction=True)

_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def empty_database(database_url: str, tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Make an empty database beside the tests' own; gives its DATABASE_URL."""
    made: list[str] = []

    def make() -> str:
        name = f"other_{uuid.uuid4().hex}"
        if connection.vendor == "sqlite":
            return f"sqlite:///{parse.quote(str(tmp_path / name))}"
        with connection.cursor() as cursor:
            cursor.execute(f'CREATE DATABASE "{name}"')
        made.append(name)
        return f"{database_url.rpartition('/')[0]}/{name}"

    yield make
    for name in made:
        with connection.cursor() as cursor:
            cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.mark.slow
@pytest.mark.parametrize("name", ["without_time_zones", "with_members", "two_databases"])
def test_a_project_with_other_settings(name: str, empty_database: Callable[[], str]) -> None:
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": f"tests.handles.projects.{name}",
        "DATABASE_URL": empty_database(),
        "SECOND_DATABASE_URL": empty_database(),
        "PYTHONPATH": str(_ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning", "-m", "tests.handles.projects.walks", name],
        cwd=_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
