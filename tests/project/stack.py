"""Starting the project's processes from a test, and looking whether any of them stayed."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 90


def until(condition: Callable[[], Any], seconds: float = SECONDS, *, of: Callable[[], str] = str) -> Any:
    """Wait for a condition; gives what it gave. ``of``: what to show when it does not come."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited too long. {of()}"
        time.sleep(0.05)
    return found


def listens(port: int) -> bool:
    """Whether somebody on this machine takes connections."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Stack:
    """A supervisor under test, with all that it started."""

    process: subprocess.Popen[bytes]
    log: Path
    folder: Path
    seen: dict[int, psutil.Process] = field(default_factory=dict)

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")

    @property
    def address(self) -> str:
        """Where its web server is, once it says so."""
        until(lambda: "demo: open http://" in self.said or self.process.poll() is not None, of=lambda: self.said)
        assert self.process.poll() is None, self.said
        return self.said.partition("demo: open ")[2].partition(" ")[0]

    @property
    def port(self) -> int:
        return int(self.address.rstrip("/").rpartition(":")[2])

    def tree(self) -> list[psutil.Process]:
        """The processes below the supervisor; what was seen once is looked for at the end."""
        found = psutil.Process(self.process.pid).children(recursive=True)
        self.seen.update({process.pid: process for process in found})
        return found

    def running(self, word: str) -> list[psutil.Process]:
        """Those of them with this word in their command line that are nobody's fork."""
        return [
            process
            for process in self.tree()
            if word in " ".join(_command(process)) and process.ppid() == self.process.pid
        ]

    def left(self) -> list[psutil.Process]:
        """Which of the processes seen live; also any that names the folder of this test."""
        others = [
            process
            for process in psutil.process_iter()
            if process.pid != os.getpid() and any(str(self.folder) in word for word in _command(process))
        ]
        return [process for process in {*self.seen.values(), *others} if _lives(process)]

    def send(self, number: signal.Signals) -> int:
        """Signal the supervisor, after a look at its tree; gives its exit code."""
        assert self.tree()
        self.process.send_signal(number)
        return self.process.wait(SECONDS)


def _command(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


def _lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


@dataclass
class Starter:
    """Starts supervisors, and ends what a test left."""

    folder: Path
    started: list[Stack] = field(default_factory=list)

    def __call__(self, *arguments: str, module: str = "project.stack", **environment: str) -> Stack:
        return self.run([sys.executable, "-m", module, *arguments], **environment)

    def run(self, command: list[str], **environment: str) -> Stack:
        log = self.folder / f"log-{len(self.started)}"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={"PATH": os.environ["PATH"], "TMPDIR": str(self.folder), "PYTHONUNBUFFERED": "1", **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.started.append(Stack(process, log, self.folder))
        return self.started[-1]

    def end(self) -> None:
        for stack in self.started:
            if stack.process.poll() is None:
                stack.tree()
                stack.process.kill()
            stack.process.wait()
            for process in stack.left():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
