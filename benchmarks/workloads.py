"""The three workloads, each for one runner: what is measured, nothing of where.

W1: start, a step, a pause, an answer, two steps. W2: a chain of 100 steps. W3: 1,000 items and their join.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from django.db import connection
from django.test.utils import CaptureQueriesContext

from benchmarks import flows
from triggerflow_django import TriggerFlowExecution
from triggerflow_django.models import Decision, Step

W1_EXECUTIONS = 200
W3_ITEMS = 1_000
SECONDS = 300


@dataclass(frozen=True, slots=True)
class Runner:
    """``inline`` in this process, or ``rq`` on so many workers."""

    name: str
    workers: int = 0

    @property
    def label(self) -> str:
        """How the table calls it."""
        return self.name if not self.workers else f"{self.workers} worker{'s' if self.workers > 1 else ''}"


def raw_rate(rows: int = 2_000) -> float:
    """R: durable one-row inserts a second on one connection."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS benchmark_raw (value text)")
        began = time.perf_counter()
        for _ in range(rows):
            cursor.execute("INSERT INTO benchmark_raw (value) VALUES ('x')")
        return rows / (time.perf_counter() - began)


def w1(runner: Runner) -> float:
    """Executions a second: all started, then all decided."""
    began = time.perf_counter()
    executions = [_started(flows.gated, 1, runner) for _ in range(W1_EXECUTIONS)]
    for execution in executions:
        execution.wait(SECONDS)
    for execution in executions:
        execution.continue_with(next(iter(execution.get_pending_interrupts())), {"approved": True})
    for execution in executions:
        execution.wait(SECONDS)
    return W1_EXECUTIONS / (time.perf_counter() - began)


def w2(runner: Runner) -> float:
    """Steps a second of one chain."""
    began = time.perf_counter()
    _started(flows.chain, 1, runner).wait(SECONDS)
    return flows.CHAIN_LENGTH / (time.perf_counter() - began)


def w3(runner: Runner) -> float:
    """Seconds of one fan-out and its join."""
    began = time.perf_counter()
    _started(flows.fan_out, list(range(W3_ITEMS)), runner).wait(SECONDS)
    return time.perf_counter() - began


def answer_latency(runner: Runner, times: int = 20) -> float:
    """Milliseconds from a decision to the start of the next chunk, idle, median."""
    waits = []
    for _ in range(times):
        execution = _started(flows.gated, 1, runner)
        execution.wait(SECONDS)
        time.sleep(0.05)  # the worker has gone back to listen
        execution.continue_with(next(iter(execution.get_pending_interrupts())), {"approved": True})
        execution.wait(SECONDS)
        decided = Decision.objects.get(execution_id=execution.pk).created_at
        started = Step.objects.get(execution_id=execution.pk, node="two").started_at
        assert started is not None  # noqa: S101 - it has run
        waits.append((started - decided).total_seconds() * 1_000)
    return statistics.median(waits)


def statements_per_step() -> float:
    """SQL statements of one more step of an inline chain, BEGIN and COMMIT included."""
    with CaptureQueriesContext(connection) as long:
        _started(flows.chain, 1, Runner("inline"))
    with CaptureQueriesContext(connection) as short:
        _started(flows.short_chain, 1, Runner("inline"))
    return (len(long) - len(short)) / (flows.CHAIN_LENGTH - flows.SHORT_LENGTH)


def median_of(times: int, workload: Callable[[Runner], float], runner: Runner) -> float:
    """The median of several runs, after one that does not count."""
    workload(runner)
    return statistics.median(workload(runner) for _ in range(times))


def _started(flow: flows.Flow, value: object, runner: Runner) -> TriggerFlowExecution:
    return flow.start_execution(value, runner=runner.name, auto_close=False)
