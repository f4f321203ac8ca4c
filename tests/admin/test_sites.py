"""The pages on other sites, under other addresses, in another language, with other clocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib import admin
from django.contrib.staticfiles import finders
from django.test import Client
from django.urls import clear_url_caches, reverse
from django.utils import formats

from tests.admin.conftest import page_of, send, text
from triggerflow_django.admin import register
from triggerflow_django.models import Decision, Event, Execution, Interrupt, Step

pytestmark = pytest.mark.django_db

MODELS = (Execution, Step, Interrupt, Decision, Event)


@pytest.fixture
def office(settings: Any) -> Iterator[None]:
    """The project's addresses are those of ``tests.admin.office``."""
    settings.ROOT_URLCONF = "tests.admin.office"
    clear_url_caches()
    yield
    clear_url_caches()


def test_the_pages_work_on_a_site_of_the_projects_own(office: None, browser: Client, waiting: Interrupt) -> None:
    page = f"/back-office/triggerflow/interrupt/{waiting.pk}/change/"
    answered = browser.post(page, {"answer": "true", "request_id": "r1"})
    assert (answered.status_code, answered["Location"]) == (302, page)
    for model in MODELS:
        folder = f"/back-office/triggerflow/{model._meta.model_name}/"
        for address in (folder, f"{folder}{model.objects.first().pk}/change/"):
            response = browser.get(address)
            assert response.status_code == 200
            assert '"/admin/' not in text(response)
    assert f"/back-office/triggerflow/step/{Step.objects.first().pk}/change/" in text(
        browser.get(f"/back-office/triggerflow/execution/{waiting.execution_id}/change/")
    )


def test_a_site_without_the_other_pages_has_no_links_to_them(office: None, browser: Client, waiting: Interrupt) -> None:
    page = f"/desk/triggerflow/interrupt/{waiting.pk}/change/"
    assert "/execution/" not in text(browser.get(page))
    assert browser.post(page, {"answer": "true", "request_id": "r1"})["Location"] == page
    for model in (Interrupt, Step):
        folder = f"/desk/triggerflow/{model._meta.model_name}/"
        for address in (folder, f"{folder}{model.objects.first().pk}/change/"):
            response = browser.get(address)
            assert response.status_code == 200
            assert "/triggerflow/execution/" not in text(response)
            assert str(waiting.execution) in text(response) or model is Interrupt


def test_registering_leaves_pages_alone_that_a_site_has() -> None:
    site = admin.AdminSite()

    class Own(admin.ModelAdmin):
        pass

    site.register(Step, Own)
    register(site)
    register(site)
    assert isinstance(site.get_model_admin(Step), Own)
    assert all(site.is_registered(model) for model in MODELS)


def test_the_address_of_an_interrupts_page_can_be_reversed(waiting: Interrupt) -> None:
    assert reverse("admin:triggerflow_interrupt_change", args=[waiting.pk]) == page_of(waiting)


@pytest.mark.parametrize("use_tz", [True, False])
def test_times_are_shown_in_the_projects_zone(
    use_tz: bool, settings: Any, browser: Client, ask: Callable[..., Interrupt]
) -> None:
    settings.USE_TZ = use_tz
    settings.TIME_ZONE = "Asia/Tokyo"
    row = ask(due_in=60)
    send(browser, row, "true")
    for model in MODELS:
        assert browser.get(f"/admin/triggerflow/{model._meta.model_name}/").status_code == 200
        assert browser.get(page_of(model.objects.first())).status_code == 200
    made = Decision.objects.get().created_at
    shown = made.astimezone(ZoneInfo("Asia/Tokyo")) if use_tz else made
    told = f"Decided by clerk on {formats.date_format(shown, 'DATETIME_FORMAT')}"
    assert told in text(browser.get(page_of(row)))


def test_the_pages_are_shown_in_german_and_numbers_in_addresses_stay_numbers(
    settings: Any, browser: Client, waiting: Interrupt
) -> None:
    settings.LANGUAGE_CODE = "de"
    settings.USE_THOUSAND_SEPARATOR = True
    send(browser, waiting, "true")
    event = Event.objects.first()
    event.pk, event.sequence, event._state.adding = 1_234_567, 50, True
    event.save()
    answered = text(browser.get(page_of(waiting)))
    assert 'lang="de"' in answered
    assert "Abmelden" in answered
    assert "/admin/triggerflow/event/1234567/change/" in text(browser.get(page_of(waiting.execution)))
    for model in MODELS:
        assert browser.get(f"/admin/triggerflow/{model._meta.model_name}/").status_code == 200
        assert browser.get(page_of(model.objects.first())).status_code == 200
    assert send(browser, waiting, "{", request="r2").status_code == 400


def test_the_pages_work_under_a_strict_policy_for_scripts_and_styles(browser: Client, waiting: Interrupt) -> None:
    page = text(browser.get(page_of(waiting)))
    own = page[page.index('class="module aligned triggerflow-answer') : page.index("</form>")]
    assert "<script" not in own
    assert "style=" not in own
    assert "onclick" not in own


def test_the_style_sheet_is_there() -> None:
    assert finders.find("triggerflow/admin.css")
