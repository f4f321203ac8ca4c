"""What all tests share: a SQLite file of their own, Hypothesis without a stopwatch."""

from __future__ import annotations

from pathlib import Path
from urllib import parse

import hypothesis
import pytest
from django.conf import settings
from django.db import connection

# The machine is shared: how long one example takes says nothing about the code.
hypothesis.settings.register_profile("project", deadline=None, print_blob=True)
hypothesis.settings.load_profile("project")


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """On SQLite: a file, which threads and processes can share, and a new one for each run."""
    database = settings.DATABASES["default"]
    if database["ENGINE"].endswith("sqlite3"):
        folder = tmp_path_factory.mktemp("database")
        database.setdefault("TEST", {})["NAME"] = str(folder / "test.sqlite3")


@pytest.fixture
def database_url(transactional_db: None) -> str:
    """The DATABASE_URL under which another process finds the test database."""
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{parse.quote(str(Path(database['NAME'])))}"
    user, password, host = (parse.quote(database[key], safe="") for key in ("USER", "PASSWORD", "HOST"))
    port = f":{database['PORT']}" if database["PORT"] else ""
    secret = f":{password}" if password else ""
    return f"postgres://{user}{secret}@{host}{port}/{parse.quote(database['NAME'], safe='')}"
