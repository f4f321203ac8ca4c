"""How much a function reads, counted by the database and not by a watch, so that a busy machine changes nothing."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext


@dataclass(frozen=True)
class Cost:
    """What the database did for a function."""

    #: BEGIN, COMMIT and savepoints not counted.
    statements: int
    #: PostgreSQL: rows and index entries that its SELECTs looked at, also those they then left out. SQLite:
    #: instructions of its virtual machine.
    read: int
    #: The median of ten calls.
    milliseconds: float

    def __str__(self) -> str:
        unit = "rows read" if connection.vendor == "postgresql" else "instructions"
        return f"{self.statements} statements, {self.read} {unit}, {self.milliseconds:.1f} ms"


def cost(function: Callable[[], Any]) -> Cost:
    """Call a function a few times, with fresh statistics. All calls must cost the same number of statements."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    function()
    if connection.vendor == "sqlite":
        read = _instructions(function)
    with CaptureQueriesContext(connection) as captured:
        function()
    sent = [
        query["sql"]
        for query in captured.captured_queries
        if not query["sql"].startswith(("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE"))
    ]
    if connection.vendor == "postgresql":
        read = sum(_rows(sql) for sql in sent if sql.startswith("SELECT"))
    times = []
    for _ in range(10):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return Cost(len(sent), read, statistics.median(times) * 1000)


def _instructions(function: Callable[[], Any]) -> int:
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    raw: Any = connection.connection
    raw.set_progress_handler(step, 1)
    try:
        function()
    finally:
        raw.set_progress_handler(None, 0)
    return count


def _rows(sql: str) -> int:
    with connection.cursor() as cursor:
        # As of tables that are large: the planner reads small ones whole, whatever indexes they have.
        cursor.execute("SET enable_seqscan = off")
        cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + sql.replace("%", "%%"))
        (answer,) = cursor.fetchone()
        cursor.execute("RESET enable_seqscan")
    plan = answer if isinstance(answer, list) else json.loads(answer)
    return sum(_looked_at(plan[0]["Plan"]))


def _looked_at(node: dict[str, Any]) -> Iterator[int]:
    if "Scan" in node["Node Type"]:
        left_out = sum(value for name, value in node.items() if name.startswith("Rows Removed by"))
        yield round((node["Actual Rows"] + left_out) * node["Actual Loops"])
    for inner in node.get("Plans", ()):
        yield from _looked_at(inner)
