"""The database crashes and comes back, several times, in the middle of a drain: the execution ends as it should."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import psycopg
import pytest

from tests.faults.flows import WIDE_ITEMS
from tests.faults.processes import PATIENCE
from tests.servers import embedded_postgres

ROOT = Path(__file__).resolve().parents[2]
#: At how many finished items the server is stopped as in a crash.
CRASHES = (30, 90, 150)


@pytest.mark.once
@pytest.mark.slow
def test_an_execution_outlives_crashes_of_its_database() -> None:
    # durable: what the database acknowledges must survive its crash.
    with embedded_postgres(durable=True) as server:
        environment = {**os.environ, "DATABASE_URL": server.url}
        migrate = [sys.executable, "manage.py", "migrate", "--verbosity=0"]
        subprocess.run(migrate, cwd=ROOT, env=environment, check=True)
        worker = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.restartable"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        with worker:
            assert worker.stdout is not None
            execution = uuid.UUID(worker.stdout.readline().strip())
            for at_least in CRASHES:
                _wait_until_done(server.url, at_least)
                server.stop(immediate=True)
                server.start()
            assert worker.wait(PATIENCE) == 0

        with psycopg.connect(server.url) as connection:
            steps = connection.execute(
                "SELECT node, count(*), bool_and(status = 'done') FROM triggerflow_step GROUP BY node"
            ).fetchall()
            assert {node: count for node, count, _done in steps} == {
                "item": WIDE_ITEMS, "sum": 1, "keep": 1, "one": 1, "two": 1, "together": 1,
            }  # fmt: skip
            assert all(done for _node, _count, done in steps)
            rows = connection.execute("SELECT split_part(name, ' ', 2), count(*) FROM auth_group GROUP BY 1").fetchall()
            assert len(rows) == WIDE_ITEMS
            assert {count for _label, count in rows} == {1}
            facts = connection.execute(
                "SELECT active_steps, pending_interrupts, failed_steps, status FROM triggerflow_execution"
                " WHERE id = %s",
                [execution],
            ).fetchone()
            assert facts == (0, 0, 0, "running")
            fired = connection.execute("SELECT count(*) FROM triggerflow_join WHERE status = 'fired'").fetchone()
            assert fired == (2,)


def _wait_until_done(url: str, at_least: int) -> None:
    deadline = time.monotonic() + PATIENCE
    with psycopg.connect(url, autocommit=True) as connection:
        while time.monotonic() < deadline:
            row = connection.execute("SELECT count(*) FROM auth_group").fetchone()
            assert row is not None
            if row[0] >= at_least:
                assert row[0] < WIDE_ITEMS, "the drain was over before the crash"
                return
            time.sleep(0.005)
    raise AssertionError("the worker does not get on")
