"""The embedded PostgreSQL goes away with the command it was started for, whatever ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from tests import servers

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 60

# A command that says where its server is, and stays.
TELL = "import os, signal; print(os.environ['DATABASE_URL'], flush=True); signal.pause()"


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def _servers_in(folder: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(folder) in word for word in process.info["cmdline"] or [])
        and process.info["cmdline"][0].endswith("postgres")
    ]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the servers of one test lie; a short path, because their sockets do too."""
    with tempfile.TemporaryDirectory(prefix="tf-") as name:
        Path(name).chmod(0o755)  # the server's account has to get in
        yield Path(name)


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[[], tuple[subprocess.Popen[str], str]]]:
    """Start the runner with a command that stays; gives the runner and its server's URL."""
    started: list[subprocess.Popen[str]] = []

    def start_one() -> tuple[subprocess.Popen[str], str]:
        environment = {**os.environ, "TMPDIR": str(folder)}
        environment.pop("DATABASE_URL", None)
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.servers", "--", sys.executable, "-c", TELL],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    yield start_one
    for process in started:
        process.terminate()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    _wait_until(lambda: not _servers_in(folder))


def _homes(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir()]


def test_a_command_gets_a_server_and_its_exit_code_comes_back(folder: Path) -> None:
    query = (
        "import os, psycopg, sys; connection = psycopg.connect(os.environ['DATABASE_URL']);"
        "sys.exit(connection.execute('select 40 + 2').fetchone()[0])"
    )
    environment = {**os.environ, "TMPDIR": str(folder)}
    environment.pop("DATABASE_URL", None)
    result = subprocess.run(
        [sys.executable, "-m", "tests.servers", "--", sys.executable, "-c", query],
        cwd=ROOT,
        env=environment,
        check=False,
    )
    assert result.returncode == 42
    assert not _homes(folder)


def test_a_database_that_was_given_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    given = "postgres://ann@db.example/shop"
    monkeypatch.setenv("DATABASE_URL", given)
    compare = f"import os, sys; sys.exit(os.environ['DATABASE_URL'] != {given!r})"
    assert servers.run([sys.executable, "-c", compare]) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_command_and_the_server(
    folder: Path, start: Callable[[], tuple[subprocess.Popen[str], str]], number: signal.Signals
) -> None:
    process, url = start()
    psycopg.connect(url).close()
    process.send_signal(number)
    assert process.wait(SECONDS) == 128 + number
    assert not _servers_in(folder)
    assert not _homes(folder)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_the_server_of_a_killed_runner_stops_by_itself(
    folder: Path, start: Callable[[], tuple[subprocess.Popen[str], str]]
) -> None:
    process, _url = start()
    assert _servers_in(folder)
    process.kill()
    _wait_until(lambda: not _servers_in(folder))


def test_the_next_start_clears_away_what_a_killed_one_left(
    folder: Path, start: Callable[[], tuple[subprocess.Popen[str], str]]
) -> None:
    process, _url = start()
    (left,) = _homes(folder)
    process.kill()
    process.wait()
    _other, url = start()
    psycopg.connect(url).close()
    assert left not in _homes(folder)
    assert all(str(left) not in " ".join(each.cmdline()) for each in _servers_in(folder))


def test_a_running_server_is_nobodys_leftover(
    folder: Path, start: Callable[[], tuple[subprocess.Popen[str], str]]
) -> None:
    _first, first_url = start()
    _second, second_url = start()
    assert first_url != second_url
    psycopg.connect(first_url).close()
    psycopg.connect(second_url).close()


def test_committed_rows_survive_an_immediate_stop() -> None:
    with servers.embedded_postgres(durable=True) as server:
        with psycopg.connect(server.url) as connection:
            connection.execute("create table kept as select 1 as one")
        server.stop(immediate=True)
        server.start()
        with psycopg.connect(server.url) as connection:
            assert connection.execute("select one from kept").fetchone() == (1,)
