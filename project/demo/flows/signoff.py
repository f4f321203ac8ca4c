"""Contract sign-off: two departments are asked at the same time, and a join waits for both.

    register -> legal and, at the same time, finance -> conclude

Each branch pauses on its own and holds nothing while it waits; the answers may come in any order, days apart. A branch
that need not ask returns at once: the join does not care.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from project.demo import money
from triggerflow_django import TriggerFlow, TriggerFlowExecution, TriggerFlowRuntimeData

#: From here on finance has to sign as well.
FINANCE_CENTS: Final = 5_000_00

#: Who declines says why.
SIGN_OFF_SCHEMA: Final = {
    "type": "object",
    "properties": {"signed": {"type": "boolean"}, "remarks": {"type": "string", "minLength": 1}},
    "required": ["signed"],
    "additionalProperties": False,
    "if": {"properties": {"signed": {"const": False}}},
    "then": {"required": ["remarks"]},
}

sign_off_flow = TriggerFlow(name="demo.contract_sign_off")


def propose_contract(contract: Mapping[str, Any], *, by: Any, key: str) -> TriggerFlowExecution:
    """Start the sign-off of a contract (number, subject, value_cents, currency, months) on behalf of who proposes it.

    ``key``: as in ``request_refund``.
    """
    return sign_off_flow.start_execution(dict(contract), key=key, started_by=by)


def register(data: TriggerFlowRuntimeData) -> dict[str, Any]:
    """Keep the contract's number; both branches get the whole contract."""
    contract: dict[str, Any] = data.input
    data.set_state("contract", contract["number"])
    return contract


async def ask_legal(data: TriggerFlowRuntimeData) -> object:
    """Management signs every contract."""
    return await _ask(data, "legal", approvers="group:manager")


async def ask_finance(data: TriggerFlowRuntimeData) -> object:
    """Finance signs the larger ones; the others count as signed."""
    if data.input["value_cents"] < FINANCE_CENTS:
        return {"signed": True, "remarks": "below the limit of finance"}
    return await _ask(data, "finance", approvers="group:finance")


async def _ask(data: TriggerFlowRuntimeData, department: str, *, approvers: str) -> object:
    contract = data.input
    value = money.shown(contract["value_cents"], contract["currency"])
    return await data.async_pause_for(
        type="contract_sign_off",
        interrupt_id=department,
        payload={
            "question": f"Sign contract {contract['number']} for {department}?",
            "subject": contract["subject"],
            "terms": f"{value} over {contract['months']} months",
        },
        resume_to="next",
        approvers=approvers,
        exclude_starter=True,
        response_schema=SIGN_OFF_SCHEMA,
        due_in=dt.timedelta(days=10),
    )


def conclude(data: TriggerFlowRuntimeData) -> None:
    """Both have answered: ``data.input`` is ``{"legal": answer, "finance": answer}``."""
    answers: dict[str, dict[str, Any]] = data.input
    declined = sorted(department for department, answer in answers.items() if not answer["signed"])
    remarks = {department: answer["remarks"] for department, answer in answers.items() if "remarks" in answer}
    data.set_state("outcome", "declined" if declined else "signed")
    data.set_state("declined_by", declined)
    data.set_state("remarks", remarks)


sign_off_flow.to(register).batch(("legal", ask_legal), ("finance", ask_finance)).to(conclude)
