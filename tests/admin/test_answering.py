"""The form on a waiting interrupt: it decides through the one gate, and tells every refusal in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError
from django.test import Client

from tests.admin.conftest import page_of, request_id, send, text
from triggerflow_django import TriggerFlow
from triggerflow_django.engine import lifecycle
from triggerflow_django.models import Decision, Event, Interrupt, InterruptStatus, Runner

pytestmark = pytest.mark.django_db

SCHEMA = {
    "type": "object",
    "properties": {
        "approved": {"type": "boolean"},
        "amount": {"type": "integer", "minimum": 1, "description": "Less than was asked for."},
        "channel": {"enum": ["web", 1]},
    },
    "required": ["approved"],
}


def decisions() -> list[Any]:
    return list(Decision.objects.values_list("payload", flat=True))


# -- an answer


def test_an_answer_is_stored_with_who_and_the_door_and_the_page_says_so(
    browser: Client, clerk: User, waiting: Interrupt
) -> None:
    response = send(browser, waiting, ' {"approved":\r\n true} ', comment=" Receipt seen.\r\nAll of it. ")
    assert response.status_code == 302
    assert response["Location"] == page_of(waiting)
    decision = Decision.objects.get()
    assert decision.payload == {"approved": True}
    assert (decision.actor_id, decision.actor_label, decision.door) == (str(clerk.pk), "clerk", "admin")
    assert (decision.comment, decision.request_id) == ("Receipt seen.\nAll of it.", "r1")
    page = text(browser.get(response["Location"]))
    assert "Stored: clerk decided this." in page
    assert 'name="answer"' not in page
    assert "Receipt seen." in page


@pytest.mark.parametrize("answer", ["null", '"yes"', "12.5", "false", "[]", "{}"])
def test_any_json_is_an_answer_where_no_schema_says_otherwise(browser: Client, waiting: Interrupt, answer: str) -> None:
    assert send(browser, waiting, answer).status_code == 302
    assert Decision.objects.count() == 1


def test_the_message_says_that_an_inline_execution_is_left_to_its_holder(browser: Client, waiting: Interrupt) -> None:
    page = text(browser.get(send(browser, waiting, "true")["Location"]))
    assert "its ready steps (1) are left to the process that holds it" in page
    assert f"manage.py triggerflow_handover {waiting.execution_id.hex}" in page
    assert "left to the process that holds it" in text(browser.get(page_of(waiting.execution)))


def test_the_message_says_nothing_of_the_kind_where_workers_go_on(browser: Client, waiting: Interrupt) -> None:
    execution = waiting.execution
    execution.runner = Runner.RQ
    execution.save()
    assert "left to the process" not in text(browser.get(send(browser, waiting, "true")["Location"]))


def test_a_form_that_is_sent_twice_is_answered_alike_and_decides_once(browser: Client, waiting: Interrupt) -> None:
    request = request_id(text(browser.get(page_of(waiting))))
    first, second = (send(browser, waiting, "true", request=request) for _ in range(2))
    assert (first.status_code, first["Location"]) == (second.status_code, second["Location"])
    assert decisions() == [True]
    assert Event.objects.filter(kind="interrupt_decided").count() == 1


def test_every_page_has_a_request_id_of_its_own(browser: Client, waiting: Interrupt) -> None:
    assert request_id(text(browser.get(page_of(waiting)))) != request_id(text(browser.get(page_of(waiting))))


@pytest.mark.parametrize("method", ["get", "head", "options"])
def test_opening_a_page_never_decides(browser: Client, waiting: Interrupt, method: str) -> None:
    for _ in range(20):
        getattr(browser, method)(page_of(waiting), {"answer": "true", "request_id": "r1"})
    waiting.refresh_from_db()
    assert waiting.status == InterruptStatus.WAITING


def test_a_form_without_its_csrf_token_is_refused(clerk: User, waiting: Interrupt) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(clerk)
    browser.get(page_of(waiting))
    assert send(browser, waiting, "true").status_code == 403
    assert decisions() == []
    fields = {"answer": "true", "request_id": "r1", "csrfmiddlewaretoken": browser.cookies["csrftoken"].value}
    assert browser.post(page_of(waiting), fields).status_code == 302


# -- refusals


def refused(
    browser: Client, row: Interrupt, answer: str, *, status: int, says: str, comment: str = "", request: str = "r1"
) -> str:
    """The page that comes back: it says why, keeps what was typed, and nothing was decided by it."""
    before = decisions()
    response = send(browser, row, answer, comment, request)
    page = text(response)
    assert response.status_code == status
    assert "Not stored." in page
    assert says in page
    assert decisions() == before
    return page


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ('{"approved": yes}', "Not JSON: Expecting value (line 1, column 14)"),
        ('{"approved": true,\r\n "a": tru}', "Not JSON: Expecting value (line 2, column 7)"),
        ("yes", "Not JSON: Expecting value (line 1, column 1)"),
        ("   ", "Not JSON: "),
        ("", "This field is required."),
        ("a\0b", "Null characters are not allowed."),
        ('"\\u0000"', "contains NUL"),
        ('{"a": "\\ud800"}', "$.a: the string contains a lone surrogate"),
        ('{"a": 1e999}', "$.a: Infinity is not a finite number"),
        ('{"a": 1, "a": 2}', "The key &quot;a&quot; is given twice"),
        ("9" * 5000, "does not fit 64 bits"),
        ("[" * 100_000, "Nested deeper than the 32 levels allowed"),
        ('"' + "x" * 70_000 + '"', "more than the 65536 allowed"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else None,
)
def test_what_is_no_json_is_refused_with_its_place(browser: Client, waiting: Interrupt, answer: str, says: str) -> None:
    refused(browser, waiting, answer, status=400, says=says)


def test_what_was_typed_is_kept(browser: Client, waiting: Interrupt) -> None:
    page = refused(browser, waiting, '{"approved": yes}', comment="Two\nlines", status=400, says="Not JSON")
    assert "{&quot;approved&quot;: yes}</textarea>" in page
    assert "Two\nlines</textarea>" in page
    assert request_id(page) == "r1"


def test_a_comment_that_cannot_be_stored_is_refused_at_the_comment(browser: Client, waiting: Interrupt) -> None:
    refused(browser, waiting, "true", comment="x" * 70_000, status=400, says="more than the 65536 allowed")
    refused(browser, waiting, "true", comment="a\0b", status=400, says="Null characters are not allowed.")


def test_a_request_that_is_too_large_is_a_bad_request(browser: Client, waiting: Interrupt) -> None:
    assert send(browser, waiting, "x" * 3_000_000).status_code == 400


@pytest.mark.parametrize("request_id", ["", "x" * 201, "a\0b"])
def test_a_form_without_a_proper_request_id_is_refused(browser: Client, waiting: Interrupt, request_id: str) -> None:
    refused(browser, waiting, "true", request=request_id, status=400, says="errorlist")


def test_what_does_not_match_the_schema_is_listed_with_paths(browser: Client, ask: Callable[..., Interrupt]) -> None:
    page = refused(
        browser,
        ask(response_schema=SCHEMA),
        '{"approved": "yes", "amount": 0}',
        status=422,
        says="$.amount: 0 is less than the minimum of 1",
    )
    assert "$.approved: &#x27;yes&#x27; is not of type &#x27;boolean&#x27;" in page
    refused(browser, Interrupt.objects.get(), "[]", status=422, says="[] is not of type &#x27;object&#x27;")


def test_the_form_tells_what_the_schema_asks_for(browser: Client, ask: Callable[..., Interrupt]) -> None:
    page = text(browser.get(page_of(ask(response_schema=SCHEMA))))
    assert "<code>approved</code>: boolean, required<" in page
    assert "<code>amount</code>: integer, may be left out. Less than was asked for.<" in page
    assert "<code>channel</code>: &quot;web&quot; or 1, may be left out<" in page


@pytest.mark.parametrize(
    "schema",
    [True, {}, {"properties": {"a": True}}, {"properties": {"a": {"type": ["string", "null"]}}}, {"enum": [1]}],
)
def test_odd_schemas_are_shown_as_they_are(browser: Client, ask: Callable[..., Interrupt], schema: Any) -> None:
    response = browser.get(page_of(ask(response_schema=schema)))
    assert response.status_code == 200


def test_who_may_not_decide_is_told_before_and_again_when_sending(
    ask: Callable[..., Interrupt], browser: Client, user: Callable[..., User]
) -> None:
    user("ann", groups=("managers",))
    row = ask(approvers=["group:managers"])
    says = "You cannot decide this: only the group managers may decide this."
    page = text(browser.get(page_of(row)))
    assert says in page
    assert 'name="answer"' not in page
    page = refused(browser, row, "true", status=403, says=says)
    assert "true</textarea>" in page
    assert "Send the answer" not in page


def test_what_was_decided_is_told_with_whom_and_when(browser: Client, waiting: Interrupt) -> None:
    send(browser, waiting, "true")
    page = refused(browser, waiting, "false", request="r2", status=409, says="Decided by clerk on ")
    assert "false</textarea>" in page


def test_the_same_form_with_another_answer_is_refused(browser: Client, waiting: Interrupt) -> None:
    send(browser, waiting, "true")
    page = refused(browser, waiting, "false", status=422, says="This form was sent before, with another answer.")
    assert "Decided by clerk on " in page


@pytest.mark.parametrize(
    ("end", "says"),
    [
        (lifecycle.cancel, "Nobody can answer this any more: cancelled on "),
        (lifecycle.seal, "The execution is sealed and takes no answers."),
    ],
    ids=["cancelled", "sealed"],
)
def test_an_execution_that_takes_no_answers_says_so(
    browser: Client, waiting: Interrupt, end: Callable[..., Any], says: str
) -> None:
    end(waiting.execution_id, using="default")
    page = text(browser.get(page_of(waiting)))
    assert says in page
    assert 'name="answer"' not in page
    refused(browser, waiting, "true", status=409, says=says)


def test_an_answer_that_was_accepted_is_accepted_again_after_the_end(browser: Client, waiting: Interrupt) -> None:
    send(browser, waiting, "true")
    lifecycle.cancel(waiting.execution_id, using="default")
    assert send(browser, waiting, "true").status_code == 302


def test_an_answer_to_an_earlier_question_never_answers_the_next(browser: Client) -> None:
    flow = TriggerFlow(name="again")

    def gate(data: Any) -> Any:
        return data.pause_for(interrupt_id="gate", resume_to="self", max_resumes=5)

    flow.to(gate)
    execution = flow.start_execution(None, auto_close=False)
    first = Interrupt.objects.get()
    execution.continue_with("gate", "one")
    second = Interrupt.objects.get(status=InterruptStatus.WAITING)
    assert (second.interrupt_id, second.round) == ("gate", 2)
    refused(browser, first, '"meant for the first"', status=409, says="Decided by code on ")
    second.refresh_from_db()
    assert second.status == InterruptStatus.WAITING
    assert send(browser, second, '"meant for the second"').status_code == 302


def test_a_row_that_vanished_is_no_server_error(browser: Client, waiting: Interrupt) -> None:
    with mock.patch("triggerflow_django.admin.answering.AnswerForm.clean_answer") as clean:
        clean.side_effect = lambda: waiting.execution.delete() and None
        assert send(browser, waiting, "true").status_code == 302
    assert browser.get(page_of(waiting)).status_code == 302


def test_a_database_that_is_busy_is_told_of(browser: Client, waiting: Interrupt) -> None:
    with mock.patch("triggerflow_django.admin.answering.decide", side_effect=OperationalError("locked")):
        refused(browser, waiting, "true", status=503, says="The database did not answer in time.")
    assert send(browser, waiting, "true").status_code == 302


def test_a_rule_that_raises_is_a_no(browser: Client, ask: Callable[..., Interrupt]) -> None:
    from tests.approvals import rules

    row = ask(approvers=[rules.is_broken])
    says = "the rule tests.approvals.rules.is_broken failed when asked, which counts as no"
    refused(browser, row, "true", status=403, says=says)
