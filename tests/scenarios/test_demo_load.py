"""``manage.py demo --load``: what people find, what a second time does, and who gets a password."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from project.demo import case as cases
from project.demo import load, logins, roles, together
from project.demo.walk import walking
from triggerflow_django import TriggerFlow
from triggerflow_django.exceptions import WaitTimeoutError
from triggerflow_django.models import Decision, Event, Execution, Interrupt, InterruptStatus, Step

#: Nine cases.
ONLY = "demo.contract_sign_off/s"


def counts() -> tuple[int, ...]:
    return tuple(model.objects.count() for model in (Execution, Step, Interrupt, Decision, Event, User))


@pytest.fixture
def loaded(transactional_db: None, settings: Any, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What the command said after loading one flow's cases, with logins."""
    settings.DEBUG = True
    call_command("demo", "--load", "--logins", only=ONLY)
    return capsys.readouterr().out.splitlines()


def test_most_cases_end_and_some_wait_for_people(loaded: list[str]) -> None:
    found = [case for case in cases.load() if ONLY in case.path]
    left = load.left_open(found)
    assert len(left) == 3
    statuses = Counter(Execution.objects.values_list("status", flat=True))
    assert statuses["waiting"] == len(left)
    assert statuses["completed"] + statuses["cancelled"] == len(found) - len(left)
    waiting = Interrupt.objects.filter(status=InterruptStatus.WAITING)
    # Some wait for both departments, some for one after the other has answered.
    assert len(left) < waiting.count() < 2 * len(left)
    assert Decision.objects.filter(interrupt__execution__status="waiting").exists()
    assert loaded[0] == (
        f"{len(found)} executions started, 0 were there before; {waiting.count()} questions wait in {len(left)} "
        "executions"
    )


@pytest.mark.once
def test_of_every_flow_something_is_left() -> None:
    left = load.left_open(cases.load())
    flows = Counter(path.partition("/")[0] for path in left)
    assert len(flows) == 5
    assert min(flows.values()) >= 5
    assert 30 < sum(flows.values()) < 80


@pytest.mark.once
def test_the_last_answer_is_not_the_same_request_once_more() -> None:
    known = {case.path: case for case in cases.load()}
    again = known["demo.publication/same-request-again"]
    assert again.acts[-1] == again.acts[-2]
    left = load.left_open([known["demo.contract_sign_off/legal-first"], again])
    assert left[again.path] == again.acts[:-2]


def test_a_second_time_does_nothing(loaded: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    before = counts()
    call_command("demo", "--load", "--logins", only=ONLY)
    again = capsys.readouterr().out.splitlines()
    assert counts() == before
    assert again[0] == loaded[0].replace("9 executions started, 0 were", "0 executions started, 9 were")
    assert again[1] == loaded[1]


def test_what_people_did_meanwhile_stays(loaded: list[str]) -> None:
    row = Interrupt.objects.filter(status=InterruptStatus.WAITING).first()
    assert row is not None
    execution = TriggerFlow.attach(row.execution_id)
    execution.cancel(reason="not needed any more")
    before = counts()
    call_command("demo", "--load", only=ONLY)
    assert counts() == before
    assert execution.get_status() == "cancelled"


def test_the_printed_password_opens_the_admin(loaded: list[str], client: Any) -> None:
    assert loaded[1] == f"log in as clerk, manager, finance; password: {logins.password()}"
    assert client.login(username="manager", password=logins.password())
    assert client.get("/admin/").status_code == 200


def test_users_who_were_there_before_get_no_password(
    transactional_db: None, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.DEBUG = True
    User.objects.create_user("manager", password="own")
    call_command("demo", "--once", only="demo.refund/one-cent")  # makes the others, without one
    call_command("demo", "--load", "--logins", only="demo.refund/one-cent")
    assert capsys.readouterr().out.splitlines()[-1] == (
        "there before, with another password or none: clerk, manager, finance"
    )
    assert User.objects.get(username="manager").check_password("own")
    assert not User.objects.get(username="clerk").has_usable_password()


def test_without_debug_nobody_gets_a_password(transactional_db: None, settings: Any) -> None:
    settings.DEBUG = False
    with pytest.raises(CommandError, match="they need DEBUG, which is off"):
        call_command("demo", "--load", "--logins", only=ONLY)
    assert not User.objects.exists()
    assert not Execution.objects.exists()


@pytest.mark.once
def test_the_password_is_this_installations_own(settings: Any) -> None:
    settings.DEBUG = True
    settings.SECRET_KEY = "one"
    first = logins.password()
    settings.SECRET_KEY = "two"
    assert logins.password() != first
    settings.SECRET_KEY = "one"
    assert logins.password() == first


def test_a_case_that_goes_otherwise_is_told(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("project.demo.walk.rows_of", lambda _pk: {"refunds": "none"})
    with pytest.raises(CommandError, match=r"not as expected: demo\.refund/one-cent: rows: expected .*, got .*none"):
        call_command("demo", "--load", only="demo.refund/one-cent")


def test_walks_that_no_worker_goes_on_with_end_by_name(transactional_db: None, settings: Any) -> None:
    settings.TRIGGERFLOW = {**settings.TRIGGERFLOW, "RUNNER": "rq"}
    settings.RQ_QUEUES = {}
    users = roles.load()
    found = [case for case in cases.load() if case.flow == "demo.refund"][:3]
    walks = [walking(case, users=users, run="test") for case in found]
    with pytest.raises(WaitTimeoutError, match=r"none of 2 executions settled within 0\.1 s; does a worker run\?"):
        list(together.in_order(walks, at_once=2, timeout=0.1))
    assert Execution.objects.count() == 2
