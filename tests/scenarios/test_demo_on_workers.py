"""The demo's cases through real workers: the same lines as inline, an exit code, and no process that stays."""

from __future__ import annotations

import http.cookiejar
import os
import re
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from project.demo import case as cases
from tests.project.conftest import folder, start  # noqa: F401 - fixtures
from tests.project.stack import ROOT, SECONDS, Starter, until
from triggerflow_django.models import Execution

pytestmark = pytest.mark.slow

#: Nobody answers there.
ELSEWHERE = "redis://127.0.0.1:1/0"


def once(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:  # noqa: F811
    return subprocess.run(
        [sys.executable, "-m", "project.demo", *options],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "TMPDIR": str(folder), **environment},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )


def without_ids(out: str) -> list[str]:
    return [re.sub(r"^     [0-9a-f]{32} ", "     ", re.sub(r"; [\d.]+ s$", "", line)) for line in out.splitlines()]


@pytest.mark.timeout(300)
def test_every_case_ends_as_it_says_on_two_workers(folder: Path, database_url: str) -> None:  # noqa: F811
    result = once(folder, DATABASE_URL=database_url)
    assert (result.returncode, result.stderr) == (0, ""), result.stdout[-4000:]
    number = len(cases.load())
    assert f"\n{number} executions (" in result.stdout
    assert Execution.objects.filter(runner="rq", lifecycle="closed").count() == number
    assert list(folder.iterdir()) == []


def test_the_lines_are_those_of_inline(folder: Path, database_url: str) -> None:  # noqa: F811
    on_workers, inline = (
        once(folder, "--only", "demo.publication/", *options, DATABASE_URL=database_url, REDIS_URL=ELSEWHERE)
        for options in ((), ("--inline",))
    )
    assert (on_workers.returncode, inline.returncode) == (0, 0)
    assert len(without_ids(inline.stdout)) > 60
    assert without_ids(on_workers.stdout) == without_ids(inline.stdout)
    assert set(Execution.objects.values_list("runner", flat=True)) == {"rq", "inline"}


@pytest.mark.once
def test_a_wrong_expectation_ends_it_with_1(folder: Path, tmp_path: Path) -> None:  # noqa: F811
    text = (cases.FOLDER / "signoff.json").read_text(encoding="utf-8")
    (tmp_path / "signoff.json").write_text(text.replace('"outcome": "signed"', '"outcome": "sealed"'), encoding="utf-8")
    result = once(folder, "--cases", str(tmp_path))
    assert result.returncode == 1
    assert result.stderr.startswith("CommandError: not as expected: demo.contract_sign_off/")
    assert list(folder.iterdir()) == []


@pytest.mark.once
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_stays_when_it_is_ended(start: Starter, folder: Path, number: signal.Signals) -> None:  # noqa: F811
    if number == signal.SIGKILL and sys.platform != "linux":
        pytest.skip("only Linux tells children of a SIGKILL of their parent")
    demo = start(module="project.demo")
    until(lambda: "\nok " in demo.said, of=lambda: demo.said)
    assert demo.send(number) == (-number if number == signal.SIGKILL else 128 + number)
    until(lambda: not demo.left(), of=lambda: str(demo.left()))
    assert number == signal.SIGKILL or not list(folder.glob("triggerflow-demo-*"))


# -- make demo ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def browser() -> urllib.request.OpenerDirector:
    """Keeps cookies, follows redirects."""
    jar = http.cookiejar.CookieJar()
    return urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))


@pytest.mark.timeout(400)
def test_the_demo_serves_its_cases_to_those_who_log_in_and_keeps_them(
    start: Starter,  # noqa: F811
    database_url: str,
    browser: urllib.request.OpenerDirector,
) -> None:
    demo = start("--port", "0", DATABASE_URL=database_url)
    address = demo.address
    assert re.search(r"^\d+ executions started, 0 were there before; \d+ questions wait", demo.said, re.MULTILINE)
    assert browser.open(address).status == 200
    found = re.search(r"^log in as clerk, manager, finance; password: (\S+)$", demo.said, re.MULTILINE)
    assert found is not None
    page = browser.open(f"{address}admin/login/").read().decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    assert token is not None
    fields = {"csrfmiddlewaretoken": token[1], "username": "manager", "password": found[1], "next": "/admin/"}
    answer = browser.open(f"{address}admin/login/", urllib.parse.urlencode(fields).encode())
    assert answer.url == f"{address}admin/"
    assert b"manager" in answer.read()
    number = Execution.objects.count()
    assert number == Execution.objects.filter(runner="rq").count() == len(cases.load())
    assert demo.send(signal.SIGTERM) == 0
    assert demo.left() == []

    again = start("--port", "0", DATABASE_URL=database_url)
    assert again.address
    assert f"0 executions started, {number} were there before; " in again.said
    assert found[0] in again.said
    assert again.send(signal.SIGINT) == 0
    assert again.process.wait(SECONDS) == 0
    assert again.left() == []
