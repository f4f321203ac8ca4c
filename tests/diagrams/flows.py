"""Flows to draw: with loops, with sixty nodes, with many branches; and names nobody should have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from triggerflow_django.definition.flow import FlowDefinition

HOSTILE: Final = [
    '"]; click n0 "javascript:alert(1)" "x',
    "end",
    "END",
    "subgraph",
    "a\nclick n0 callback",
    "a\r\n%%{init: {'securityLevel':'loose'}}%%",
    '%%{init: {"theme":"x"}}%%',
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</text></svg><script>alert(1)</script>",
    "]]></title><script/>",
    "&lt;b&gt; &amp; &#60;script&#62;",
    "#quot;#35;#lt;script#gt;",
    "style a:b#c;d",
    "a --> b",
    "a|b|c",
    "`**bold**`",
    "$$x^2$$",
    "fa:fa-ban",
    "@{ shape: rect }",
    "a:::class",
    "'single' \"double\" `back`",
    "{{}} [[]] (()) [/\\]",
    "\\\" \\n \\u0022",
    "---\ntitle: x\n---",
    "\u202eright to left\u202c",
    "\u2066isolate",
    "a\u2028b\u2029c\x0bd\x0ce\x85f",
    "\x01\x02\x1b[31m",
    "\ufffe\uffff\ufdd0",
    "Z" + "\u0301" * 100,
    "审批流程 проверка שלום",
    "\U0001f600 \U000e0041",
    "x" * 190,
    " ",
    "-",
    "o",
    "x",
    "default",
]  # fmt: skip


def chunk(name: str) -> Callable[[Any], Any]:
    """A function of that name."""

    def function(data: Any) -> Any:
        return data.input

    function.__name__ = name
    return function


def loops() -> FlowDefinition:
    """Ways back, also out of fan-outs and into them, and chains that begin inside of one."""
    flow = FlowDefinition("loops")
    chain = flow.to(chunk("draft")).to(chunk("review")).match(mode="hit_all").case("a").to(chunk("a1"))
    chain = chain.case(chunk("is_b")).to(chunk("b1")).to(chunk("b2")).case_else().to("draft").end_match()
    chain = chain.for_each(concurrency=4).to(chunk("translate"))
    chain = chain.batch(("spell", chunk("x")), ("grammar", chunk("x")), concurrency=2).side_branch(chunk("note"))
    chain.end_for_each().to(chunk("publish")).to("draft")
    flow.when("publish").to("spell")
    flow.when("spell").to(chunk("after spelling")).collect("c", "x")
    flow.when(["Paid", "spell", "draft"]).to(chunk("go")).collect("c", "y").to("review")
    flow.when({"runtime_data": "user.name"}).to(chunk("renamed"))
    flow.when("Pinged").if_condition("again").to(chunk("pong")).to(chunk("ping")).to("pong").end_condition()
    return flow


def sixty() -> FlowDefinition:
    """An application as large as they get."""
    flow = FlowDefinition("sixty")
    chain: Any = flow.to(chunk("intake")).to(chunk("validate_customer_data_against_registry"))
    chain = chain.batch(*[chunk(f"check_source_{number}") for number in range(8)], concurrency=3)
    chain = chain.to(chunk("score")).match()
    for number in range(6):
        chain = chain.case(number).to(chunk(f"level_{number}_prepare")).to(chunk(f"level_{number}_assign"))
    chain = chain.case_else().to(chunk("manual_triage")).end_match()
    chain = chain.for_each(4).to(chunk("load_document")).if_condition(chunk("is_scanned")).to(chunk("ocr"))
    chain = chain.elif_condition(chunk("is_mail")).to(chunk("strip_headers")).end_condition()
    chain = chain.for_each().to(chunk("page_to_text")).end_for_each()
    chain = chain.batch(chunk("summarise"), chunk("classify"), chunk("redact")).end_for_each()
    chain = chain.to(chunk("merge_documents")).side_branch(chunk("notify_owner")).to(chunk("ask_reviewer"))
    chain = chain.if_condition(chunk("approved")).to(chunk("sign")).to(chunk("archive"))
    chain = chain.else_condition().to(chunk("explain")).to("ask_reviewer").end_condition()
    chain.to(chunk("bill")).to(chunk("mail_invoice")).to(chunk("wait_for_payment"))
    flow.when(["PaymentArrived", "Approved"]).to(chunk("book_payment")).to(chunk("close_case"))
    flow.when("Cancelled").to(chunk("refund")).to(chunk("tell_customer"))
    flow.when("Reminder").to(chunk("remind")).to(chunk("escalate")).to(chunk("call_customer"))
    return flow


def wide() -> FlowDefinition:
    """Thirty branches."""
    flow = FlowDefinition("wide")
    flow.to(chunk("a")).batch(*[chunk(f"source {number}") for number in range(30)]).to(chunk("z"))
    return flow
