"""The landing page: who sees what on it, and that nothing that is missing breaks it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client, override_settings

from project.demo import logins, roles
from triggerflow_django import TriggerFlow, wakeups
from triggerflow_django.models import Execution

pytestmark = pytest.mark.django_db

HOSTILE = '<x-evil>"><img onx-evil=1>'


def home(client: Client) -> str:
    response = client.get("/")
    assert response.status_code == 200
    return response.content.decode()


@pytest.fixture
def debug(settings: Any) -> None:
    settings.DEBUG = True


@pytest.fixture
def asked() -> Execution:
    """An execution that asks."""
    flow = TriggerFlow(name="refund")
    flow.to(lambda data: data.pause_for(payload={"question": "Refund 120?"}))
    return Execution.objects.get(pk=flow.start_execution(None, auto_close=False).pk)


def test_a_visitor_of_a_deployment_sees_what_it_is_and_where_to_sign_in(client: Client, asked: Execution) -> None:
    roles.load()
    page = home(client)
    assert 'href="/admin/"' in page
    for hidden in ("Refund 120?", "demo.refund", "clerk", "1 waiting", logins_password()):
        assert hidden not in page


def logins_password() -> str:
    """What would be shown with DEBUG."""
    with override_settings(DEBUG=True):
        return logins.password()


def test_who_may_see_executions_sees_numbers_and_no_logins(client: Client, asked: Execution) -> None:
    roles.load()
    person = User.objects.create_user("ann")
    client.force_login(person)
    assert "Refund 120?" not in home(client)
    person.user_permissions.add(Permission.objects.get(codename="view_execution"))
    page = home(client)
    assert "Refund 120?" in page
    assert "1 waiting" in page
    assert "Who to sign in as" not in page
    assert logins_password() not in page


def test_a_trial_shows_the_logins_that_are_there(client: Client, debug: None) -> None:
    assert "Nobody yet" in home(client)
    users = roles.load(password=logins.password())
    users["finance"].is_active = False
    users["finance"].save()
    page = home(client)
    assert "<code>clerk</code>, <code>manager</code>; password" in page
    assert logins.password() in page
    assert "<code>finance</code>" not in page
    assert client.login(username="clerk", password=logins.password())


def test_it_tells_how_executions_stand_and_leads_to_their_pages(client: Client, debug: None, asked: Execution) -> None:
    idle = TriggerFlow(name="idle")
    idle.to(lambda data: None)
    idle.start_execution(None, auto_close=False)
    page = home(client)
    assert "1 idle" in page
    assert f'href="/admin/triggerflow/interrupt/{asked.interrupts.get().pk}/change/"' in page
    assert 'href="/admin/triggerflow/interrupt/?status=waiting"' in page
    assert "whoever has the permission triggerflow.resume_interrupt" in page
    assert "Refunds: small ones pass, larger ones wait for somebody who may spend that much." in page
    assert "no executions yet" in page


def test_stored_text_is_shown_as_text(client: Client, debug: None) -> None:
    flow = TriggerFlow(name=HOSTILE)
    flow.to(lambda data: data.pause_for(payload={"question": HOSTILE}))
    flow.start_execution(None, auto_close=False)
    found: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            found.extend(name for name in (tag, *dict(attributes)) if "evil" in name)

    page = home(client)
    Reader().feed(page)
    assert found == []
    assert "&lt;x-evil&gt;" in page


def test_it_takes_few_queries_however_many_executions_there_are(
    client: Client, debug: None, django_assert_max_num_queries: Any
) -> None:
    for number in range(10):
        flow = TriggerFlow(name=f"flow {number}")
        flow.to(lambda data: data.pause_for(payload="?"))
        flow.start_execution(None, auto_close=False)
    with django_assert_max_num_queries(5):
        home(client)


# -- workers and queues


@pytest.fixture
def no_redis(settings: Any) -> Iterator[None]:
    """Steps run on workers, and no Redis answers."""
    settings.TRIGGERFLOW = {"RUNNER": "rq"}
    settings.RQ_QUEUES = {"triggerflow": {"URL": f"unix:///nowhere/{secrets.token_hex(4)}.sock"}}
    wakeups.bell_queue.cache_clear()
    yield
    wakeups.bell_queue.cache_clear()


def test_redis_may_be_away(client: Client, debug: None, no_redis: None) -> None:
    assert "Redis does not answer" in home(client)


@pytest.mark.parametrize(
    ("number", "says"), [(0, "No worker listens"), (1, "1</b> listening worker<"), (2, "2</b> listening workers<")]
)
def test_it_tells_how_many_workers_listen(
    number: int, says: str, client: Client, debug: None, no_redis: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("triggerflow_django.worker.presence.listening", lambda queue: number)
    assert says in home(client)


def test_the_dashboard_is_linked_where_it_is_installed(
    client: Client, debug: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "RQ queues" not in home(client)
    monkeypatch.setattr("project.views._dashboard", lambda: "/admin/django_rq/dashboard/")
    assert '<a class="go" href="/admin/django_rq/dashboard/">RQ queues</a>' in home(client)


def test_it_changes_nothing(client: Client) -> None:
    assert client.post("/").status_code == 405
    assert client.head("/").status_code == 200
    assert "no-cache" in client.get("/")["Cache-Control"]


def test_it_fits_a_phone(client: Client, debug: None, asked: Execution) -> None:
    page = home(client)
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
    assert "https://" not in page
    assert "<script" not in page
