"""``assert_pending`` holds, fails, and shows when it fails what waits instead."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import TestCase

from tests.testing.samples import approval, fails, work
from triggerflow_django import TriggerFlow, TriggerFlowExecution, exceptions
from triggerflow_django.testing import (
    assert_nothing_pending,
    assert_pending,
    decide,
)


def asking(*pauses: dict[str, Any]) -> TriggerFlowExecution:
    """An execution that waits for so many answers."""
    flow = TriggerFlow(name="kit asking")
    flow.for_each().to(("line", lambda data: data.pause_for(**data.input))).end_for_each()
    return flow.start_execution(list(pauses))


class Pending(TestCase):
    def test_given_nothing_one_must_wait(self) -> None:
        assert_pending(asking({}))
        told = fails(assert_pending, work("kit no pause").start_execution(1))
        assert told.startswith("expected a waiting interrupt, there is none\nexecution ")
        assert "'kit no pause' is running (open); its steps:\n  1. double  done\n  2. keep    done" in told

    def test_types_are_compared_in_any_order_and_counted(self) -> None:
        execution = asking({"type": "b"}, {"type": "a"}, {"type": "b"})
        assert_pending(execution, types=["a", "b", "b"])
        told = fails(assert_pending, execution, types=["a", "b"])
        assert told.startswith("expected waiting types 'a', 'b', found 'a', 'b', 'b'\n")
        assert "waiting for 'a'" in told

    def test_ids_are_compared_in_any_order(self) -> None:
        execution = asking({"interrupt_id": "legal"}, {"interrupt_id": "finance"})
        assert_pending(execution, ids=["finance", "legal"])
        assert_pending(execution, ids={"finance", "legal"})
        told = fails(assert_pending, execution, ids=["legal", "tax"])
        assert told.startswith("expected waiting ids 'legal', 'tax', found 'finance', 'legal'\n")

    def test_both_are_checked_where_both_are_given(self) -> None:
        execution = asking({"interrupt_id": "legal", "type": "opinion"})
        assert_pending(execution, types=["opinion"], ids=["legal"])
        told = fails(assert_pending, execution, types=["budget"], ids=["tax"])
        assert "expected waiting types 'budget', found 'opinion'\n" in told
        assert "expected waiting ids 'tax', found 'legal'\n" in told

    def test_one_text_is_one_type_and_not_its_letters(self) -> None:
        execution = asking({"type": "ab"})
        assert_pending(execution, types="ab")
        assert "expected waiting types 'ba', found 'ab'" in fails(assert_pending, execution, types="ba")

    def test_the_records_are_returned_oldest_first(self) -> None:
        records = assert_pending(asking({"payload": 1}, {"payload": 2}), types=["pause", "pause"])
        assert [record["payload"] for record in records.values()] == [1, 2]

    def test_nothing_may_wait(self) -> None:
        execution = approval("kit until decided").start_execution({})
        told = fails(assert_nothing_pending, execution)
        [interrupt_id] = execution.get_pending_interrupts()
        assert told.startswith(f"expected waiting ids none, found '{interrupt_id}'\n")
        decide(execution, "yes")
        assert_nothing_pending(execution)
        assert_pending(execution, types=[], ids=[])

    def test_an_execution_that_was_never_stored_is_called_that(self) -> None:
        execution = approval("kit unborn").create_execution()
        assert_nothing_pending(execution)
        assert "is not stored yet" in fails(assert_pending, execution)

    def test_an_unknown_id_is_no_execution_with_nothing_pending(self) -> None:
        with pytest.raises(exceptions.UnknownExecutionError):
            assert_nothing_pending("0" * 32)

    async def test_it_can_be_asked_in_an_async_test(self) -> None:
        execution = await approval("kit async asked").async_start_execution({})
        for named in (execution, execution.id):
            assert_pending(named, types=["approval"])
            assert "waiting for 'approval'" in fails(assert_nothing_pending, named)
