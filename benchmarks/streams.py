"""``python -m benchmarks.streams``: from ``put`` to a reader in another process, and what a put costs the chunk.

On the database of ``DATABASE_URL``, which is migrated first; for an embedded PostgreSQL:
``python -m tests.servers -- python -m benchmarks.streams``.
"""

# ruff: noqa: E402, PLC0415, S101, T201 - a script that sets Django up and prints

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")
django.setup()

from django.core.management import call_command
from django.db import connection

from triggerflow_django import TriggerFlow


def _pace(data: Any) -> None:
    """Put the time, so many times, so many seconds apart."""
    for _number in range(data.input["count"]):
        data.put(time.time())
        time.sleep(data.input["seconds"])


def _burst(data: Any) -> None:
    began = time.perf_counter()
    for number in range(data.input):
        data.put(f"token {number}")
    data.set_state("seconds", time.perf_counter() - began)


def _idle(data: Any) -> None:
    data.set_state("seconds", 0)


PACE, BURST, IDLE = TriggerFlow(name="bench pace"), TriggerFlow(name="bench burst"), TriggerFlow(name="bench idle")
PACE.to(_pace)
BURST.to(_burst)
IDLE.to(_idle)


def _latencies(seconds: float, count: int = 200) -> str:
    execution = PACE.create_execution(auto_close=False)
    value = repr({"count": count, "seconds": seconds})
    writer = subprocess.Popen([sys.executable, "-m", "benchmarks.streams", "write", execution.id, value])  # noqa: S603
    while execution.row() is None:
        time.sleep(0.01)
    stream = execution.get_runtime_stream(timeout=30)
    items = (next(stream) for _number in range(count))
    late = [time.time() - put for put in items]  # the clock is read after the item
    writer.wait()
    late.sort()
    p50, p95, most = (1000 * late[int(count * part)] for part in (0.5, 0.95, 0.999))
    told = f"p50 {p50:.0f}, p95 {p95:.0f}, most {most:.0f} ms"
    return f"an item every {1000 * seconds:g} ms, read in another process: {told}"


def _write(execution_id: str, value: str) -> None:
    import ast
    import dataclasses
    import uuid

    execution = PACE.create_execution(auto_close=False)
    execution.new = dataclasses.replace(execution.new, id=uuid.UUID(execution_id))
    execution.start(ast.literal_eval(value))


def _burst_of(count: int) -> str:
    puts, totals, bare = [], [], []
    for _run in range(5):
        began = time.perf_counter()
        puts.append(BURST.start(count)["seconds"])
        totals.append(time.perf_counter() - began)
        began = time.perf_counter()
        IDLE.start(None)
        bare.append(time.perf_counter() - began)
    execution = BURST.start_execution(count, auto_close=False)
    execution.close()
    began = time.perf_counter()
    assert len(list(execution.get_runtime_stream(timeout=30))) == count
    read = time.perf_counter() - began
    put, total, without = (statistics.median(times) for times in (puts, totals, bare))
    return (
        f"{count} tokens put one by one: {1000 * put:.0f} ms in the chunk ({1e6 * put / count:.0f} us each), "
        f"flow.start() {1000 * total:.0f} ms, without any {1000 * without:.0f} ms; read back in {1000 * read:.0f} ms"
    )


def main() -> None:
    """Print the figures."""
    if sys.argv[1:2] == ["write"]:
        _write(*sys.argv[2:])
        return
    call_command("migrate", verbosity=0)
    print(connection.vendor)
    for seconds in (0.1, 0.03, 0.005):
        print("  " + _latencies(seconds))
    for count in (1000, 10_000):
        print("  " + _burst_of(count))


if __name__ == "__main__":
    main()
