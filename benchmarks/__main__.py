"""``python -m benchmarks``: start what is needed, measure, print a table. Nothing stays behind.

The measuring itself happens in a child process for each database, since Django knows its databases from the start.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests import servers, valkey

DATABASES = ("postgresql", "sqlite")


def main(arguments: Sequence[str]) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--database", choices=DATABASES, help="only this one (default: both)")
    parser.add_argument("--runs", type=int, default=3, help="counted runs of each workload; the median is printed")
    parsed = parser.parse_args(arguments)
    for database in DATABASES if parsed.database is None else (parsed.database,):
        code = _measure(database, parsed.runs)
        if code:
            return code
    return 0


def _measure(database: str, runs: int) -> int:
    command = [sys.executable, "-m", "benchmarks.table", str(runs)]
    with tempfile.TemporaryDirectory() as folder:
        bells = valkey.started()
        try:
            os.environ["REDIS_URL"] = f"redis://127.0.0.1:{bells.port}/0"
            if database == "postgresql":
                return servers.run(command, durable=True)
            url = f"sqlite:///{Path(folder) / 'benchmarks.sqlite3'}"
            return subprocess.run(command, env={**os.environ, "DATABASE_URL": url}, check=False).returncode  # noqa: S603 - our own command
        finally:
            bells.stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
