"""The sweep: it repairs what a dead worker left and acts on what is due; nothing in one row stops it for the others."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import DatabaseError, connection

from tests.engine import driving
from triggerflow_django import TriggerFlow
from triggerflow_django.engine import deadlines, emit, fail, lifecycle, sweep
from triggerflow_django.models import Event, Execution, Interrupt, Step

pytestmark = pytest.mark.django_db

Travel = Callable[[float], None]


@pytest.fixture
def flow() -> TriggerFlow:
    flow = TriggerFlow(name="refund")
    flow.to(lambda data: data.pause_for(interrupt_id="gate", due_in=3600, on_due={"answer": False}), name="ask").to(
        driving.nothing(), name="after"
    )
    flow.when("work").to(driving.nothing(), name="work")
    return flow


@pytest.fixture
def quiet() -> TriggerFlow:
    flow = TriggerFlow(name="quiet")
    flow.when("work").to(driving.nothing(), name="work")
    return flow


def lost(flow: TriggerFlow) -> uuid.UUID:
    """An execution whose running step has no worker any more, once an hour has passed."""
    pk = driving.start(flow)
    emit.emit(pk, "work", 1, using="default", graph=flow.graph)
    driving.claim(pk, flow)
    return pk


def report(**counts: int) -> sweep.SweepReport:
    return sweep.SweepReport(**counts)


def swept() -> sweep.SweepReport:
    return sweep.sweep(using="default")


def test_where_nothing_is_due_it_does_nothing(flow: TriggerFlow) -> None:
    pk = driving.settled(flow)
    before = driving.everything(pk)
    assert swept() == report()
    assert swept().total() == 0
    assert driving.everything(pk) == before


def test_it_gives_a_lost_step_back(quiet: TriggerFlow, travel: Travel) -> None:
    """Invariant 10: no step stays running without a live lease."""
    pk = lost(quiet)
    assert swept() == report()
    travel(61)
    assert swept() == report(lost_steps=1)
    assert driving.step(pk, "work").status == "ready"
    assert swept() == report()
    assert driving.drain(pk, quiet) == []
    driving.consistent(pk)


def test_it_acts_on_a_deadline(flow: TriggerFlow, travel: Travel) -> None:
    pk = driving.settled(flow)
    travel(3601)
    assert swept() == report(deadlines=1)
    assert driving.interrupt(pk, "gate").status == "resumed"
    assert swept() == report()


def test_it_closes_what_has_been_idle_for_its_time(quiet: TriggerFlow, travel: Travel) -> None:
    pk = driving.settled(quiet, auto_close=True, auto_close_timeout=60.0)
    assert swept() == report()
    travel(61)
    assert swept() == report(auto_closed=1)
    assert driving.consistent(pk).lifecycle == "closed"
    assert swept() == report()


def test_it_finishes_a_close_whose_time_is_over(quiet: TriggerFlow, travel: Travel) -> None:
    pk = lost(quiet)
    lifecycle.request_close(pk, using="default", timeout=30)
    assert swept() == report()
    travel(31)
    assert swept() == report(forced_closes=1)
    assert driving.consistent(pk).lifecycle == "closed"
    assert swept() == report()


def test_it_does_everything_that_is_due_in_one_pass(flow: TriggerFlow, quiet: TriggerFlow, travel: Travel) -> None:
    pks = [driving.settled(flow), lost(quiet)]
    pks.append(driving.settled(quiet, auto_close=True, auto_close_timeout=60.0))
    closing = lost(quiet)
    lifecycle.request_close(closing, using="default", timeout=30)
    travel(3601)
    done = swept()
    assert (done.deadlines, done.auto_closed, done.forced_closes, done.errors) == (1, 1, 1, 0)
    assert done.lost_steps == 2
    for pk in [*pks, closing]:
        driving.consistent(pk)


def test_it_takes_a_batch_of_each_kind_and_the_rest_in_the_next_pass(
    flow: TriggerFlow, quiet: TriggerFlow, travel: Travel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "BATCH", 2)
    for _ in range(3):
        driving.settled(flow)
        lost(quiet)
        driving.settled(quiet, auto_close=True, auto_close_timeout=60.0)
    travel(3601)
    assert swept() == report(lost_steps=2, deadlines=2, auto_closed=2)
    assert swept() == report(lost_steps=1, deadlines=1, auto_closed=1)
    assert swept() == report()


def test_it_takes_the_longest_overdue_first(
    quiet: TriggerFlow, travel: Travel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "BATCH", 1)
    later = driving.settled(quiet, auto_close=True, auto_close_timeout=120.0)
    sooner = driving.settled(quiet, auto_close=True, auto_close_timeout=60.0)
    travel(1000)
    swept()
    assert (driving.row(sooner).lifecycle, driving.row(later).lifecycle) == ("closed", "open")


@pytest.mark.parametrize("error", [RuntimeError("stumbled"), DatabaseError("deadlock"), KeyError("x")])
@pytest.mark.django_db(transaction=True)
def test_an_error_in_one_row_does_not_stop_the_others(
    flow: TriggerFlow,
    travel: Travel,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    pks = [driving.settled(flow) for _ in range(3)]
    broken = driving.interrupt(pks[1], "gate").pk
    act = deadlines.pass_deadline

    def stumble(interrupt_pk: uuid.UUID, execution_id: uuid.UUID, *, using: str) -> bool:
        if interrupt_pk == broken:
            raise error
        return act(interrupt_pk, execution_id, using=using)

    monkeypatch.setattr(deadlines, "pass_deadline", stumble)
    travel(3601)
    with caplog.at_level(logging.ERROR):
        assert swept() == report(deadlines=2, errors=1)
    (logged,) = [record for record in caplog.records if record.message == "triggerflow.sweep.failed"]
    assert (logged.row, logged.table) == (repr(broken), "triggerflow.Interrupt")  # type: ignore[attr-defined]
    monkeypatch.undo()
    assert swept() == report(deadlines=1)


@pytest.mark.django_db(transaction=True)
def test_an_error_leaves_nothing_half_done(flow: TriggerFlow, travel: Travel, monkeypatch: pytest.MonkeyPatch) -> None:
    pk = driving.settled(flow)
    before = driving.everything(pk)
    travel(3601)

    def stumble(*_args: Any, **_kwargs: Any) -> None:
        raise RuntimeError("stumbled")

    monkeypatch.setattr("triggerflow_django.engine.resolve._follow", stumble)
    assert swept() == report(errors=1)
    assert driving.everything(pk) == before


def test_an_error_of_the_database_inside_somebody_s_transaction_is_theirs(
    flow: TriggerFlow, travel: Travel, monkeypatch: pytest.MonkeyPatch
) -> None:
    driving.settled(flow)
    travel(3601)

    def stumble(*_args: Any, **_kwargs: Any) -> bool:
        raise DatabaseError("the transaction is broken")

    monkeypatch.setattr(deadlines, "pass_deadline", stumble)
    with pytest.raises(DatabaseError):
        swept()


@pytest.mark.django_db(transaction=True)
def test_twice_at_once_is_harmless(flow: TriggerFlow, quiet: TriggerFlow, travel: Travel) -> None:
    for _ in range(5):
        driving.settled(flow)
        lost(quiet)
        driving.settled(quiet, auto_close=True, auto_close_timeout=60.0)
    travel(3601)
    barrier = threading.Barrier(2)

    def sweep_too() -> sweep.SweepReport:
        try:
            connection.ensure_connection()
            barrier.wait(30)
            return swept()
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        one, two = (done.result(60) for done in [pool.submit(sweep_too) for _ in range(2)])
    assert one.errors == two.errors == 0
    assert one.lost_steps + two.lost_steps == 5
    assert one.deadlines + two.deadlines == 5
    assert one.auto_closed + two.auto_closed == 5
    assert Step.objects.filter(node="work", lost=1).count() == 5
    assert Event.objects.filter(kind="interrupt_decided").count() == 5
    for pk in Execution.objects.values_list("pk", flat=True):
        driving.consistent(pk)


@pytest.mark.django_db(transaction=True)
def test_it_never_overtakes_a_commit_that_is_under_way(
    quiet: TriggerFlow, travel: Travel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it saw before the lock is looked at again under it."""
    pk = driving.settled(quiet, auto_close=True, auto_close_timeout=60.0)
    travel(61)
    (seen,) = list(sweep._idle("default"))
    emit.emit(pk, "work", 1, using="default", graph=quiet.graph)
    assert lifecycle.auto_close(seen.pk, using="default") is False
    running, step = driving.claimed(pk, quiet)
    travel(61)
    (expired,) = list(sweep._expired("default"))
    driving.run(running, step)
    assert fail.lost(expired, using="default") is False
    driving.consistent(pk)
    assert not Interrupt.objects.exists()
