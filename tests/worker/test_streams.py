"""A reader in this process follows chunks that real workers run: while they run, over their death, without Redis."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.handles.loops import in_a_loop
from tests.worker.app import flows
from tests.worker.conftest import Bells, Workers, settled
from triggerflow_django.models import StreamItem

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


def told(item: Any) -> Any:
    """An item, system items by their action."""
    return item["action"] if isinstance(item, dict) and "action" in item else item


def opened(sign: Path) -> Any:
    """The reader of an execution that workers run, which holds still in its middle."""
    sign.write_text("")
    execution = flows.stream.create_execution(auto_close=False)
    return execution, execution.get_runtime_stream({"sign": str(sign)}, timeout=30)


def test_a_reader_sees_items_while_a_worker_runs_the_chunk(workers: Workers, tmp_path: Path) -> None:
    workers.start()
    execution, stream = opened(tmp_path / "sign")
    first = next(stream)
    assert first["pid"] != os.getpid()
    assert [next(stream) for _ in range(5)] == [0, 1, 2, 3, 4]
    (tmp_path / "sign").unlink()  # only now it can go on
    assert [next(stream) for _ in range(5)] == [5, 6, 7, 8, 9]
    assert told(next(stream)) == "pause"
    execution.continue_with("gate", "yes")
    assert told(next(stream)) == "resume"
    settled(execution)
    execution.close()
    assert list(stream) == []


def test_a_reader_is_told_that_the_chunk_of_a_killed_worker_begins_anew(workers: Workers, tmp_path: Path) -> None:
    workers.start()
    execution, stream = opened(tmp_path / "sign")
    victim = next(stream)["pid"]
    committed = [next(stream) for _ in range(5)]
    os.kill(victim, signal.SIGKILL)
    again = next(stream)
    assert (again["action"], again["step"], again["attempt"]) == ("restart", "tokens", 2)
    (tmp_path / "sign").unlink()
    second = next(stream)
    assert second["attempt"] == 2
    assert second["pid"] != victim
    assert [next(stream) for _ in range(10)] == list(range(10))
    settled(execution)
    assert execution.get_status() == "waiting"
    execution.continue_with("gate", "yes")
    settled(execution)
    execution.close()
    everything = [told(item) for item in execution.get_runtime_stream(timeout=5)]
    assert everything[1:6] == committed
    assert everything[6:] == ["restart", {"pid": second["pid"], "attempt": 2}, *range(10), "pause", "resume"]
    rows = StreamItem.objects.filter(root_id=execution.pk).order_by("sequence").values_list("sequence", flat=True)
    assert list(rows) == list(range(1, len(everything) + 1))


def test_redis_may_be_flushed_and_go_away_while_a_chunk_streams(workers: Workers, bells: Bells, tmp_path: Path) -> None:
    workers.start()
    execution, stream = opened(tmp_path / "sign")
    assert [next(stream) for _ in range(6)][1:] == [0, 1, 2, 3, 4]
    bells.client().flushall()
    bells.stop()
    (tmp_path / "sign").unlink()
    assert [next(stream) for _ in range(5)] == [5, 6, 7, 8, 9]
    assert told(next(stream)) == "pause"
    bells.start()
    settled(execution)
    assert execution.get_status() == "waiting"


@in_a_loop
async def test_an_async_reader_follows_a_worker_and_goes_on_after_a_reconnect(workers: Workers, tmp_path: Path) -> None:
    workers.start()
    sign = tmp_path / "sign"
    sign.write_text("")
    execution = flows.stream.create_execution(auto_close=False)
    first = execution.get_async_runtime_stream({"sign": str(sign)}, timeout=30)
    assert [await anext(first) for _ in range(3)][1:] == [0, 1]
    await first.aclose()
    sign.unlink()
    second = execution.get_async_runtime_stream(timeout=30, position=first.position)
    assert [await anext(second) for _ in range(8)] == list(range(2, 10))
    assert told(await anext(second)) == "pause"
    await second.aclose()


def test_a_pause_of_a_hidden_execution_on_workers_is_an_error_of_the_reader(workers: Workers, tmp_path: Path) -> None:
    workers.start()
    stream = flows.stream.get_runtime_stream({"sign": str(tmp_path / "no sign")}, timeout=30)
    assert [next(stream) for _ in range(11)][1:] == list(range(10))
    with pytest.raises(RuntimeError, match="paused"):
        next(stream)
