"""``decide`` answers through the one gate, as the user it is told, and lets what follows happen."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser, Group
from django.test import TestCase

from tests.testing.samples import Bank, approval, payment, person, registered
from triggerflow_django import TriggerFlow, TriggerFlowRuntimeData, exceptions
from triggerflow_django.models import Decision, Execution
from triggerflow_django.testing import assert_nothing_pending, assert_pending, assert_walk, decide, run_until_idle


def two_questions() -> TriggerFlow:
    """Asks legal and finance, side by side."""
    flow = TriggerFlow(name="kit contract")

    def legal(data: TriggerFlowRuntimeData) -> Any:
        return data.pause_for(type="opinion", interrupt_id="legal")

    def finance(data: TriggerFlowRuntimeData) -> Any:
        return data.pause_for(type="budget", interrupt_id="finance")

    def sign(data: TriggerFlowRuntimeData) -> None:
        data.set_state("signed", data.input)

    flow.batch(legal, finance).to(sign)
    return flow


class WhatFollows(TestCase):
    def test_it_runs_what_follows_and_returns_the_record(self) -> None:
        execution = approval("kit follows").start_execution({})
        record = decide(execution, {"approved": True})
        assert (record["status"], record["response"]) == ("resumed", {"approved": True})
        assert_walk(execution, ["ask", "commit"])
        assert execution.get_state("answer") == {"approved": True}

    def test_for_executions_made_for_workers_as_well_and_by_row_or_id(self) -> None:
        flow = self.enterContext(registered(approval("kit remote")))
        for name in ("row", "id"):
            execution = flow.start_execution({}, runner="rq")
            run_until_idle()
            decide(Execution.objects.get(pk=execution.pk) if name == "row" else execution.id, name)
            assert execution.get_state("answer") == name

    def test_an_error_of_what_follows_is_raised_and_the_decision_stands(self) -> None:
        flow = TriggerFlow(name="kit then fails")
        flow.to(("ask", lambda data: data.pause_for())).to(("divide", lambda data: 1 / data.input))
        execution = flow.start_execution({})
        with pytest.raises(ZeroDivisionError):
            decide(execution, 0)
        assert Decision.objects.get().payload == 0
        assert execution.get_status() == "failed"

    def test_or_left_in_the_rows(self) -> None:
        flow = approval("kit quiet")
        flow.when("commit").to(("divide", lambda data: 1 / 0))
        execution = flow.start_execution({})
        decide(execution, "yes", raise_errors=False)
        assert_walk(execution, ["ask", "commit"])
        assert execution.get_status() == "failed"


class WhoDecides(TestCase):
    def test_without_a_user_the_test_is_trusted_code(self) -> None:
        person("ann")
        decide(approval("kit trusted", approvers="user:ann").start_execution({}), "yes")
        decision = Decision.objects.get()
        assert (decision.door, decision.actor_label) == ("code", "")

    def test_a_user_is_held_against_the_policy(self) -> None:
        boss, clerk = person("boss"), person("clerk")
        boss.groups.add(Group.objects.create(name="managers"))
        execution = approval("kit policy", approvers="group:managers").start_execution({})
        with pytest.raises(exceptions.DecisionRefusedError, match=r"only .*managers.* may decide"):
            decide(execution, "yes", as_user=clerk)
        assert_pending(execution, types=["approval"])
        assert decide(execution, "yes", as_user=boss)["resumed_by"] == "boss"

    def test_where_nobody_is_named_the_permission_decides(self) -> None:
        execution = approval("kit permission").start_execution({})
        with pytest.raises(exceptions.DecisionRefusedError, match="resume_interrupt"):
            decide(execution, "yes", as_user=person("guest", may_decide=False))
        with pytest.raises(exceptions.DecisionRefusedError, match="sign in"):
            decide(execution, "yes", as_user=AnonymousUser())
        decide(execution, "yes", as_user=person("clerk"))

    def test_who_started_it_can_be_excluded(self) -> None:
        clerk = person("clerk")
        execution = approval("kit four eyes", exclude_starter=True).start_execution({}, started_by=clerk)
        with pytest.raises(exceptions.DecisionRefusedError, match="you started this"):
            decide(execution, "yes", as_user=clerk)

    def test_comment_request_id_and_door_are_recorded(self) -> None:
        execution = approval("kit recorded").start_execution({})
        decide(execution, "yes", as_user=person("clerk"), comment="looks fine", request_id="r1", door="api")
        decision = Decision.objects.get()
        assert (decision.comment, decision.request_id, decision.door) == ("looks fine", "r1", "api")

    def test_at_a_door_for_people_somebody_has_to_decide(self) -> None:
        execution = approval("kit doors").start_execution({})
        with pytest.raises(exceptions.DecisionRefusedError, match="nobody is named"):
            decide(execution, "yes", door="admin")

    def test_the_answer_is_held_against_the_schema(self) -> None:
        execution = approval("kit schema", response_schema={"type": "boolean"}).start_execution({})
        with pytest.raises(exceptions.AnswerSchemaError):
            decide(execution, "yes")
        assert_pending(execution, types=["approval"])
        decide(execution, True)


class WhichOne(TestCase):
    def test_the_only_one_of_a_type(self) -> None:
        execution = two_questions().start_execution({})
        decide(execution, "fine", type="budget")
        assert_pending(execution, ids=["legal"])
        assert_walk(execution, ["finance"])

    def test_the_one_with_an_id(self) -> None:
        execution = two_questions().start_execution({})
        decide(execution, 1, interrupt_id="legal")
        decide(execution, 2)
        assert_walk(execution, [{"legal", "finance"}, "sign"])
        assert execution.get_state("signed") == {"legal": 1, "finance": 2}

    def test_several_are_refused_and_listed(self) -> None:
        execution = two_questions().start_execution({})
        with pytest.raises(AssertionError) as caught:
            decide(execution, "fine")
        told = str(caught.value)
        assert told.startswith("2 interrupts wait; say which one to decide with type= or interrupt_id=\n")
        assert "legal    paused, waiting for 'opinion', interrupt id 'legal'" in told
        assert "finance  paused, waiting for 'budget', interrupt id 'finance'" in told
        assert not Decision.objects.exists()

    def test_several_of_one_type_are_refused_too(self) -> None:
        flow = TriggerFlow(name="kit lines")
        flow.for_each().to(("line", lambda data: data.pause_for(type="line"))).end_for_each()
        execution = flow.start_execution([1, 2, 3])
        with pytest.raises(AssertionError, match=r"3 interrupts of type 'line' wait; .* with interrupt_id=\n"):
            decide(execution, "fine", type="line")

    def test_none_is_refused_and_the_message_shows_how_it_stands(self) -> None:
        flow = self.enterContext(registered(payment("kit none", Bank(failures=9), retries=1, backoff=60)))
        execution = flow.start_execution(1, runner="rq")
        with pytest.raises(AssertionError, match=r"(?s)no interrupt waits, .* pay  ready"):
            decide(execution, "yes")
        with pytest.raises(AssertionError, match=r"no interrupt of type 'budget' waits"):
            decide(execution, "yes", type="budget")

    def test_an_id_goes_to_the_gate_as_it_is(self) -> None:
        execution = two_questions().start_execution({})
        with pytest.raises(exceptions.UnknownInterruptError):
            decide(execution, 1, interrupt_id="tax")
        decide(execution, 1, interrupt_id="legal", request_id="r1")
        with pytest.raises(exceptions.InterruptNotWaitingError):
            decide(execution, 1, interrupt_id="legal")
        assert decide(execution, 1, interrupt_id="legal", request_id="r1")["response"] == 1
        assert Decision.objects.count() == 1

    def test_id_and_type_together_are_refused(self) -> None:
        execution = two_questions().start_execution({})
        with pytest.raises(ValueError, match="give one of them"):
            decide(execution, 1, interrupt_id="legal", type="opinion")


class InALoop(TestCase):
    async def test_it_is_told_how_to_spell_it(self) -> None:
        execution = await approval("kit loop").async_start_execution({})
        with pytest.raises(exceptions.SyncInLoopError, match=r"sync_to_async\(decide\)"):
            decide(execution, "yes")
        await sync_to_async(decide)(execution, "yes")
        assert_walk(execution, ["ask", "commit"])


@pytest.mark.django_db(transaction=True)
def test_it_works_outside_a_transaction_as_well() -> None:
    with registered(approval("kit committed answer")) as flow:
        execution = flow.start_execution({}, runner="rq")
        run_until_idle()
        decide(execution, "yes", as_user=person("clerk"))
    assert_nothing_pending(execution)
    assert_walk(execution, ["ask", "commit"])
