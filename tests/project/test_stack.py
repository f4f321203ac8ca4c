"""``python -m project.stack`` keeps the demo running, and takes everything with it when it ends, however it ends."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib import parse

import psutil
import pytest

from tests.project.stack import ROOT, SECONDS, Stack, Starter, listens, until
from tests.worker.app import flows
from tests.worker.conftest import known_flows  # noqa: F401 - the flows of tests.worker.settings, in this process too
from triggerflow_django.models import Step

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of a SIGKILL of their parent")


def sqlite(folder: Path) -> str:
    return f"sqlite:///{parse.quote(str(folder / 'db.sqlite3'))}"


def get(stack: Stack, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=30)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def until_nothing_is_left(stack: Stack, port: int) -> None:
    until(lambda: not stack.left(), of=lambda: f"{stack.left()}\n{stack.said}")
    assert not listens(port)


@pytest.fixture
def empty(start: Starter, folder: Path) -> Stack:
    """The demo without its cases, up."""
    stack = start("--port", "0", "--without-cases", DATABASE_URL=sqlite(folder))
    assert stack.address
    return stack


@pytest.fixture
def beside(start: Starter, database_url: str) -> Stack:
    """The demo on the test's own database, with the flows of the workers' tests."""
    stack = start(
        "--port", "0", "--without-cases", DATABASE_URL=database_url, DJANGO_SETTINGS_MODULE="tests.worker.settings"
    )
    assert stack.address
    return stack


# -- ends


@pytest.mark.once
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_everything(empty: Stack, number: signal.Signals) -> None:
    port = empty.port
    assert len(empty.running("triggerflow_worker")) == 2
    assert len(empty.running("runserver")) == 1
    assert len(empty.running("valkey-server")) == 1
    assert get(empty, "/admin/login/") == 200
    assert empty.send(number) == 0
    assert empty.left() == []
    assert not listens(port)
    assert not list(empty.folder.glob("triggerflow-demo-*"))
    assert empty.said.endswith("demo: stopped; no process is left\n")


@LINUX
@pytest.mark.once
@pytest.mark.slow
def test_a_killed_supervisor_takes_everything_along(empty: Stack) -> None:
    port = empty.port
    assert empty.send(signal.SIGKILL) == -signal.SIGKILL
    until_nothing_is_left(empty, port)


@LINUX
@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_killed_supervisor_takes_a_busy_child_along_after_its_step(beside: Stack, tmp_path: Path) -> None:
    port, sign = beside.port, tmp_path / "sign"
    execution = flows.held.start_execution({"sign": str(sign)}, auto_close=False, runner="rq")
    until(sign.exists)
    child = psutil.Process(int(sign.read_text()))
    assert child in beside.tree()
    beside.send(signal.SIGKILL)
    until(lambda: beside.left() == [child])
    sign.unlink()
    until_nothing_is_left(beside, port)
    steps = dict(Step.objects.filter(execution_id=execution.pk).values_list("node", "status"))
    assert steps == {"held_up": "done", "effect": "ready"}


@LINUX
@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_an_orphan_of_a_killed_worker_ends_with_the_others(beside: Stack, tmp_path: Path) -> None:
    sign = tmp_path / "sign"
    flows.held.start_execution({"sign": str(sign)}, auto_close=False, runner="rq")
    until(sign.exists)
    child = psutil.Process(int(sign.read_text()))
    child.parent().kill()
    until(lambda: child.ppid() == beside.process.pid)
    assert beside.send(signal.SIGTERM) == 0
    assert not child.is_running()
    assert beside.left() == []


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_step_that_runs_may_end_first(beside: Stack, tmp_path: Path) -> None:
    sign = tmp_path / "sign"
    execution = flows.held.start_execution({"sign": str(sign)}, auto_close=False, runner="rq")
    until(sign.exists)
    child = psutil.Process(int(sign.read_text()))
    assert child in beside.tree()
    beside.process.send_signal(signal.SIGTERM)
    until(lambda: not beside.running("runserver"))
    with pytest.raises(psutil.TimeoutExpired):
        child.wait(1.5)
    sign.unlink()
    assert beside.process.wait(SECONDS) == 0
    assert beside.left() == []
    steps = dict(Step.objects.filter(execution_id=execution.pk).values_list("node", "status"))
    assert steps == {"held_up": "done", "effect": "ready"}


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_second_signal_does_not_wait_for_a_step(beside: Stack, tmp_path: Path) -> None:
    sign = tmp_path / "sign"
    flows.held.start_execution({"sign": str(sign)}, auto_close=False, runner="rq")
    until(sign.exists)
    assert psutil.Process(int(sign.read_text())) in beside.tree()
    began = time.monotonic()
    beside.process.send_signal(signal.SIGINT)
    while beside.process.poll() is None and time.monotonic() - began < SECONDS:
        time.sleep(0.01)
        beside.process.send_signal(signal.SIGINT)  # those within a second are the same one, by another way
    assert 1 < time.monotonic() - began < 12
    assert beside.process.wait() == 0
    assert beside.left() == []
    assert sign.exists()


@pytest.mark.once
@pytest.mark.slow
def test_it_goes_with_make_where_it_is_told_to(start: Starter, folder: Path) -> None:
    command = [sys.executable, "-m", "project.stack", "--with-parent", "--port", "0", "--without-cases"]
    shell = start.run(["sh", "-c", '"$@"; true', "sh", *command], DATABASE_URL=sqlite(folder))
    port = shell.port
    assert len(shell.tree()) >= 5
    shell.process.kill()
    until_nothing_is_left(shell, port)


@pytest.mark.once
@pytest.mark.slow
def test_what_a_killed_one_left_in_the_folder_is_cleared_away_later(start: Starter, folder: Path) -> None:
    first = start("--port", "0", "--without-cases", DATABASE_URL=sqlite(folder))
    assert first.address
    first.send(signal.SIGKILL)
    until(lambda: not first.left())
    (home,) = folder.glob("triggerflow-demo-*")
    os.utime(home, (0, 0))
    second = start("--port", "0", "--without-cases", DATABASE_URL=sqlite(folder))
    assert second.address
    assert not home.exists()
    assert second.send(signal.SIGTERM) == 0


# -- goes on


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_what_ends_is_started_again_and_work_goes_on(beside: Stack) -> None:
    for word, name in (
        ("triggerflow_worker", "worker 1"),
        ("runserver", "web server"),
        ("valkey-server", "valkey"),
    ):
        before = beside.running(word)
        before[0].kill()
        until(
            lambda word=word, before=before: len(now := beside.running(word)) == len(before) and before[0] not in now,
            of=lambda: beside.said,
        )
        assert f"demo: {name} ended (SIGKILL), starting it again\n" in beside.said
    execution = flows.fan.start_execution(list(range(5)), auto_close=False, runner="rq")
    execution.wait(SECONDS)
    assert execution.get_state("noted") == list(range(5))
    until(lambda: listens(beside.port))
    assert get(beside, "/admin/login/") == 200
    assert beside.send(signal.SIGTERM) == 0
    assert beside.left() == []


# -- begins


@pytest.mark.once
@pytest.mark.slow
def test_another_port_is_taken_where_the_wanted_one_is(start: Starter, folder: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        wanted = listener.getsockname()[1]
        stack = start("--port", str(wanted), "--without-cases", DATABASE_URL=sqlite(folder))
        assert stack.port != wanted
        assert f"demo: port {wanted} is taken\n" in stack.said
    assert get(stack, "/admin/login/") == 200
    assert stack.send(signal.SIGTERM) == 0


@pytest.mark.once
def test_a_part_that_does_not_start_ends_everything(start: Starter, folder: Path) -> None:
    stack = start("--port", "0", DATABASE_URL=f"sqlite:///{folder}/no/such/folder/db.sqlite3")
    assert stack.process.wait(SECONDS) == 1
    assert stack.said.endswith("demo: manage.py migrate --verbosity 0 ended with 1\n")
    assert stack.left() == []


@pytest.mark.once
def test_a_redis_that_was_given_is_used_and_has_to_answer(start: Starter, folder: Path) -> None:
    stack = start("--port", "0", DATABASE_URL=sqlite(folder), REDIS_URL="redis://ann:secret@127.0.0.1:1/3")
    assert stack.process.wait(SECONDS) == 1
    assert "demo: nothing answers at REDIS_URL, redis://127.0.0.1:1/3\n" in stack.said
    assert "secret" not in stack.said
    assert "valkey" not in " ".join(name.name for name in folder.iterdir())


@pytest.mark.once
@pytest.mark.parametrize("given", [{"DEBUG": "0"}, {"SECRET_KEY": "chosen"}])
def test_a_deployment_is_no_place_for_the_demo(start: Starter, folder: Path, given: dict[str, str]) -> None:
    stack = start("--port", "0", DATABASE_URL=sqlite(folder), **given)
    assert stack.process.wait(SECONDS) == 2
    assert "it needs DEBUG=1" in stack.said
    assert not (folder / "db.sqlite3").exists()


@pytest.mark.once
@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
def test_make_runs_it_so_that_it_goes_with_make() -> None:
    told = subprocess.run(["make", "-n", "demo", "demo-once"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "exec .venv/bin/python -m project.stack --with-parent" in told.stdout
    assert "exec .venv/bin/python -m project.demo --with-parent" in told.stdout
