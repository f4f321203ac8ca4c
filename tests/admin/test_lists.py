"""Lists: what is found, how many queries that takes and which indexes serve them, what odd addresses get."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from tests.admin.conftest import page_of, text
from triggerflow_django import TriggerFlow
from triggerflow_django.definition import registry
from triggerflow_django.engine import clock
from triggerflow_django.engine.decide import decide
from triggerflow_django.models import Decision, Door, Event, Execution, Interrupt, Step

pytestmark = pytest.mark.django_db

MODELS = (Execution, Step, Interrupt, Decision, Event)


def list_of(model: Any) -> str:
    return f"/admin/triggerflow/{model._meta.model_name}/"


def found(browser: Client, model: Any, **query: str) -> set[Any]:
    """The primary keys of the rows that a list shows."""
    response = browser.get(list_of(model), query)
    assert response.status_code == 200
    return {row.pk for row in response.context["cl"].result_list}


@pytest.fixture
def decided(ask: Callable[..., Interrupt]) -> Callable[..., Interrupt]:
    """An execution whose question was answered."""

    def _decided(**how: Any) -> Interrupt:
        row = ask(**how)
        decide(row.execution_id, "gate", {"approved": True}, door=Door.CODE, using="default")
        row.refresh_from_db()
        return row

    return _decided


# -- queries


def queries(browser: Client, address: str) -> list[str]:
    browser.get(address)
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert browser.get(address).status_code == 200
    return [query["sql"] for query in captured.captured_queries]


@pytest.mark.parametrize("model", MODELS)
def test_a_list_takes_as_many_queries_for_many_rows_as_for_one(
    model: Any, browser: Client, decided: Callable[..., Interrupt]
) -> None:
    decided()
    few = queries(browser, list_of(model))
    for _ in range(12):
        decided()
    many = queries(browser, list_of(model))
    assert len(many) == len(few) <= 6, many


@pytest.mark.parametrize("model", MODELS)
def test_a_list_leaves_the_large_columns_in_the_database(
    model: Any, browser: Client, decided: Callable[..., Interrupt]
) -> None:
    decided()
    large = ("payload", "response_schema", "input", "output", "snapshot", "error", "data", "scope")
    for sql in queries(browser, list_of(model)):
        for column in large:
            assert not any(f'"triggerflow_{kind._meta.model_name}"."{column}"' in sql for kind in MODELS), sql


@pytest.mark.parametrize(("model", "most"), [(Execution, 12), (Step, 9), (Interrupt, 9), (Decision, 8), (Event, 8)])
def test_a_page_takes_few_queries_however_much_belongs_to_it(
    model: Any, most: int, browser: Client, decided: Callable[..., Interrupt]
) -> None:
    flow = TriggerFlow(name="many")
    flow.for_each().to(lambda data: data.pause_for(interrupt_id=f"q{data.input}")).end_for_each()
    execution = flow.start_execution(list(range(30)), auto_close=False)
    for number in range(15):
        execution.continue_with(f"q{number}", number)
    row = Execution.objects.get() if model is Execution else model.objects.first()
    assert len(queries(browser, page_of(row))) <= most


def test_the_tables_of_an_execution_lead_to_the_lists_where_they_are_cut(browser: Client) -> None:
    flow = TriggerFlow(name="many")
    flow.for_each().to(lambda data: data.pause_for(interrupt_id=f"q{data.input}")).end_for_each()
    execution = flow.start_execution(list(range(30)), auto_close=False)
    page = text(browser.get(page_of(Execution.objects.get())))
    address = f"{list_of(Step)}?execution={execution.pk}"
    assert f'href="{address}"' in page
    assert page.count(f'href="{list_of(Step)}') - 1 == 25 + page.count(f'href="{list_of(Step)}"')
    assert len(browser.get(address).context["cl"].result_list) == 30


# -- finding


def test_executions_are_found_by_id_by_how_it_begins_by_key_and_by_flow(
    browser: Client, ask: Callable[..., Interrupt]
) -> None:
    registry.register(TriggerFlow(name="refund"))
    try:
        one = ask(start={"key": "order-17"}).execution_id
        two = ask(start={"key": "order-18"}, flow_name="other").execution_id
        assert found(browser, Execution, q=str(one)) == {one}
        assert found(browser, Execution, q=two.hex.upper()) == {two}
        assert found(browser, Execution, q=one.hex[:31]) == {one}
        assert found(browser, Execution, q=" order-17 ") == {one}
        assert found(browser, Execution, q="other") == {two}
        assert found(browser, Execution, q="order-18") == set()  # of a flow that this process does not know
        assert found(browser, Execution, q="order") == set()
        assert found(browser, Execution, q=one.hex[:7]) == set()
    finally:
        registry.unregister("refund")


@pytest.mark.parametrize("model", [Step, Interrupt, Decision, Event])
def test_the_rest_is_found_by_its_own_id_and_by_its_executions_id_or_key(
    model: Any, browser: Client, decided: Callable[..., Interrupt]
) -> None:
    registry.register(TriggerFlow(name="refund"))
    try:
        one = decided(start={"key": "order-17"}).execution_id
        decided(start={"key": "order-18"})
        mine = set(model.objects.filter(execution_id=one).values_list("pk", flat=True))
        row = model.objects.filter(execution_id=one).first()
        assert found(browser, model, q="order-17") == mine
        assert found(browser, model, q=one.hex) == mine
        assert found(browser, model, execution=str(one)) == mine
        assert found(browser, model, q=str(row.pk)) == {row.pk}
    finally:
        registry.unregister("refund")


def test_executions_are_filtered_by_status_as_people_see_it(browser: Client, ask: Callable[..., Interrupt]) -> None:
    waiting = ask().execution_id
    idle = TriggerFlow(name="idle")
    idle.to(lambda data: None)
    idle_id = idle.start_execution(None, auto_close=False).pk
    assert found(browser, Execution, status="waiting") == {waiting}
    assert found(browser, Execution, status="idle") == {idle_id}
    assert found(browser, Execution, status="running") == set()
    assert ">idle<" in text(browser.get(list_of(Execution)))


def test_executions_are_filtered_by_flow(browser: Client, ask: Callable[..., Interrupt]) -> None:
    one, _other = ask(), ask(flow_name="other")
    assert found(browser, Execution, flow_name="refund") == {one.execution_id}
    assert found(browser, Execution, flow_name="demo.refund") == set()


ODD = (
    "q=%00", "q=%ff", "q=" + "9" * 40, "q=" + "9" * 5000, "q=" + "x" * 5000, "q=%F0%9F%98%80", "status=%00",
    "status=nonsense", "flow_name=%00", "flow_name=" + "x" * 300, "execution=nonsense", "execution=%00", "execution=",
    "p=nonsense", "p=-1", "o=1.2.3", "o=x", "all=",
)  # fmt: skip


@pytest.mark.parametrize("model", MODELS)
def test_odd_addresses_are_no_server_error(model: Any, browser: Client, waiting: Interrupt) -> None:
    for query in ODD:
        assert browser.get(f"{list_of(model)}?{query}").status_code in (200, 302, 400), query


@pytest.mark.parametrize(
    "lookup",
    ["input__contains=a", "started_by_label__regex=(a%2B)%2B", "execution__input=1", "decision__payload=1", "pk__gt=0"],
)
def test_columns_that_are_not_shown_cannot_be_asked_for(lookup: str, browser: Client) -> None:
    for model in MODELS:
        assert browser.get(f"{list_of(model)}?{lookup}").status_code == 400


@pytest.mark.parametrize("model", MODELS)
def test_pages_of_rows_that_cannot_be_are_no_server_error(model: Any, browser: Client) -> None:
    for pk in ("nonsense", "%00", "9" * 40, "-1", "0198%20or%201=1", "../../x"):
        assert browser.get(f"{list_of(model)}{pk}/change/").status_code in (302, 404), pk


# -- indexes


@pytest.fixture
def crowd(decided: Callable[..., Interrupt], ask: Callable[..., Interrupt]) -> Interrupt:
    """Thousands of closed executions and their rows, and one that waits."""
    row = ask(start={"key": "order-17"}, flow_name="demo.refund")
    now = clock.read("default")
    executions = [
        Execution(
            flow_name=("demo.refund", "demo.publication")[number % 2], flow_fingerprint="f", runner="rq",
            lifecycle="closed", status="completed", input=None, snapshot={}, key=f"key-{number}", created_at=now,
            started_at=now, closed_at=now,
        )
        for number in range(4000)
    ]  # fmt: skip
    Execution.objects.bulk_create(executions)
    steps = Step.objects.bulk_create(
        Step(
            execution=execution, node="ask", source="event:START", input=None, path="p", status="done",
            available_at=now, created_at=now,
        )
        for execution in executions
    )  # fmt: skip
    decisions = Decision.objects.bulk_create(
        Decision(execution=execution, payload=1, door="code", created_at=now) for execution in executions
    )
    Interrupt.objects.bulk_create(
        Interrupt(
            execution=step.execution, step=step, interrupt_id="q", type="t", payload=1, resume_to="next",
            status="resumed", decision=decision, created_at=now, resolved_at=now,
        )
        for step, decision in zip(steps, decisions, strict=True)
    )  # fmt: skip
    Event.objects.bulk_create(
        Event(execution=execution, sequence=1, kind="started", created_at=now) for execution in executions
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return row


@pytest.mark.skipif(connection.vendor != "postgresql", reason="reads PostgreSQL's plans")
def test_indexes_serve_searches_and_filters(
    crowd: Interrupt, rf: RequestFactory, django_user_model: type[User]
) -> None:
    superuser = django_user_model.objects.create_superuser("root")
    id_, key = crowd.execution_id.hex, "order-17"
    wanted: list[tuple[Any, dict[str, str], str]] = [
        (Execution, {"flow_name": "demo.refund", "status": "waiting"}, "triggerflow_exec_flow"),
        (Execution, {"q": key}, "triggerflow_execution_key"),
        (Execution, {"q": id_}, "triggerflow_execution_pkey"),
        (Execution, {}, "triggerflow_execution_pkey"),
        (Step, {"status": "paused"}, "triggerflow_step_live"),
        (Step, {"execution": id_}, "triggerflow_step_timeline"),
        (Step, {"q": key}, "triggerflow_step_timeline"),
        (Interrupt, {"status": "waiting"}, "triggerflow_interrupt_inbox|triggerflow_interrupt_waiting"),
        (Interrupt, {"q": id_}, "triggerflow_interrupt_round"),
        (Decision, {"execution": id_}, "triggerflow_decision_execution_id"),
        (Event, {"execution": id_}, "triggerflow_event_sequence"),
        (Event, {"q": key}, "triggerflow_event_sequence"),
    ]
    for model, query, index in wanted:
        request = rf.get(list_of(model), query)
        request.user = superuser
        rows = admin.site.get_model_admin(model).get_changelist_instance(request).queryset[:50]
        plan = rows.explain()
        assert any(name in plan for name in index.split("|")), (model, query, plan)
        assert f"Seq Scan on triggerflow_{model._meta.model_name}" not in plan, (model, query, plan)
