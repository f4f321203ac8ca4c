"""Nothing that was stored becomes a tag, an attribute or an address of a page."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.admin.conftest import ALL_VIEWS, page_of, send, text
from triggerflow_django import TriggerFlow
from triggerflow_django.admin import values
from triggerflow_django.models import Decision, Event, Execution, Interrupt, Step

pytestmark = pytest.mark.django_db

HOSTILE = [
    "<x-evil>",
    '"><x-evil>',
    "'><x-evil>",
    "</pre></div><x-evil>",
    "</script><x-evil>",
    "</textarea><x-evil>",
    "</title></style><x-evil>",
    '" onx-evil="1',
    "' onx-evil='1",
    "--><x-evil><!--",
    "\u202e<x-evil>",
    "javascript:alert(1)",
    "{{ request.user.pk }}<x-evil>",
    "\\u003cx-evil\\u003e<x-evil>",
]


class Reader(HTMLParser):
    """What of a page a browser would act on."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.evil: list[str] = []
        self.data: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.evil += [tag] if "evil" in tag else []
        self.evil += [name for name, _ in attributes if "evil" in name]
        self.evil += [
            f"{name}={value}"
            for name, value in attributes
            if (value or "").startswith("javascript:") and name != "value"
        ]

    def handle_data(self, data: str) -> None:
        self.data.append(data)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_is_shown_as_text_on_every_page(hostile: str, user: Callable[..., User], client: Client) -> None:
    flow = TriggerFlow(name=hostile)

    def ask(data: Any) -> Any:
        data.set_state(hostile, [hostile])
        schema = {
            "type": "object",
            "title": hostile,
            "properties": {hostile: {"description": hostile, "enum": [hostile]}},
        }
        return data.pause_for(
            type=hostile, interrupt_id=hostile.replace("\n", " "), payload={"question": hostile, hostile: [hostile]},
            response_schema=schema, resume_to={"event": hostile},
        )  # fmt: skip

    def fail(data: Any) -> None:
        raise ValueError(hostile)

    flow.to(ask, name=hostile)
    flow.when("fail").to(fail)
    person = user(hostile, *ALL_VIEWS, "resume_interrupt")
    execution = flow.start_execution({hostile: hostile}, key=hostile, started_by=person, auto_close=False)
    with pytest.raises(ValueError, match=r"\S"):
        execution.emit("fail", {hostile: hostile}, actor=person)
    client.force_login(person)
    interrupt = Interrupt.objects.get()

    pages = {
        "form": client.get(page_of(interrupt)),
        "malformed": send(client, interrupt, hostile, hostile),
        "of another kind": send(client, interrupt, values.json.dumps([hostile]), hostile),
        "found": client.get("/admin/triggerflow/execution/", {"q": hostile}),
        "by flow": client.get("/admin/triggerflow/execution/", {"flow_name": hostile}),
        "landing": client.get("/"),
    }
    assert send(client, interrupt, values.json.dumps({hostile: hostile}), hostile).status_code == 302
    for model in (Execution, Step, Interrupt, Decision, Event):
        pages[f"{model.__name__} list"] = client.get(f"/admin/triggerflow/{model._meta.model_name}/")
        for row in model.objects.all():
            pages[f"{model.__name__} {row.pk}"] = client.get(page_of(row))
    for name, response in pages.items():
        assert response.status_code in (200, 400, 422), name
        assert Reader(text(response)).evil == [], name
    shown = "".join(Reader(text(pages["form"])).data)
    assert hostile.translate(values._TURNING) in shown


def test_what_turns_the_direction_of_text_is_shown_by_its_number(
    browser: Client, ask: Callable[..., Interrupt]
) -> None:
    page = text(browser.get(page_of(ask(payload={"question": "pay \u202e021 now", "more": "\u2066x"}))))
    assert "pay \\u202e021 now" in page
    assert "\u202e" not in page
    assert "\u2066" not in page


def test_other_scripts_are_shown_as_they_are(browser: Client, ask: Callable[..., Interrupt]) -> None:
    assert "退款 \\n Größe 👩‍💻" in text(browser.get(page_of(ask(payload={"text": "退款 \n Größe 👩‍💻"}))))


def test_very_long_values_are_cut_and_the_page_says_so(browser: Client, ask: Callable[..., Interrupt]) -> None:
    page = text(browser.get(page_of(ask(payload={"items": ["word"] * 100_000}))))
    assert len(page) < 3 * values.LONGEST
    assert "Cut after 50000 characters" in page


@pytest.mark.parametrize(
    ("value", "expected"), [(None, "null"), ("", "&quot;&quot;"), (0, "0"), ({}, "{}"), (1e300, "1e+300")]
)
def test_small_values_are_shown_as_json(value: Any, expected: str) -> None:
    assert f">{expected}</pre>" in values.as_json(value)
