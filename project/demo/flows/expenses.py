"""Expense report: every line is looked at, and only some of them wait for a person.

    number_lines -> for each line: check_line -> settle

Who may decide a line is a rule in code (``may_approve``), since it depends on the line's amount.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from project.demo import money
from triggerflow_django import TriggerFlow, TriggerFlowExecution, TriggerFlowRuntimeData, approver

#: Up to how many cents a line of a kind passes unasked; other kinds are always asked about.
PASSES_CENTS: Final = {"meal": 40_00, "taxi": 60_00, "train": 200_00, "hotel": 180_00}
#: Above this a line without a receipt is asked about.
RECEIPT_CENTS: Final = 25_00
#: Up to how many cents a member of a group may approve a line.
AUTHORITY_CENTS: Final = {"manager": 500_00, "finance": 5_000_00}
#: Nobody approves a line above this after the fact: it needed a purchase order.
HIGHEST_CENTS: Final = max(AUTHORITY_CENTS.values())

expense_flow = TriggerFlow(name="demo.expense_report")


def hand_in_report(report: Mapping[str, Any], *, by: Any, key: str) -> TriggerFlowExecution:
    """Start the check of a report (number, currency, lines of kind, amount_cents, receipt, note) on behalf of who spent
    the money. ``key``: as in ``request_refund``.
    """
    return expense_flow.start_execution(dict(report), key=key, started_by=by)


@approver
def may_approve(user: Any, interrupt: Any) -> bool:
    """Whether a user's groups allow as much as the line costs. Asked when somebody decides, with their groups of that
    moment.
    """
    groups = user.groups.values_list("name", flat=True)
    return bool(interrupt.payload["amount_cents"] <= max((AUTHORITY_CENTS.get(name, 0) for name in groups), default=0))


def number_lines(data: TriggerFlowRuntimeData) -> list[dict[str, Any]]:
    """The lines, numbered from 1, each with the report's currency. The list is what the loop runs over."""
    report = data.input
    data.set_state("report", report["number"])
    return [
        {"number": number, "currency": report["currency"], **line} for number, line in enumerate(report["lines"], 1)
    ]


def check_line(data: TriggerFlowRuntimeData) -> object:
    """Pass a line, refuse it, or ask. Returns its number, the verdict and the cents to pay."""
    line: dict[str, Any] = data.input
    if data.is_resume:
        return _decided(line, data.resume.value)
    cents = line["amount_cents"]
    if cents > HIGHEST_CENTS:
        return _verdict(line, "over_limit", 0)
    doubts = _doubts(line)
    if not doubts:
        return _verdict(line, "passed", cents)
    return data.pause_for(
        type="expense_line",
        interrupt_id=f"line-{line['number']}",
        payload={
            "question": f"Pay {money.shown(cents, line['currency'])} for {line['kind']}?",
            "note": line["note"],
            "doubts": doubts,
            "amount_cents": cents,
        },
        resume_to="self",
        approvers=may_approve,
        exclude_starter=True,
        response_schema={
            "type": "object",
            "properties": {"pay_cents": {"type": "integer", "minimum": 0, "maximum": cents}},
            "required": ["pay_cents"],
            "additionalProperties": False,
        },
        due_in=dt.timedelta(days=7),
    )


def _doubts(line: Mapping[str, Any]) -> list[str]:
    """Why somebody should look at a line; nothing for one that keeps to the rules."""
    doubts = []
    if line["kind"] not in PASSES_CENTS:
        doubts.append("no limit is set for this kind")
    elif line["amount_cents"] > PASSES_CENTS[line["kind"]]:
        doubts.append(f"above {money.shown(PASSES_CENTS[line['kind']], line['currency'])}")
    if line["amount_cents"] > RECEIPT_CENTS and not line["receipt"]:
        doubts.append("no receipt")
    return doubts


def _decided(line: Mapping[str, Any], answer: Mapping[str, int]) -> dict[str, Any]:
    paid = answer["pay_cents"]
    verdict = "approved" if paid == line["amount_cents"] else "cut" if paid else "rejected"
    return _verdict(line, verdict, paid)


def _verdict(line: Mapping[str, Any], verdict: str, cents: int) -> dict[str, Any]:
    return {"line": line["number"], "verdict": verdict, "pay_cents": cents}


def settle(data: TriggerFlowRuntimeData) -> None:
    """All lines have a verdict: ``data.input`` lists them in the report's order, whatever order they came in."""
    verdicts: list[dict[str, Any]] = data.input
    data.set_state("lines", [f"{verdict['verdict']} {verdict['pay_cents']}" for verdict in verdicts])
    data.set_state("pay_cents", sum(verdict["pay_cents"] for verdict in verdicts))


expense_flow.to(number_lines).for_each().to(check_line).end_for_each().to(settle)
