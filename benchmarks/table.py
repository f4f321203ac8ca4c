"""Measure one database and print its table: ``python -m benchmarks.table RUNS`` with DATABASE_URL and REDIS_URL set."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
django.setup()

from django.core.management import call_command  # noqa: E402 - needs django.setup()
from django.db import connection  # noqa: E402
from rq import Worker  # noqa: E402

from benchmarks import workloads  # noqa: E402
from benchmarks.workloads import Runner  # noqa: E402
from triggerflow_django import conf, wakeups  # noqa: E402

RUNNERS = (Runner("inline"), Runner("rq", 1), Runner("rq", 2))


def main(runs: int) -> None:
    """Print the table of this process's database."""
    call_command("migrate", verbosity=0)
    before = workloads.raw_rate()
    rows = []
    for runner in RUNNERS:
        with _workers(runner.workers):
            w1 = workloads.median_of(runs, workloads.w1, runner)
            w2 = workloads.median_of(runs, workloads.w2, runner)
            w3 = workloads.median_of(runs, workloads.w3, runner)
            latency = workloads.answer_latency(runner) if runner.workers else None
        rows.append((runner.label, w1, w2, w3, latency))
    rate = (before + workloads.raw_rate()) / 2
    print(f"\n{connection.vendor}: R = {rate:,.0f} durable inserts/s; medians of {runs} runs")  # noqa: T201
    print(f"{'':10} {'W1 executions/s':>22} {'W2 steps/s':>22} {'W3 s':>8} {'decided to started':>20}")  # noqa: T201
    for label, w1, w2, w3, latency in rows:
        waited = "" if latency is None else f"{latency:.0f} ms"
        print(  # noqa: T201
            f"{label:10} {f'{w1:,.0f} ({w1 / rate:.4f} R)':>22} {f'{w2:,.0f} ({w2 / rate:.3f} R)':>22} "
            f"{w3:>8.2f} {waited:>20}"
        )
    print(f"statements per inline chain step: {workloads.statements_per_step():.1f}")  # noqa: T201


@contextlib.contextmanager
def _workers(number: int) -> Iterator[None]:
    command = [sys.executable, "manage.py", "triggerflow_worker", "--verbosity", "0"]
    started = [subprocess.Popen(command) for _ in range(number)]  # noqa: S603 - our own command
    try:
        bells = wakeups.bell_queue(conf.get_settings().DEFAULT_QUEUE)
        while Worker.count(queue=bells) < number:
            if any(process.poll() is not None for process in started):
                raise RuntimeError("a worker ended while it was starting")
            time.sleep(0.05)
        yield
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
        for process in started:
            process.wait()


if __name__ == "__main__":
    main(int(sys.argv[1]))
