"""The soak, short; and the controls: what it finds where a guard of the engine is missing. ``make soak`` is longer.

Each brings its own servers and settings, so it runs in a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.soak import checker

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.once, pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_join_that_was_followed_twice_is_seen() -> None:
    damage: checker.Damage = {kind: [] for kind in checker.KINDS}
    follower = ("ask", "done", "fired:parts")
    checker._check_joins(damage, "sound", [follower, follower], [("parts",), ("parts",)], ended=False)
    assert not any(damage.values())
    checker._check_joins(damage, "damaged", [follower, follower], [("parts",)], ended=False)
    assert damage.pop("double joins") == ["damaged: parts fired 1 times, 2 steps follow"]
    assert not any(damage.values())


def run(*arguments: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Run the command, which must pass; its report is always told, since it holds the seed."""
    result = subprocess.run(
        [sys.executable, "-m", "tests.soak", "--seconds-limit", "500", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    with capfd.disabled():
        sys.stderr.write(result.stdout)
    assert result.returncode == 0, result.stdout


def test_killed_workers_and_failing_servers_lose_nothing_and_do_nothing_twice(
    capfd: pytest.CaptureFixture[str],
) -> None:
    run("--executions", "100", "--no-controls", capfd=capfd)


def test_killed_workers_on_a_sqlite_file_lose_nothing_and_do_nothing_twice(capfd: pytest.CaptureFixture[str]) -> None:
    run("--executions", "80", "--no-controls", "--sqlite", "--kill-every", "0.3", capfd=capfd)


@pytest.mark.parametrize("guard", ["fencing", "sweep", "update"])
def test_without_a_guard_the_soak_finds_the_damage(guard: str, capfd: pytest.CaptureFixture[str]) -> None:
    run("--control", guard, capfd=capfd)
