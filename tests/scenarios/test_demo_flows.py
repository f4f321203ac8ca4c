"""The demo's flows keep the promises one copies them for."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from project.demo import case as cases
from project.demo import roles
from project.demo.flows import refund_flow, review_flow
from project.demo.flows.publication import submit_article
from project.demo.models import Article, Refund
from project.demo.resources import Finding, PaymentsBusyError
from project.demo.walk import walk
from triggerflow_django.models import Decision, Execution, Step

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def users(transactional_db: None) -> dict[str, User]:
    """clerk, manager and finance."""
    return roles.load()


def test_each_decision_is_stored_with_the_user_who_made_it(users: dict[str, User]) -> None:
    [case] = [case for case in cases.load() if case.path == "demo.contract_sign_off/finance-first"]
    walked = walk(case, users=users, run="test")
    decisions = Decision.objects.filter(execution_id=uuid.UUID(walked.execution_id)).order_by("created_at", "id")
    assert [(decision.actor_label, decision.actor_id) for decision in decisions] == [
        (name, str(users[name].pk)) for name in ("finance", "manager")
    ]


class BusyTwice:
    """Payments that notes the keys it is called with and answers the third call."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    async def pay_out(self, *, key: str, **_request: Any) -> str:
        self.keys.append(key)
        if len(self.keys) < 3:
            raise PaymentsBusyError
        return "payout-1"


def test_the_provider_hears_one_key_however_often_it_is_called(users: dict[str, User]) -> None:
    payments = BusyTwice()
    execution = refund_flow.create_execution(
        auto_close=False, runtime_resources={"payments": payments}, started_by=users["clerk"]
    )
    execution.start({"order": "A-1", "amount_cents": 100, "currency": "EUR", "reason": "stale"})
    [key] = set(payments.keys)
    assert len(payments.keys) == 3
    assert Refund.objects.get().idempotency_key == key


def test_a_booking_that_fails_is_rolled_back_and_can_be_retried(
    users: dict[str, User], monkeypatch: pytest.MonkeyPatch
) -> None:
    payments = BusyTwice()
    create = Refund.objects.create

    def create_and_fail(**values: Any) -> None:
        create(**values)
        raise LookupError("the printer is out of paper")

    execution = refund_flow.create_execution(
        auto_close=False, runtime_resources={"payments": payments}, started_by=users["clerk"]
    )
    with monkeypatch.context() as patch:
        patch.setattr(Refund.objects, "create", create_and_fail)
        with pytest.raises(LookupError):
            execution.start({"order": "A-1", "amount_cents": 100, "currency": "EUR", "reason": "stale"})
    assert not Refund.objects.exists()
    assert execution.retry() == 1
    assert Refund.objects.get().payout_reference == "payout-1"
    assert len(payments.keys) == 3
    assert execution.get_state("outcome") == {"refunded_cents": 100}


def test_one_payout_cannot_be_booked_twice(users: dict[str, User]) -> None:
    line = {"execution_id": uuid.uuid4(), "order": "A-1", "amount_cents": 1, "currency": "EUR", "idempotency_key": "k"}
    Refund.objects.create(**line)
    with pytest.raises(IntegrityError), transaction.atomic():
        Refund.objects.create(**line)


class CountingReviewer:
    """A reviewer that finds the same thing in everything."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def review(self, text: str, *, kind: str) -> list[Finding]:
        self.texts.append(text)
        return [{"rule": "taste", "severity": "major", "quote": text[:5]}]


def test_the_model_reads_each_text_once(users: dict[str, User]) -> None:
    reviewer = CountingReviewer()
    execution = review_flow.create_execution(
        auto_close=False, runtime_resources={"reviewer": reviewer}, started_by=users["clerk"]
    )
    execution.start({"title": "Menu", "kind": "notice", "text": "Soup."})
    execution.continue_with("review", {"action": "revise", "text": "Stew."}, actor=users["manager"])
    execution.continue_with("review", {"action": "accept"}, actor=users["manager"])
    assert reviewer.texts == ["Soup.", "Stew."]
    assert execution.get_state() == {"text": "Stew.", "rounds": [["taste"], ["taste"]], "outcome": "accepted"}


def test_an_article_and_its_execution_start_together_or_not_at_all(users: dict[str, User]) -> None:
    manuscript = {"title": "Fog", "section": "local", "pictures": ["fog.jpg"], "embargo": False}
    with transaction.atomic():
        submit_article(manuscript, by=users["clerk"], key="s-1")
        transaction.set_rollback(True)
    assert not Article.objects.exists()
    assert not Execution.objects.exists()
    execution = submit_article(manuscript, by=users["clerk"], key="s-1")
    row = execution.row()
    assert row is not None
    assert row.subject == Article.objects.get()
    assert set(execution.get_pending_interrupts()) == {"editor", "rights"}


def test_a_manuscript_that_cannot_be_stored_leaves_no_article(users: dict[str, User]) -> None:
    manuscript = {"title": "Fog", "section": "local", "pictures": [b"raw"], "embargo": False}
    with pytest.raises(ValueError, match="bytes is not JSON"):
        submit_article(manuscript, by=users["clerk"], key="s-1")
    assert not Article.objects.exists()


def test_an_article_that_was_moved_by_another_way_is_not_published(users: dict[str, User]) -> None:
    manuscript = {"title": "Fog", "section": "local", "pictures": [], "embargo": False}
    execution = submit_article(manuscript, by=users["clerk"], key="s-1")
    Article.objects.update(status="rejected")
    with pytest.raises(LookupError, match="not in review any more"):
        execution.continue_with("editor", {"approved": True}, actor=users["manager"])
    assert Article.objects.get().status == "rejected"
    assert Step.objects.filter(node="publish", status="failed").exists()
