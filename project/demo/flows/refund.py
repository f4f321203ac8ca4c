"""Refunds: small ones pass, larger ones wait for somebody who may spend that much.

    assess -> small:  grant
           -> larger: ask -> take_decision
           -> granted: pay_out -> book
           -> else:    decline

The money is moved outside, where a step may run more than once, so ``pay_out`` hands over its idempotency key. The
ledger is in this database, so ``book`` is atomic: the row and the record that the step ran are one commit.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from project.demo import money
from project.demo.models import Refund
from triggerflow_django import TriggerFlow, TriggerFlowExecution, TriggerFlowRuntimeData

#: Up to here nobody is asked; up to the other a manager decides, above it finance.
SMALL_CENTS: Final = 50_00
MANAGER_CENTS: Final = 1_000_00

refund_flow = TriggerFlow(name="demo.refund")


def request_refund(request: Mapping[str, Any], *, by: Any, key: str) -> TriggerFlowExecution:
    """Start a refund on behalf of a user.

    ``request``: order, amount_cents, currency, reason. ``key``: the caller's name for the request; a second call with
    it (a double click, a repeated HTTP request) leads to the same refund.

    Raises: KeyConflictError for a key that was used with another request.
    """
    return refund_flow.start_execution(dict(request), key=key, started_by=by)


def assess(data: TriggerFlowRuntimeData) -> dict[str, Any]:
    """The request, checked, and kept in the state for the chunks behind the pause."""
    request: dict[str, Any] = data.input
    if request["amount_cents"] <= 0:
        raise ValueError(f"order {request['order']}: there is nothing to refund")
    data.set_state("request", request)
    return request


def is_small(data: TriggerFlowRuntimeData) -> bool:
    """Whether nobody needs to be asked."""
    return bool(data.input["amount_cents"] <= SMALL_CENTS)


def grant(data: TriggerFlowRuntimeData) -> int:
    """A small refund is granted in full. Returns the cents."""
    cents: int = data.input["amount_cents"]
    data.set_state("granted_by", "rule: small amount")
    return cents


async def ask(data: TriggerFlowRuntimeData) -> object:
    """Ask for a decision. The answer becomes this chunk's output."""
    request = data.input
    cents = request["amount_cents"]
    return await data.async_pause_for(
        type="refund_approval",
        interrupt_id="approval",
        payload={
            "question": f"Refund {money.shown(cents, request['currency'])} for order {request['order']}?",
            "reason": request["reason"],
        },
        resume_to="next",
        approvers="group:manager" if cents <= MANAGER_CENTS else "group:finance",
        exclude_starter=True,
        response_schema={
            "type": "object",
            "properties": {
                "approved": {"type": "boolean"},
                "amount_cents": {
                    "description": "Less than was asked for; leave it out for all of it.",
                    "type": "integer",
                    "minimum": 1,
                    "maximum": cents,
                },
            },
            "required": ["approved"],
            "additionalProperties": False,
        },
        due_in=dt.timedelta(days=3),
    )


async def take_decision(data: TriggerFlowRuntimeData) -> int:
    """What the answer grants, in cents; 0 for a refusal."""
    answer: dict[str, Any] = data.input
    await data.async_set_state("granted_by", "decision")
    if not answer["approved"]:
        return 0
    cents: int = answer.get("amount_cents", await data.async_get_state("request.amount_cents"))
    return cents


def is_granted(data: TriggerFlowRuntimeData) -> bool:
    """Whether there is money to move."""
    return bool(data.input > 0)


@refund_flow.chunk(retries=2, backoff=0.05, timeout=30)
async def pay_out(data: TriggerFlowRuntimeData) -> dict[str, Any]:
    """Have the payment provider move the money. Runs again after an error or a crash, hence the key."""
    request = await data.async_get_state("request")
    reference = await data.require_resource("payments").pay_out(
        order=request["order"],
        amount_cents=data.input,
        currency=request["currency"],
        key=data.idempotency_key,
        attempt=data.attempt,
    )
    return {"amount_cents": data.input, "reference": reference, "key": data.idempotency_key}


@refund_flow.chunk(atomic=True)
def book(data: TriggerFlowRuntimeData) -> None:
    """Write the ledger. The row commits together with the record that this step ran, or not at all."""
    payout, request = data.input, data.get_state("request")
    Refund.objects.create(
        idempotency_key=payout["key"],
        execution_id=data.execution_id,
        order=request["order"],
        amount_cents=payout["amount_cents"],
        currency=request["currency"],
        payout_reference=payout["reference"],
    )
    data.set_state("outcome", {"refunded_cents": payout["amount_cents"]})


def decline(data: TriggerFlowRuntimeData) -> None:
    """Nothing is paid."""
    data.set_state("outcome", {"refunded_cents": 0})


(
    refund_flow.to(assess)
    .if_condition(is_small)
    .to(grant)
    .else_condition()
    .to(ask)
    .to(take_decision)
    .end_condition()
    .if_condition(is_granted)
    .to(pay_out)
    .to(book)
    .else_condition()
    .to(decline)
    .end_condition()
)
