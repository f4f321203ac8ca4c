"""``triggerflow_show``: where an execution stands, why, and the command that moves it on; in 80 columns or as JSON."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, User

from tests.management.conftest import refund_flow
from tests.management.shell import run
from triggerflow_django import TriggerFlow, TriggerFlowExecution
from triggerflow_django.definition import registry
from triggerflow_django.engine import claim
from triggerflow_django.models import Execution, Step
from triggerflow_django.testing import travel
from triggerflow_django.worker import presence

pytestmark = pytest.mark.django_db


def shown(target: str, *words: object) -> str:
    """The text in one line, its command lines put together; checked to be readable at a terminal."""
    ran = run("show", target, *words)
    assert ran.code == 0, ran.error
    for line in ran.out.splitlines():
        assert len(line) <= 80, line
        assert line.isprintable(), line
    return " ".join(ran.out.replace("\\\n", " ").split())


def document(target: str, *words: object) -> dict[str, Any]:
    found: dict[str, Any] = run("show", target, *words, "--format", "json").document
    return found


def started(*words: str) -> str:
    ran = run("start", "refund", "--reason", "x", "--format", "json", *words)
    return str(ran.document["execution"]["id"])


# -- what would move it ------------------------------------------------------------------------------------------------


def test_a_decision(register: Callable[[TriggerFlow], TriggerFlow]) -> None:
    User.objects.create_user("cleo").groups.add(Group.objects.create(name="finance"))
    flow = register(refund_flow(approvers="group:finance", exclude_starter=True, due_in=7200, on_due="fail"))
    execution = flow.start_execution(1, auto_close=False)
    told = shown(execution.id)
    assert "* a decision: approval gate, asked by ask 0s ago" in told
    assert "May decide: the group finance; not who started it." in told
    assert re.search(r"Due in 2h \(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\), then the step fails\.", told)
    assert '{"question":"Refund 120?"}' in told
    assert f"manage.py triggerflow_resume {execution.id} gate --round 1 --user NAME --answer FILE" in told
    with travel(hours=3):
        assert "OVERDUE." in shown(execution.id)


def test_the_command_line_it_shows_works(waiting: TriggerFlowExecution, user: Callable[..., User]) -> None:
    user("ann", "resume_interrupt")
    [line] = re.findall(r"manage\.py triggerflow_(\w+ [^*]*?FILE)", shown(waiting.id))
    name, *words = line.replace("NAME", "ann").replace("FILE", "-").split()
    assert run(name, *words, stdin=b"true").code == 0


def test_an_id_that_a_shell_would_read_is_quoted(register: Callable[[TriggerFlow], TriggerFlow]) -> None:
    flow = register(refund_flow(interrupt_id="gate; rm -rf $HOME"))
    assert " 'gate; rm -rf $HOME' --round 1" in shown(flow.start_execution(1, auto_close=False).id)


def test_a_failed_step_with_its_error(failed: TriggerFlowExecution) -> None:
    step = Step.objects.get(status="failed")
    told = shown(failed.id)
    assert f"* a retry: step {step.pk} (fragile) failed 0s ago after 1 attempt LookupError: no such order" in told
    assert f"manage.py triggerflow_retry {failed.id} --step {step.pk} --reason TEXT" in told
    assert "a decision: approval gate" in told


@pytest.mark.parametrize(
    ("workers", "words"),
    [
        (2, "2 workers of that queue"),
        (0, "No worker listens to that queue. Start one: manage.py triggerflow_worker triggerflow"),
        (None, "Whether workers listen is unknown"),
    ],
)
def test_a_ready_step_and_its_workers(
    flow: TriggerFlow, monkeypatch: pytest.MonkeyPatch, workers: int | None, words: str
) -> None:
    monkeypatch.setattr(presence, "listening", lambda _queue: workers)
    execution = started("--runner", "rq")
    told = shown(execution)
    assert "* a worker: step" in told
    assert "(ask) has been ready for 0s, queue triggerflow" in told
    assert words in told
    assert document(execution)["waits_for"][0]["workers"] == workers


def test_a_ready_step_of_an_inline_execution(flow: TriggerFlow) -> None:
    execution = started("--runner", "inline")
    told = shown(execution)
    assert "(ask) has been ready for 0s It runs inline" in told
    assert f"manage.py triggerflow_handover {execution} --reason TEXT" in told


def test_a_running_step_and_its_lease(flow: TriggerFlow) -> None:
    execution = started("--runner", "inline")
    claim.claim(
        claim.ready("default"),
        token=uuid.uuid4(),
        limit=1,
        graph_of=lambda _step: flow.graph,
        grace=600,
        using="default",
    )
    told = shown(execution)
    assert "* a process that runs step" in told
    assert "Leased until" in told
    with travel(minutes=5):
        told = shown(execution)
        assert "attempt 1, for 5m" in told
        assert "no sign of life: its lease ended 4m ago" in told
        assert "manage.py triggerflow_tick" in told


def test_a_step_that_is_tried_again_later(register: Callable[[TriggerFlow], TriggerFlow]) -> None:
    def pay(data: Any) -> None:
        raise LookupError("the bank does not answer")

    flow = register(TriggerFlow(name="refund"))
    flow.to(flow.chunk("pay", retries=1, backoff=7200)(pay))
    from triggerflow_django.testing import run_until_idle

    execution = started()
    run_until_idle(execution)
    told = shown(execution)
    assert re.search(r"\* its time: step \d+ \(pay\) is tried again in (\d\dm|1h)", told)
    assert "Attempt 1: LookupError: the bank does not answer" in told


def test_code_that_is_not_there(flow: TriggerFlow) -> None:
    execution = started("--runner", "inline")
    registry.unregister("refund")
    other = TriggerFlow(name="refund")
    other.to(("something", lambda data: None))
    registry.register(other)
    assert "The code here has no 'ask' in this flow." in shown(execution)
    claim.claim(
        claim.ready("default"), token=uuid.uuid4(), limit=1, graph_of=lambda _: None, grace=600, using="default"
    )
    told = shown(execution)
    assert "* code: a worker has no 'ask'" in told
    assert "the step fails by name in 10m" in told


def test_a_flow_this_process_does_not_know(waiting: TriggerFlowExecution) -> None:
    registry.unregister("refund")
    told = shown(waiting.id)
    assert "This process does not know the flow 'refund'" in told
    assert "The code here has no" not in told
    assert "a decision: approval gate" in told
    assert document(waiting.id)["flow_known_here"] is False


def test_a_limit(register: Callable[[TriggerFlow], TriggerFlow]) -> None:
    flow = register(TriggerFlow(name="refund"))
    flow.batch(("one", lambda data: 1), ("two", lambda data: 2), concurrency=1).to(("after", lambda data: None))
    told = shown(started())
    assert "(two) is held back by" in told
    assert "1 of 1 places are taken" in told


def test_values_that_lack(register: Callable[[TriggerFlow], TriggerFlow]) -> None:
    flow = register(TriggerFlow(name="refund"))
    flow.to(("noop", lambda data: None))
    flow.when(["paid", "approved"]).to(("ship", lambda data: None))
    execution = flow.start_execution(1, auto_close=False)
    execution.emit("paid")
    told = shown(execution.id)
    assert "has 1 of 2; missing: event:approved" in told
    assert "Its flow listens to: approved, paid." in told


def test_a_close_that_waits(flow: TriggerFlow) -> None:
    execution = started("--runner", "inline")
    run("close", execution, "--reason", "enough")
    told = shown(execution)
    assert "* its work: it closes (enough) as soon as no step is active To cancel what does not end:" in told
    run("close", execution, "--reason", "enough", "--timeout", "600")
    assert "What is left in 10m" in shown(execution)


def test_a_seal(waiting: TriggerFlowExecution) -> None:
    waiting.seal()
    told = shown(waiting.id)
    assert "waiting (sealed)" in told
    assert "refuses answers and events" in told
    assert f"triggerflow_seal {waiting.id} --undo" in told


def test_the_clock_and_a_sweep_that_does_not_come(flow: TriggerFlow) -> None:
    execution = flow.start_execution(1, auto_close_timeout=60)
    execution.continue_with("gate", True)
    assert "closes by itself in 1m" in shown(execution.id)
    with travel(minutes=5):
        assert "That is overdue: no worker sweeps here. Sweep once: manage.py triggerflow_tick" in shown(execution.id)


def test_a_closed_one_tells_its_end_and_what_failed(failed: TriggerFlowExecution) -> None:
    failed.close(reason="end of day", pending_interrupts="cancel")
    told = shown(failed.id)
    assert "reason end of day" in told
    assert "Closed for good. What failed:" in told
    assert "LookupError: no such order" in told
    assert "triggerflow_retry" not in told
    found = document(failed.id)
    assert found["waits_for"] == []
    assert [failure["error"]["type"] for failure in found["failures"]] == ["LookupError"]


# -- the rest ----------------------------------------------------------------------------------------------------------


def test_history_says_who_did_what_and_why(waiting: TriggerFlowExecution) -> None:
    run("emit", waiting.id, "paid", "--reason", "bank statement 7")
    waiting.wait()
    waiting.continue_with("gate", True, actor="batch job", comment="below the limit")
    told = shown(waiting.id)
    history = told.split("History:")[1]
    assert re.search(r"1 \S+ \S+ UTC started 2 ", history)
    assert re.search(r"emitted paid by cmd:\S+@\S+: bank statement 7", history)
    assert "interrupt decided gate by batch job: below the limit" in history
    events = document(waiting.id, "--history", 2)["history"]
    assert [event["sequence"] for event in events] == [2, 3]
    assert "History:" not in shown(waiting.id, "--history", 0)


def test_values_are_shown_only_when_asked_for(waiting: TriggerFlowExecution) -> None:
    waiting.set_state("iban", "DE02 1203 0000 0000 2020 51")
    assert "DE02" not in run("show", waiting.id).out
    assert "DE02" not in run("show", waiting.id, "--format", "json").out
    found = document(waiting.id, "--values")
    assert (found["input"], found["state"], found["snapshot"]) == (
        {"amount": 120},
        {"iban": "DE02 1203 0000 0000 2020 51"},
        None,
    )
    assert 'State: {"iban":"DE02 1203 0000 0000 2020 51"}' in shown(waiting.id, "--values")


def test_what_others_wrote_cannot_steer_the_terminal(register: Callable[[TriggerFlow], TriggerFlow]) -> None:
    hostile = "\x1b[2J\x1b]0;owned\x07\u202e"
    flow = register(refund_flow(type=hostile, payload={"q": hostile + "x" * 3000}))
    execution = flow.start_execution(1, auto_close=False, key=hostile, started_by=hostile)
    with pytest.raises(LookupError):
        execution.emit("break", hostile)
    execution.emit(hostile)
    for words in ([], ["--values"]):
        assert "\\x1b[2J" in shown(execution.id, *words)
    assert run("show", execution.id, "--format", "json").out.isascii()


def test_more_than_fits_is_counted(flow: TriggerFlow, register: Callable[[TriggerFlow], TriggerFlow]) -> None:
    flow.when("again").to(("again", lambda data: data.pause_for()))
    execution = flow.start_execution(1, auto_close=False)
    for _ in range(4):
        execution.emit("again")
    assert "and 3 more (--limit N shows more" in shown(execution.id, "--limit", 2)
    assert document(execution.id, "--limit", 2)["left_off"] == 3
    assert document(execution.id)["left_off"] == 0


@pytest.mark.parametrize("words", [["--limit", "0"], ["--history", "-1"]])
def test_numbers_that_make_no_sense_are_refused(waiting: TriggerFlowExecution, words: list[str]) -> None:
    assert run("show", waiting.id, *words).code == 2


def test_the_subject_is_told(flow: TriggerFlow) -> None:
    group = Group.objects.create(name="subject")
    execution = flow.start_execution(1, auto_close=False, subject=group)
    assert f"subject auth.group:{group.pk}" in shown(execution.id)
    Execution.objects.update(subject_type=None)  # its app is gone
    assert f"subject {group.pk}" in shown(execution.id)


def test_it_changes_nothing(failed: TriggerFlowExecution) -> None:
    before = list(Execution.objects.values()), list(Step.objects.order_by("pk").values())
    shown(failed.id, "--values")
    assert before == (list(Execution.objects.values()), list(Step.objects.order_by("pk").values()))


@pytest.mark.parametrize("use_tz", [True, False])
def test_times_are_in_the_projects_time_zone(waiting: TriggerFlowExecution, settings: Any, use_tz: bool) -> None:
    settings.USE_TZ = use_tz
    settings.TIME_ZONE = "Asia/Tokyo"
    # With USE_TZ=False the rows of this database read as naive times; either way nothing is mixed.
    if use_tz:
        assert "JST" in shown(waiting.id)
    else:
        assert "JST" not in shown(waiting.id)
