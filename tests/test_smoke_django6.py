"""A short walk through everything; `make smoke-django6` runs it with Django 6 as well."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from triggerflow_django import TriggerFlow, TriggerFlowRuntimeData

pytestmark = pytest.mark.smoke


@pytest.mark.django_db  # Django 6 asks the database what it can do
def test_the_system_checks_find_nothing() -> None:
    call_command("check", fail_level="WARNING")


@pytest.mark.django_db
def test_the_models_need_no_further_migration() -> None:
    call_command("makemigrations", check_changes=True, dry_run=True)


@pytest.mark.django_db
def test_the_admin_opens_for_a_superuser(client: Client) -> None:
    client.force_login(User.objects.create_superuser("ann", password="secret"))
    assert client.get("/admin/").status_code == 200


@pytest.mark.django_db(transaction=True)
def test_a_flow_pauses_is_answered_and_closes() -> None:
    flow = TriggerFlow(name="smoke refund")

    async def ask(data: TriggerFlowRuntimeData) -> object:
        return await data.async_pause_for(type="approval", payload={"amount": data.input}, resume_to="next")

    def commit(data: TriggerFlowRuntimeData) -> None:
        data.set_state("decision", data.input)

    flow.to(ask).to(commit)
    execution = flow.create_execution(auto_close=False)
    execution.start(120)
    (interrupt_id,) = execution.get_pending_interrupts()
    execution.continue_with(interrupt_id, {"approved": True})
    assert execution.close() == {"decision": {"approved": True}}
