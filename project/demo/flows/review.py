"""Document review: a gate that owns the decision to ask, and asks again until the text is right.

    review (asks itself round after round) -> file_document

A model reads the text. Without serious findings nobody is asked. Otherwise the gate asks an editor, who accepts the
text, rejects it, or sends a new one; the answer comes back to the same chunk (``resume_to="self"``), which reads a new
text as it read the first. How many rounds there are, who may answer and what is offered is decided here, in one place.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from project.demo.resources import Finding, Reviewer
from triggerflow_django import TriggerFlow, TriggerFlowExecution, TriggerFlowRuntimeData

#: How often the gate asks before a text has to be accepted or rejected as it is.
MAX_ROUNDS: Final = 3

_OUTCOMES: Final = {"accept": "accepted", "reject": "rejected"}

review_flow = TriggerFlow(name="demo.document_review")


def submit_document(document: Mapping[str, Any], *, by: Any, key: str) -> TriggerFlowExecution:
    """Start the review of a document (title, kind, text) on behalf of its author. ``key``: as in ``request_refund``."""
    return review_flow.start_execution(dict(document), key=key, started_by=by)


async def review(data: TriggerFlowRuntimeData) -> object:
    """The gate: runs once for the document, and again for each answer. Returns the outcome."""
    answer = data.resume.value if data.is_resume else {"action": "revise", "text": data.input["text"]}
    if answer["action"] != "revise":
        return _OUTCOMES[answer["action"]]
    reviewer: Reviewer = data.require_resource("reviewer")
    findings = await reviewer.review(answer["text"], kind=data.input["kind"])
    await data.async_set_state("text", answer["text"])
    await data.async_append_state("rounds", [finding["rule"] for finding in findings])
    if all(finding["severity"] == "minor" for finding in findings):
        return "passed"
    rounds = await data.async_get_state("rounds")
    return await _ask(data, findings, is_last=len(rounds) == MAX_ROUNDS)


async def _ask(data: TriggerFlowRuntimeData, findings: list[Finding], *, is_last: bool) -> object:
    """Ask an editor, or only the manager where something must not leave the house: such a text cannot be accepted."""
    is_blocking = any(finding["severity"] == "blocking" for finding in findings)
    actions = ["reject", *([] if is_blocking else ["accept"]), *([] if is_last else ["revise"])]
    return await data.async_pause_for(
        type="document_review",
        interrupt_id="review",
        payload={
            "question": f"What shall become of {data.input['title']!r}?",
            "text": await data.async_get_state("text"),
            "findings": findings,
        },
        resume_to="self",
        max_resumes=MAX_ROUNDS,
        approvers=["group:manager"] if is_blocking else ["group:clerk", "group:manager"],
        exclude_starter=True,
        response_schema=_answer_schema(actions),
        due_in=dt.timedelta(days=2),
    )


def _answer_schema(actions: list[str]) -> dict[str, Any]:
    """One of the actions; ``revise`` comes with a text, the others without."""
    return {
        "type": "object",
        "properties": {"action": {"enum": actions}, "text": {"type": "string", "minLength": 1}},
        "required": ["action"],
        "additionalProperties": False,
        "if": {"properties": {"action": {"const": "revise"}}},
        "then": {"required": ["text"]},
        "else": {"properties": {"text": False}},
    }


def file_document(data: TriggerFlowRuntimeData) -> None:
    """Keep the outcome beside the text."""
    data.set_state("outcome", data.input)


review_flow.to(review).to(file_document)
