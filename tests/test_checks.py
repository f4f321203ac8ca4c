"""The system checks: what is wrong is said before anything runs, and what is right is left alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
from django.conf import settings
from django.core import checks as django_checks
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import override_settings

from triggerflow_django import TriggerFlow, checks
from triggerflow_django.definition import registry
from triggerflow_django.models import Execution

pytestmark = pytest.mark.filterwarnings("ignore:Overriding setting DATABASES")

NAME = "checks test"
GOOD_SQLITE = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": "/srv/db.sqlite3",
    "OPTIONS": {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL;"},
}


def ask(data: Any) -> Any:
    return data.pause_for(interrupt_id="q")


def commit(data: Any) -> None: ...


@pytest.fixture
def known() -> Iterator[Callable[..., TriggerFlow]]:
    """Register a flow under the test's name."""

    def make(write: Callable[[TriggerFlow], Any], origin: str = "shop.flows") -> TriggerFlow:
        flow = TriggerFlow(name=NAME)
        write(flow)
        return registry.register(flow, origin=origin)

    yield make
    registry.unregister(NAME)


def ids(messages: list[django_checks.CheckMessage]) -> list[str]:
    return [str(message.id).removeprefix("triggerflow.") for message in messages]


def about(flow_name: str = NAME) -> list[django_checks.CheckMessage]:
    """What the check of flows says about one of them; others may be registered too."""
    return [message for message in checks.check_flows(None) if repr(flow_name) in message.msg]


# -- settings


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, []),
        ({"LEASE_SECONDS": 30}, []),
        ({"LEASE_SECOND": 30}, ["did you mean 'LEASE_SECONDS'?"]),
        ({"LEASE_SECONDS": 0, "RUNNER": "celery"}, ["'RUNNER'", "'LEASE_SECONDS'"]),
        ([], ["give a dict"]),
    ],
)
def test_a_wrong_setting_is_an_error_that_names_it(given: Any, told: list[str]) -> None:
    with override_settings(TRIGGERFLOW=given):
        found = checks.check_settings(None)
    assert ids(found) == ["E001"] * len(told)
    assert all(word in message.msg for word, message in zip(told, found, strict=True))
    assert all(message.level == django_checks.ERROR for message in found)


# -- databases


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, []),
        ({"OPTIONS": {}}, ["W003", "W004"]),
        ({"OPTIONS": {"transaction_mode": "DEFERRED", "init_command": "PRAGMA journal_mode = wal"}}, ["W003"]),
        ({"OPTIONS": {"transaction_mode": "immediate", "init_command": "PRAGMA synchronous=NORMAL"}}, ["W004"]),
        ({"OPTIONS": {"transaction_mode": "EXCLUSIVE", "init_command": "PRAGMA journal_mode=WAL"}}, []),
        ({"NAME": ":memory:"}, ["E002"]),
        ({"NAME": ":memory:", "OPTIONS": {}}, ["E002", "W003"]),
        ({"NAME": "file:shared?mode=memory&cache=shared", "OPTIONS": {"transaction_mode": "IMMEDIATE"}}, []),
        ({"ENGINE": "django.db.backends.postgresql", "NAME": "app", "OPTIONS": {}}, []),
    ],
)
def test_a_sqlite_database_that_would_not_do_is_told(changes: Any, told: list[str]) -> None:
    with override_settings(DATABASES={"default": GOOD_SQLITE | changes}):
        found = checks.check_sqlite(None)
    assert ids(found) == told
    assert all(message.hint for message in found)


def test_the_database_that_is_looked_at_is_that_of_the_settings() -> None:
    databases = {"default": GOOD_SQLITE | {"NAME": ":memory:"}, "flows": GOOD_SQLITE}
    with override_settings(DATABASES=databases, TRIGGERFLOW={"DATABASE": "flows"}):
        assert checks.check_sqlite(None) == []
    with override_settings(DATABASES=databases, TRIGGERFLOW={"DATABASE": "unknown"}):
        assert checks.check_sqlite(None) == []
    with override_settings(DATABASES=databases, TRIGGERFLOW=[]):
        assert ids(checks.check_sqlite(None)) == ["E002"]


@pytest.mark.parametrize(
    ("vendor", "told"), [("sqlite", []), ("postgresql", []), ("mysql", ["E013"]), ("oracle", ["E013"])]
)
def test_a_database_that_is_not_supported_is_an_error(
    vendor: str, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(connections["default"]), "vendor", vendor)
    assert ids(checks.check_vendor(None)) == told


def test_a_database_that_the_settings_do_not_have_is_not_looked_at() -> None:
    with override_settings(TRIGGERFLOW={"DATABASE": "unknown"}):
        assert checks.check_vendor(None) == []


# -- flows


def test_a_flow_as_it_should_be_has_nothing_to_say(known: Callable[..., TriggerFlow]) -> None:
    known(lambda flow: flow.to(ask).to(commit).match().case(lambda data: True).to(commit, name="again").end_match())
    assert about() == []


def test_a_name_given_twice_is_an_error_that_says_where(known: Callable[..., TriggerFlow]) -> None:
    known(lambda flow: flow.to(ask), "shop.flows")
    known(lambda flow: flow.to(commit), "billing.flows")
    (found,) = about()
    assert (found.id, found.level) == ("triggerflow.E005", django_checks.ERROR)
    assert "shop.flows" in found.msg
    assert "billing.flows" in found.msg


def test_a_flow_with_an_open_block_cannot_be_built(known: Callable[..., TriggerFlow]) -> None:
    flow = known(lambda flow: (flow.for_each().to(ask), flow.when("E").match().case(1).to(commit)))
    found = about()
    assert ids(found) == ["E006", "E006"]
    assert "add end_for_each()" in found[0].msg
    assert "add end_match()" in found[1].msg
    assert found[0].obj is flow


def test_a_flow_that_raises_while_it_is_built_is_told_and_not_raised(known: Callable[..., TriggerFlow]) -> None:
    class Broken(TriggerFlow):
        @property
        def graph(self) -> Any:
            raise LookupError("half written")

    registry.register(Broken(name=NAME))
    known(lambda flow: None)
    found = about()
    assert ids(found) == ["E005", "E006"]
    assert "LookupError: half written" in found[1].msg


def test_two_chunks_of_one_name_are_an_error(known: Callable[..., TriggerFlow]) -> None:
    def make() -> Any:
        def ask(data: Any) -> None: ...

        return ask

    known(lambda flow: flow.to(ask).to(make()).to(make()).to(commit))
    (found,) = about()
    assert (found.id, found.level) == ("triggerflow.E007", django_checks.ERROR)
    assert "3 chunks called 'ask'" in found.msg


def test_lambdas_are_a_warning_unless_they_have_a_name(known: Callable[..., TriggerFlow]) -> None:
    known(lambda flow: flow.to(lambda data: 1).to(lambda data: 2).to(("named", lambda data: 3)))
    found = about()
    assert [(message.id, message.level) for message in found] == [("triggerflow.W008", django_checks.WARNING)] * 2
    assert "'START/lambda-1'" in found[0].msg
    assert "'START/lambda-1/lambda-1'" in found[1].msg


# -- stored executions


def stored(flow: TriggerFlow) -> Execution:
    execution = flow.create_execution(auto_close=False)
    execution.start(1)
    return execution  # type: ignore[return-value]


def stranded() -> list[str]:
    found = checks.check_stored_executions(None, databases=["default"])
    assert ids(found) == ["W009"] * len(found)
    return [message.msg for message in found if NAME in message.msg]


@pytest.mark.django_db
def test_executions_whose_code_is_there_are_left_alone(known: Callable[..., TriggerFlow]) -> None:
    stored(known(lambda flow: flow.to(ask)))
    assert stranded() == []


@pytest.mark.django_db
def test_what_waits_for_a_chunk_the_code_lacks_is_counted(known: Callable[..., TriggerFlow]) -> None:
    old = TriggerFlow(name=NAME)
    old.to(ask, name="ask manager").to(commit)
    for _ in range(2):
        stored(old)
    known(lambda flow: flow.to(ask))
    (told,) = stranded()
    assert told == f"2 steps of open executions stand on 'ask manager' of flow {NAME!r}, which it does not have."


@pytest.mark.django_db
def test_what_waits_in_a_flow_nobody_registered_is_counted() -> None:
    flow = TriggerFlow(name=NAME)
    flow.to(ask)
    stored(flow)
    (told,) = stranded()
    assert told == f"1 step of open executions stands on flow {NAME!r}, which is not registered."


@pytest.mark.django_db
def test_what_has_ended_needs_no_code() -> None:
    flow = TriggerFlow(name=NAME)
    flow.to(ask)
    stored(flow).cancel()
    done = TriggerFlow(name=NAME)
    done.to(commit)
    stored(done)
    failed = TriggerFlow(name=NAME)
    failed.to(lambda data: 1 / 0)
    execution = failed.create_execution(auto_close=False)
    with pytest.raises(ZeroDivisionError):
        execution.start(1)
    execution.close()
    assert stranded() == []


@pytest.mark.django_db
def test_a_choice_that_is_still_to_be_made_needs_its_node(known: Callable[..., TriggerFlow]) -> None:
    def fail(data: Any) -> bool:
        raise LookupError

    old = TriggerFlow(name=NAME)
    old.match().case(fail).end_match()
    with pytest.raises(LookupError):
        stored(old)
    known(lambda flow: flow.to(ask))
    (told,) = stranded()
    assert "1 step of open executions stands on 'START/match-1'" in told


@pytest.mark.django_db
def test_only_the_database_that_is_asked_for_is_looked_at() -> None:
    flow = TriggerFlow(name=NAME)
    flow.to(ask)
    stored(flow)
    assert checks.check_stored_executions(None) == []
    assert checks.check_stored_executions(None, databases=["other"]) == []


@pytest.mark.django_db
def test_before_the_first_migrate_nothing_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    introspection = connections["default"].introspection
    monkeypatch.setattr(introspection, "table_names", list)
    assert checks.check_stored_executions(None, databases=["default"]) == []


# -- together


@pytest.mark.django_db
def test_the_check_command_finds_them_all(known: Callable[..., TriggerFlow]) -> None:
    flow = TriggerFlow(name=NAME)
    flow.to(ask, name="gone")
    stored(flow)
    known(lambda flow: flow.for_each().to(lambda data: data.input))
    out = StringIO()
    with override_settings(TRIGGERFLOW={"LEASES": 1}), pytest.raises(CommandError) as caught:
        call_command("check", databases=["default"], stdout=out, stderr=out)
    for code in ("E001", "E006", "W008"):
        assert f"triggerflow.{code}" in str(caught.value)


def test_the_project_itself_passes() -> None:
    assert settings.TRIGGERFLOW is not None
    assert checks.check_settings(None) == []
    assert checks.check_sqlite(None) == []
