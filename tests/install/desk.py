"""Somebody's machine: a folder, terminals, waiting."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

SECONDS: Final = 120


def until(condition: Callable[[], Any]) -> Any:
    """Wait for a condition; gives what it gave."""
    deadline = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)
    return found


class Terminal:
    """A shell that somebody types into."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            ["bash", "--norc"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.said: list[str] = []
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            self._lines.put(line)

    def type(self, line: str) -> None:
        """Type a line, and do not wait for what it does."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def run(self, line: str) -> str:
        """Type a line; what it said once it has ended, and it has to end well."""
        self.type(f'{line}\necho "ended: $?"')
        found: list[str] = []
        while not found or not found[-1].startswith("ended: "):
            found.append(self._lines.get(timeout=SECONDS * 3))
        assert found[-1] == "ended: 0\n", line + "\n" + "".join(found)
        return "".join(found[:-1])

    def close(self) -> None:
        """Close the window: what runs in it ends."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        for number in (signal.SIGINT, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(self.process.pid, number)
                self.process.wait(SECONDS / 4)
        self.process.wait()
        self.process.stdout.close()


@dataclass
class Desk:
    """Somebody's machine: a folder with the wheel in it, a Valkey, and terminals."""

    folder: Path
    environment: dict[str, str]
    terminals: list[Terminal] = field(default_factory=list)

    def terminal(self) -> Terminal:
        """A new one, in the folder everything starts in."""
        self.terminals.append(Terminal(self.folder, self.environment))
        return self.terminals[-1]


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
