"""Record every wake-up that anybody really puts into a Valkey, by its MONITOR, and put it there again."""

from __future__ import annotations

import ast
import re
import socket
import threading
import uuid
from dataclasses import dataclass

import redis

QUEUE_KEY = "rq:queue:triggerflow"
_COMMAND = re.compile(rb"^\+[\d.]+ \[\d+ \S+\] (.*)$")
_WORD = re.compile(rb'"(?:[^"\\]|\\.)*"')
_MARK = b"the recording ends here"


@dataclass(frozen=True)
class Bell:
    """A wake-up as it was pushed: the fields of its job, byte for byte."""

    job: str
    fields: tuple[tuple[bytes, bytes], ...]

    @property
    def call(self) -> str:
        """What it asks for."""
        return dict(self.fields)[b"description"].decode().split()[0].rpartition(".")[2]

    def ring_again(self, client: redis.Redis) -> None:
        """Push it once more: a job of its own with the same fields, or RQ would take two copies for one."""
        job = f"{self.job}-{uuid.uuid4().hex[:8]}"
        with client.pipeline() as pipe:
            pipe.hset(f"rq:job:{job}", mapping=dict(self.fields))
            pipe.rpush(QUEUE_KEY, job)
            pipe.execute()


class Recorder:
    """Listens from its start to ``stop``; whatever RQ does with a job later changes no recorded bell."""

    def __init__(self, port: int) -> None:
        self._client = redis.Redis(port=port)
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.sendall(b"MONITOR\r\n")
        self._lines = self._socket.makefile("rb")
        assert self._lines.readline() == b"+OK\r\n"
        self._fields: dict[str, dict[bytes, bytes]] = {}
        self._bells: list[Bell] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def so_far(self) -> list[Bell]:
        """The wake-ups pushed up to now."""
        return self._bells.copy()

    def stop(self) -> list[Bell]:
        """Stop listening. All that was pushed before is in what is returned."""
        self._client.echo(_MARK)
        self._thread.join(30)
        assert not self._thread.is_alive()
        self._lines.close()
        self._socket.close()
        self._client.close()
        return self._bells

    def _listen(self) -> None:
        for line in self._lines:
            found = _COMMAND.match(line.rstrip(b"\r\n"))
            # MONITOR shows a word as C would; so does Python.
            words = [ast.literal_eval(f"b{word.decode('ascii')}") for word in _WORD.findall(found[1])] if found else []
            match words:
                case [name, key, *rest] if name.upper() in (b"HSET", b"HMSET") and key.startswith(b"rq:job:"):
                    job = self._fields.setdefault(key.decode().removeprefix("rq:job:"), {})
                    job.update(zip(rest[::2], rest[1::2], strict=True))
                case [name, key, *jobs] if name.upper() in (b"RPUSH", b"LPUSH") and key == QUEUE_KEY.encode():
                    for job in map(bytes.decode, jobs):
                        self._bells.append(Bell(job, tuple(self._fields[job].items())))
                case [name, mark] if name.upper() == b"ECHO" and mark == _MARK:
                    return
