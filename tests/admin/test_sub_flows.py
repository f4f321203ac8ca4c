"""The pages of parents and children: each leads to the other, and a child's question is in the inbox once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.admin.conftest import text
from triggerflow_django import TriggerFlow, TriggerFlowExecution
from triggerflow_django.models import Execution, Interrupt

pytestmark = pytest.mark.django_db


@pytest.fixture
def execution() -> TriggerFlowExecution:
    child = TriggerFlow(name="child <b>flow</b>")
    child.to(lambda data: data.pause_for(interrupt_id="gate"), name="ask")
    flow = TriggerFlow(name="parent flow")
    flow.to_sub_flow(child, name="work")
    return flow.start_execution(1, auto_close=False)


@pytest.fixture
def browser(user: Callable[..., User]) -> Client:
    browser = Client()
    browser.force_login(user("root", is_superuser=True))
    return browser


def address(execution: Execution) -> str:
    return f"/admin/triggerflow/execution/{execution.pk}/change/"


def test_the_pages_of_parent_and_child_lead_to_each_other(browser: Client, execution: TriggerFlowExecution) -> None:
    parent, child = Execution.objects.get(flow_name="parent flow"), Execution.objects.exclude(root_id=None).get()
    page = browser.get(address(parent))
    assert page.status_code == 200
    assert address(child) in page.content.decode()
    assert "Sub flows" in text(page)
    assert "<b>flow</b>" not in page.content.decode()
    page = browser.get(address(child))
    assert address(parent) in page.content.decode()
    assert "Sub flows" not in text(page)


def test_a_question_of_a_child_is_in_the_inbox_once(browser: Client, execution: TriggerFlowExecution) -> None:
    page = browser.get("/admin/triggerflow/interrupt/")
    assert [row.pk for row in page.context["cl"].result_list] == [Interrupt.objects.get().pk]
