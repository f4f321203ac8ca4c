"""Take one case through its flow, as the people in it would, and say where it did not go as the case expects.

It uses what any caller has: the start function of the flow, the handle, the models to read. It waits, rather than
expecting a call to have run anything, so that it makes no difference whether the steps run here or on workers. How it
waits is up to the caller: ``walking`` stops where the execution has to settle first, so that many walks can wait
together (``together.py``).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from project.demo.case import Act, Case
from project.demo.flows.expenses import hand_in_report
from project.demo.flows.publication import submit_article
from project.demo.flows.refund import request_refund
from project.demo.flows.review import submit_document
from project.demo.flows.signoff import propose_contract
from project.demo.models import Article, Refund
from triggerflow_django import TriggerFlow, TriggerFlowError, TriggerFlowExecution
from triggerflow_django.models import Execution, Step, StepStatus

#: How the executions of each flow are started.
STARTS: Final[Mapping[str, Callable[..., TriggerFlowExecution]]] = {
    "demo.contract_sign_off": propose_contract,
    "demo.document_review": submit_document,
    "demo.expense_report": hand_in_report,
    "demo.publication": submit_article,
    "demo.refund": request_refund,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Walked:
    """How a case went."""

    case: Case
    execution_id: str
    status: str
    snapshot: Any
    #: Type and message of the error of the step that failed; empty: none did.
    failure: str
    #: What was not as the case expects, each with expected and actual; empty: it went as expected.
    problems: tuple[str, ...]


def walk(case: Case, *, users: Mapping[str, Any], run: str, timeout: float = 60.0) -> Walked:
    """Start the case's flow, let its people act, close the execution and compare.

    ``users``: by role, as ``roles.load`` gives them. ``run``: told apart from other walks of the same case on the same
    database, since a key starts one execution only. ``timeout``: seconds that workers may need for one thing.

    Raises: WaitTimeoutError; errors that are no chunk's.
    """
    walk = walking(case, users=users, run=run)
    while True:
        try:
            execution = next(walk)
        except StopIteration as ended:
            walked: Walked = ended.value
            return walked
        execution.wait(timeout)


def walking(case: Case, *, users: Mapping[str, Any], run: str) -> Generator[TriggerFlowExecution, None, Walked]:
    """``walk`` for who waits otherwise: yields the execution each time it has to settle before the next act.

    Raises: errors that are no chunk's.
    """
    execution, problems = yield from acting(case, case.acts, users=users, run=run)
    if pending := sorted(execution.get_pending_interrupts()):
        problems.append(f"it still waits for an answer to {', '.join(pending)}")
    else:
        execution.close(reason="the demo's case is over")
    status, snapshot, failure = execution.get_status(), execution.get_snapshot(), _failure(execution.pk)
    problems += _difference("status", case.status, status)
    problems += _difference("failure", case.failure, failure)
    problems += _difference("snapshot", case.snapshot, snapshot)
    problems += _difference("rows", case.rows, rows_of(execution.pk))
    return Walked(
        case=case,
        execution_id=execution.id,
        status=status,
        snapshot=snapshot,
        failure=failure,
        problems=tuple(problems),
    )


def acting(
    case: Case, acts: Sequence[Act], *, users: Mapping[str, Any], run: str
) -> Generator[TriggerFlowExecution, None, tuple[TriggerFlowExecution, list[str]]]:
    """Start the case's flow and let its people do these of the acts, in their order. Yields as ``walking`` does; gives
    the execution, settled, and what was not as the acts expect.
    """
    key = key_of(case, run)
    problems: list[str] = []
    execution = _start(case, users[case.by], key=key)
    if case.twice:
        again = STARTS[case.flow](case.input, by=users[case.by], key=key)
        problems += _difference("started again", execution.id, again.id)
    yield execution
    for act in acts:
        problems += _perform(execution, act, users[act.by], run=run)
        yield execution
    return execution, problems


def key_of(case: Case, run: str) -> str:
    """The key under which one run starts a case's execution."""
    return f"{case.path}#{run}"


def rows_of(execution_id: uuid.UUID) -> dict[str, Any]:
    """What an execution left in the demo's own tables: the refunds it booked, the status of the article it is about."""
    found: dict[str, Any] = {}
    refunds = Refund.objects.filter(execution_id=execution_id).order_by("pk")
    if refunds:
        found["refunds"] = list(refunds.values("order", "amount_cents", "currency"))
    subject = Execution.objects.get(pk=execution_id).subject
    if isinstance(subject, Article):
        found["article"] = {"title": subject.title, "status": subject.status}
    return found


def _start(case: Case, user: Any, *, key: str) -> TriggerFlowExecution:
    try:
        return STARTS[case.flow](case.input, by=user, key=key)
    except Exception:
        # Where the steps run in this process, the error of a chunk comes out here; on a worker it would not.
        row = Execution.objects.filter(flow_name=case.flow, key=key).first()
        if row is None or not _failure(row.pk):
            raise
        return TriggerFlow.attach(row.pk)


def _perform(execution: TriggerFlowExecution, act: Act, user: Any, *, run: str) -> list[str]:
    """Act, and say what was wrong about the result."""
    before = execution.get_pending_interrupts()
    refused = reason = ""
    problems: list[str] = []
    try:
        record = _act(execution, act, user, run=run)
    except TriggerFlowError as error:
        record, refused, reason = None, error.code, f" ({error})"
    except Exception:
        if not _failure(execution.pk):  # no chunk's error either
            raise
        record = None
    told = f"{act.by}: {act.kind} {act.target}"
    if refused != act.refused:
        problems.append(f"{told}: expected {act.refused or 'to be accepted'}, got {refused or 'accepted'}{reason}")
    elif refused:
        problems += _difference(
            f"{told}: waiting afterwards", sorted(before), sorted(execution.get_pending_interrupts())
        )
    elif record is not None:
        problems += _difference(f"{told}: decided by", act.by, record["resumed_by"])
    return problems


def _act(execution: TriggerFlowExecution, act: Act, user: Any, *, run: str) -> dict[str, Any] | None:
    if act.kind == "emit":
        execution.emit(act.target, act.value, actor=user)
        return None
    if act.kind == "cancel":
        execution.cancel(reason=act.target, actor=user)
        return None
    request = None if act.request is None else f"{act.request}#{run}"
    record: dict[str, Any] = execution.continue_with(
        act.target, act.value, actor=user, comment=act.comment, resume_request_id=request
    )
    return record


def _failure(execution_id: uuid.UUID) -> str:
    """The error of an execution's first failed step, as ``Walked.failure``."""
    step = Step.objects.filter(execution_id=execution_id, status=StepStatus.FAILED).order_by("pk").first()
    if step is None:
        return ""
    return f"{step.error['type'].rpartition('.')[2]}: {step.error['message']}"


def _difference(what: str, expected: Any, actual: Any) -> list[str]:
    one, other = compact(expected), compact(actual)  # as JSON: True is not 1
    return [] if one == other else [f"{what}: expected {one}, got {other}"]


def compact(value: Any) -> str:
    """JSON on one line, keys sorted: the databases keep them in different orders."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
