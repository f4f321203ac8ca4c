"""The document on pausing and resuming, sentence by sentence: its examples run, and what it says holds.

The examples that are programs of their own lie in ``seed/`` and run as such: a plain script with ``django.setup()``.
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.handles import loops
from triggerflow_django import TriggerFlow, TriggerFlowExecution, TriggerFlowRuntimeData
from triggerflow_django.models import Execution, Interrupt, InterruptStatus
from triggerflow_django.testing import run_until_idle, travel

pytestmark = pytest.mark.django_db(transaction=True)

ROOT: Final = Path(__file__).resolve().parents[2]
EXAMPLES: Final = Path(__file__).parent / "seed"


# -- the examples ------------------------------------------------------------------------------------------------------


def test_the_complete_example_runs_as_a_script(database_url: str) -> None:
    assert run_script("approval.py", database_url) == "{'approved': True}\n"


def test_the_complete_example_runs_where_django_is_set_up_already(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "approval.py"), run_name="__main__")
    loops.run(loops.in_database_thread(lambda: None))
    assert capsys.readouterr().out == "{'approved': True}\n"
    row = Execution.objects.get(flow_name="approval")
    assert (row.status, row.snapshot) == ("completed", {"decision": {"approved": True}})


@loops.in_a_loop
async def test_the_gate_that_resumes_itself() -> None:
    flow = TriggerFlow(name="gate")

    async def gate(data: TriggerFlowRuntimeData) -> Any:
        if data.is_resume:
            return {"decision": data.resume.value}
        return await data.async_pause_for(
            type="approval",
            payload={"question": "批准?"},
            resume_to="self",
        )

    flow.to(gate).to(keep)
    execution = flow.create_execution(auto_close=False)
    await execution.async_start("T-001")
    await execution.async_continue_with(only(execution), {"approved": True})
    assert await execution.async_close() == {"kept": [{"decision": {"approved": True}}]}


def test_a_pause_survives_the_restart_of_the_process(database_url: str, tmp_path: Path) -> None:
    saved = str(tmp_path / "saved.json")
    assert run_script("before_restart.py", database_url, saved) == ""
    assert run_script("after_restart.py", database_url, saved) == "{'approved': True}\n"
    # The row is the truth: what the second process loaded and closed is the execution of the first.
    row = Execution.objects.get(flow_name="topic")
    assert (row.lifecycle, row.snapshot) == ("closed", {"decision": "{'approved': True}"})


# -- "Suspend with pause_for" ------------------------------------------------------------------------------------------


@loops.in_a_loop
async def test_pause_for_leaves_the_execution_alive_and_idle() -> None:
    execution = await asking(type="human_input", payload={"question": "approve T-001?"}, resume_to="next")
    assert await execution.async_get_status() == "waiting"
    assert await execution.async_get_lifecycle_state() == "open"
    assert (await loops.in_database_thread(execution.row)).active_steps == 0


@loops.in_a_loop
async def test_type_and_payload_are_there_for_whoever_answers() -> None:
    execution = await asking(type="human_input", payload={"question": "approve T-001?"})
    [record] = execution.get_pending_interrupts().values()
    assert record["type"] == "human_input"
    assert record["payload"] == {"question": "approve T-001?"}


@loops.in_a_loop
async def test_resume_event_alone_is_short_for_resuming_to_that_event() -> None:
    execution = await asking(resume_event="ApprovalGiven")
    [record] = execution.get_pending_interrupts().values()
    assert record["resume_to"] == {"event": "ApprovalGiven"}


@loops.in_a_loop
async def test_resume_to_wins_over_resume_event() -> None:
    execution = await asking(resume_to="next", resume_event="ApprovalGiven")
    await execution.async_continue_with(only(execution), "yes")
    assert await execution.async_close() == {"kept": ["yes"]}


@loops.in_a_loop
async def test_an_id_is_made_unless_one_is_given() -> None:
    assert only(await asking(interrupt_id="my-id")) == "my-id"
    assert only(await asking()) != only(await asking())


# -- "Resume with continue_with" ---------------------------------------------------------------------------------------


@loops.in_a_loop
async def test_to_next_the_answer_becomes_the_output_of_the_paused_chunk() -> None:
    execution = await asking(resume_to="next")
    await execution.async_continue_with(only(execution), {"approved": True})
    assert await execution.async_close() == {"kept": [{"approved": True}]}


@loops.in_a_loop
async def test_next_is_where_an_answer_goes_unless_said_otherwise() -> None:
    execution = await asking()
    await execution.async_continue_with(only(execution), 1)
    assert await execution.async_close() == {"kept": [1]}


@loops.in_a_loop
async def test_to_self_the_same_chunk_runs_again_with_the_answer_and_its_own_input() -> None:
    flow, seen = TriggerFlow(name="self"), []

    async def gate(data: TriggerFlowRuntimeData) -> Any:
        seen.append((data.input, data.is_resume, data.resume.value))
        return None if data.is_resume else await data.async_pause_for(resume_to="self")

    flow.to(gate)
    execution = await started(flow, "draft")
    await execution.async_continue_with(only(execution), {"approved": False})
    assert seen == [("draft", False, None), ("draft", True, {"approved": False})]


@pytest.mark.parametrize("target", [{"resume_to": {"event": "ApprovalGiven"}}, {"resume_event": "ApprovalGiven"}])
@loops.in_a_loop
async def test_to_an_event_the_answer_is_emitted_as_that_event(target: dict[str, Any]) -> None:
    execution = await asking(**target)
    await execution.async_continue_with(only(execution), {"approved": True})
    assert await execution.async_close() == {"given": [{"approved": True}]}


@pytest.mark.parametrize("target", [{"resume_to": {"event": "ApprovalGiven"}}, {"resume_event": "ApprovalGiven"}])
@loops.in_a_loop
async def test_a_matching_emit_answers_too(target: dict[str, Any]) -> None:
    execution = await asking(**target)
    await execution.async_emit("ApprovalGiven", {"approved": True})
    assert execution.get_pending_interrupts() == {}
    assert await execution.async_close() == {"given": [{"approved": True}]}


@loops.in_a_loop
async def test_a_page_or_a_webhook_may_answer_later_with_a_handle_of_its_own() -> None:
    execution = await asking()
    later = await execution.flow.async_get_execution(execution.id)
    await later.async_continue_with(only(later), "from a webhook")
    assert await execution.async_close() == {"kept": ["from a webhook"]}


def test_flow_start_raises_where_it_meets_pause_for_and_leaves_nothing_to_answer() -> None:
    flow = TriggerFlow(name="approval")
    flow.to(lambda data: data.pause_for(type="approval"))
    with pytest.raises(RuntimeError, match=r"create_execution.*start_execution"):
        flow.start("T-001")
    assert Execution.objects.get().is_closed
    assert not Interrupt.objects.filter(status=InterruptStatus.WAITING).exists()
    assert flow.start_execution("T-001", auto_close=False).is_waiting()


@pytest.mark.parametrize(("document", "questions"), [("short and clear", 0), ("short but unclear", 1)])
@loops.in_a_loop
async def test_a_gate_may_decide_by_itself_whether_to_ask(document: str, questions: int) -> None:
    flow = TriggerFlow(name="document review")

    async def gate(data: TriggerFlowRuntimeData) -> Any:
        if data.is_resume:
            return data.resume.value
        if data.require_resource("model")(data.input):
            return "approved by the model"
        return await data.async_pause_for(type="review", resume_to="self")

    flow.to(gate).to(keep)
    execution = flow.create_execution(auto_close=False, runtime_resources={"model": lambda text: "unclear" not in text})
    await execution.async_start(document)
    assert len(execution.get_pending_interrupts()) == questions
    for interrupt_id in execution.get_pending_interrupts():
        await execution.async_continue_with(interrupt_id, "approved by a person")
    expected = "approved by a person" if questions else "approved by the model"
    assert await execution.async_close() == {"kept": [expected]}


# -- "A pause across a restart" ----------------------------------------------------------------------------------------


@loops.in_a_loop
async def test_the_interrupt_is_part_of_what_is_saved() -> None:
    execution = await asking(type="approval", interrupt_id="q")
    saved = await execution.async_save()
    assert saved["status"] == "waiting"
    assert saved["interrupts"]["q"]["type"] == "approval"


# -- "Several pauses at a time" ----------------------------------------------------------------------------------------


@loops.in_a_loop
async def test_parallel_branches_wait_for_a_person_each_and_are_answered_one_at_a_time() -> None:
    execution = await started(asking_twice(), "T-001")
    assert set(execution.get_pending_interrupts()) == {"legal", "finance"}
    await execution.async_continue_with("finance", "yes")
    assert set(execution.get_pending_interrupts()) == {"legal"}
    assert await execution.async_get_state() == {"kept": ["yes"]}
    await execution.async_continue_with("legal", "no")
    assert await execution.async_close() == {"kept": ["yes", "no"]}


# -- "Pause or emit" ---------------------------------------------------------------------------------------------------


@loops.in_a_loop
async def test_with_emit_and_when_another_handler_runs_and_the_chunk_need_not_wait() -> None:
    flow = TriggerFlow(name="side effect")

    async def work(data: TriggerFlowRuntimeData) -> None:
        await data.async_emit("Done", data.input)
        await data.async_append_state("order", "the chunk went on")

    async def handle(data: TriggerFlowRuntimeData) -> None:
        await data.async_append_state("order", f"handled {data.input}")

    flow.to(work)
    flow.when("Done").to(handle)
    execution = await started(flow, "T-001")
    assert await execution.async_close() == {"order": ["the chunk went on", "handled T-001"]}


# -- "With auto_close" -------------------------------------------------------------------------------------------------


def test_auto_close_stands_still_while_anything_is_pending_and_starts_from_zero_after_the_last_answer() -> None:
    execution = asking_twice().start_execution("T-001", auto_close_timeout=1000)
    with travel(days=30):
        run_until_idle(execution)
        assert execution.is_waiting()
        execution.continue_with("legal", "yes")
        with travel(days=30):
            run_until_idle(execution)
            assert execution.is_waiting()
            execution.continue_with("finance", "yes")
            with travel(seconds=900):
                run_until_idle(execution)
                assert execution.is_open()
            with travel(seconds=1100):
                run_until_idle(execution)
                assert execution.get_snapshot() == {"kept": ["yes", "yes"]}


def test_without_a_timeout_it_never_closes_by_itself() -> None:
    execution = asking_twice().start_execution("T-001", auto_close_timeout=None)
    for name in ("legal", "finance"):
        execution.continue_with(name, "yes")
    with travel(days=3650):
        run_until_idle(execution)
        assert execution.is_open()
    assert execution.close() == {"kept": ["yes", "yes"]}


@loops.in_a_loop
async def test_close_refuses_while_an_interrupt_is_pending_and_the_execution_stays_usable() -> None:
    execution = await asking()
    with pytest.raises(RuntimeError, match="1 waiting interrupt"):
        await execution.async_close()
    assert await execution.async_get_lifecycle_state() == "open"
    await execution.async_continue_with(only(execution), "yes")
    assert await execution.async_close() == {"kept": ["yes"]}


@loops.in_a_loop
async def test_waiting_can_be_given_up_on_purpose() -> None:
    execution = await asking(interrupt_id="q")
    snapshot = await execution.async_close(pending_interrupts="cancel")
    assert snapshot == {}
    assert await execution.async_get_status() == "cancelled"
    record = await execution.async_get_interrupt("q")
    assert record is not None
    assert record["status"] == "cancelled"


# -- what the tests share ----------------------------------------------------------------------------------------------


async def keep(data: TriggerFlowRuntimeData) -> None:
    await data.async_append_state("kept", data.input)


async def asking(**arguments: Any) -> TriggerFlowExecution:
    """A started execution whose first chunk has paused so; what follows and what listens to ApprovalGiven write."""
    flow = TriggerFlow(name="approval")

    async def ask(data: TriggerFlowRuntimeData) -> Any:
        return await data.async_pause_for(**arguments)

    async def given(data: TriggerFlowRuntimeData) -> None:
        await data.async_append_state("given", data.input)

    flow.to(ask).to(keep)
    flow.when("ApprovalGiven").to(given)
    return await started(flow, "T-001")


def asking_twice() -> TriggerFlow:
    """A flow with two branches that wait for a person each."""
    flow = TriggerFlow(name="contract")

    async def legal(data: TriggerFlowRuntimeData) -> Any:
        return await data.async_pause_for(type="human_input", interrupt_id="legal")

    async def finance(data: TriggerFlowRuntimeData) -> Any:
        return await data.async_pause_for(type="human_input", interrupt_id="finance")

    flow.to(legal).to(keep, name="keep legal")
    flow.to(finance).to(keep, name="keep finance")
    return flow


async def started(flow: TriggerFlow, value: Any) -> TriggerFlowExecution:
    execution = flow.create_execution(auto_close=False)
    assert await execution.async_start(value) is execution
    return execution


def only(execution: TriggerFlowExecution) -> str:
    """As the document finds it."""
    return next(iter(execution.get_pending_interrupts()))


def run_script(name: str, database_url: str, *arguments: str) -> str:
    """What a script of its own prints, run as one that sets Django up."""
    launch = "import django, runpy, sys; django.setup(); runpy.run_path(sys.argv.pop(1), run_name='__main__')"
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "project.settings",
        "DATABASE_URL": database_url,
        "PYTHONPATH": str(ROOT),
        "PYTHONUTF8": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", launch, str(EXAMPLES / name), *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout
