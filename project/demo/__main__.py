"""``python -m project.demo``, ``make demo-once``: every case once, through two workers and a Valkey of its own, on
``DATABASE_URL`` if it is set, else on a database that is thrown away. ``--inline``: in this process, without workers.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib import parse

from django.core.management import execute_from_command_line

from project.stack import folder, parts
from project.stack.supervisor import FailedError, StoppedError, Supervisor

_WORKERS: Final = 2


def main(arguments: Sequence[str]) -> int:
    """Migrate and walk; takes the options of ``manage.py demo --once``. Exit codes: as that, or 128 + n after signal
    n.
    """
    rest = [argument for argument in arguments if argument not in ("--inline", "--with-parent")]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    with folder.private() as home:
        if not os.environ.get("DATABASE_URL"):
            os.environ["DATABASE_URL"] = f"sqlite:///{parse.quote(str(home / 'demo.sqlite3'))}"
        if "--inline" in arguments:
            return _inline(rest)
        try:
            return _on_workers(home, rest, with_parent="--with-parent" in arguments)
        except StoppedError as stopped:
            return 128 + stopped.number
        except FailedError as error:
            _say(str(error))
            return 1


def _inline(options: Sequence[str]) -> int:
    # An exit rather than a sudden death, so that the folder goes as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    os.environ["RUNNER"] = "inline"
    execute_from_command_line(["manage.py", "migrate", "--verbosity=0"])
    execute_from_command_line(["manage.py", "demo", "--once", *options])
    return 0


def _on_workers(home: Path, options: Sequence[str], *, with_parent: bool) -> int:
    # Never REDIS_URL: other workers may listen there, on another database.
    url = parts.bells_url(home)
    environment = parts.environment(url)
    with Supervisor(parts.ROOT, say=_say, with_parent=with_parent) as supervisor:
        supervisor.up(parts.bells(home, environment))
        if code := supervisor.run(parts.manage("migrate", "--verbosity=0"), environment=environment):
            return code
        supervisor.up(*parts.workers(_WORKERS, url, environment))
        return supervisor.run(parts.manage("demo", "--once", *options), environment=environment)


def _say(line: str) -> None:
    sys.stderr.write(f"demo: {line}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
