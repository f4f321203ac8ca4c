"""The project is configured by six environment variables, and safe when none of them is set."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

from project import secretkey

ROOT = Path(__file__).resolve().parent.parent.parent
NAMES = ("DATABASE_URL", "REDIS_URL", "RUNNER", "SECRET_KEY", "DEBUG", "ALLOWED_HOSTS")

TELL = """
import json
from project import settings
told = {name: getattr(settings, name) for name in dir(settings) if name.isupper()}
print(json.dumps(told, default=str))
"""

COUNT_USERS = """
import django
django.setup()
from django.contrib.auth.models import User
print(User.objects.count())
"""


def _settings(**given: str) -> dict[str, object]:
    environment = {name: value for name, value in os.environ.items() if name not in NAMES}
    result = subprocess.run(
        [sys.executable, "-c", TELL],
        cwd=ROOT,
        env={**environment, **given},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(result.stdout)


@pytest.mark.once
@pytest.mark.parametrize("given", [{}, {"DATABASE_URL": "sqlite:////srv/shop/rows.sqlite3"}])
def test_sqlite_takes_the_write_lock_first_and_writes_ahead(given: dict[str, str]) -> None:
    database = _settings(**given)["DATABASES"]["default"]
    assert database["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
    assert "journal_mode=WAL" in database["OPTIONS"]["init_command"]
    assert Path(database["NAME"]).is_absolute()


@pytest.mark.once
def test_postgres_gets_timeouts_unless_the_url_brings_options() -> None:
    url = "postgres://ann:s%40crt@db.example:5433/shop?sslmode=require"
    database = _settings(DATABASE_URL=url)["DATABASES"]["default"]
    assert (database["HOST"], database["PASSWORD"]) == ("db.example", "s@crt")
    assert database["CONN_MAX_AGE"] == 0
    assert "-c lock_timeout=5000" in database["OPTIONS"]["options"]
    assert database["OPTIONS"]["sslmode"] == "require"
    own = _settings(DATABASE_URL=url + "&options=-c%20lock_timeout%3D1")["DATABASES"]["default"]
    assert own["OPTIONS"]["options"] == "-c lock_timeout=1"


@pytest.mark.once
def test_debug_is_on_only_while_nobody_set_a_secret_key() -> None:
    assert _settings()["DEBUG"] is True
    deployed = _settings(SECRET_KEY="chosen", ALLOWED_HOSTS="a.example, b.example")
    assert deployed["DEBUG"] is False
    assert deployed["SECRET_KEY"] == "chosen"
    assert deployed["ALLOWED_HOSTS"] == ["a.example", "b.example"]
    assert deployed["SESSION_COOKIE_SECURE"] is True
    assert _settings(DEBUG="0")["DEBUG"] is False
    assert _settings(DEBUG="1", SECRET_KEY="chosen")["DEBUG"] is True


@pytest.mark.once
def test_chunks_run_on_workers_only_where_somebody_says_so() -> None:
    assert _settings(REDIS_URL="redis://bells.example/1")["TRIGGERFLOW"]["RUNNER"] == "inline"
    asked = _settings(REDIS_URL="redis://bells.example/1", RUNNER="rq")
    assert asked["TRIGGERFLOW"]["RUNNER"] == "rq"
    assert asked["RQ_QUEUES"]["triggerflow"]["URL"] == "redis://bells.example/1"


@pytest.mark.once
def test_the_secret_key_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "key"
    together = threading.Barrier(8)

    def read(_: int) -> str:
        together.wait()
        return secretkey.read_or_make(path)

    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(read, range(8)))
    assert keys == {secretkey.read_or_make(path)}
    assert len(keys.pop()) >= 50
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.django_db
def test_the_database_itself_runs_with_these_options() -> None:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode" if connection.vendor == "sqlite" else "SHOW lock_timeout")
        assert cursor.fetchone()[0] in {"wal", "5s"}


@pytest.mark.django_db(transaction=True)
def test_transactions_that_read_first_and_write_later_wait_for_each_other() -> None:
    together = threading.Barrier(4)

    def add(number: int) -> None:
        try:
            together.wait()
            with transaction.atomic():
                count = User.objects.count()
                User.objects.create(username=f"{number} after {count}")
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(4)))
    assert User.objects.count() == 4


def test_another_process_finds_the_rows_of_the_test(database_url: str) -> None:
    User.objects.create(username="ann")
    result = subprocess.run(
        [sys.executable, "-c", COUNT_USERS],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "1"
