"""One run of a step that stands for a sub flow: start the child, or take up what came of it.

The second run of such a step is the claim after its child has closed. Like ``program``, a generator without I/O of its
own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from triggerflow_django import conf, exceptions, jsongate
from triggerflow_django.definition import mapping
from triggerflow_django.definition.deprecated import FINAL_RESULT
from triggerflow_django.definition.routing import Signal
from triggerflow_django.definition.sub_flow import SubFlow
from triggerflow_django.engine import commit, resolve, sub_flow
from triggerflow_django.engine.calls import Call, Db
from triggerflow_django.models import Execution, ExecutionStatus, Step, StepStatus
from triggerflow_django.runtime import state as state_ops
from triggerflow_django.runtime.state import StateChange

if TYPE_CHECKING:
    from triggerflow_django.engine.work import Work


def run(work: Work) -> Generator[Db | Call, Any, commit.Committed]:
    """Run the step to its commit.

    Raises: SubFlowFailedError; MappingPathError (a KeyError); ContractError; JsonValueError.
    """
    node = work.graph.nodes[work.step.node].sub_flow
    assert node is not None  # noqa: S101 - such steps are not claimed where the code lacks the sub flow
    step, using = work.step, work.context.using
    child: Execution | None = yield Db(lambda: sub_flow.child_of(step, using=using))
    if child is None or not child.is_closed:
        captured = yield Db(lambda: capture(work, node))
        committed: commit.Committed = yield Db(
            lambda: work.settle(
                lambda: sub_flow.delegate(step, node, captured, graph=work.graph, tokens=work.tokens, using=using)
            )
        )
        return committed
    ended = child
    if ended.status == ExecutionStatus.CANCELLED:
        committed = yield Db(
            lambda: work.settle(
                lambda: sub_flow.end_cancelled(step, ended, graph=work.graph, tokens=work.tokens, using=using)
            )
        )
        return committed
    if ended.status == ExecutionStatus.FAILED:
        raise (yield Db(lambda: failure(step, ended, using)))
    value = yield Db(lambda: write_back(work, node, ended.snapshot))
    value = work._checked(value)
    effects = yield from work._walk(Signal(("done", step.node), value, resolve.scope_of(step)))
    outcome = dataclasses.replace(work._outcome(value, effects), sub_flow=sub_flow.ended(step, ended))
    committed = yield Db(lambda: work.settle(lambda: work.complete(outcome)))
    return committed


def capture(work: Work, node: SubFlow) -> sub_flow.Captured:
    """What the child starts with."""
    sources = {
        "value": lambda: work.step.input,
        "runtime_data": lambda: state_ops.visible(work.read_state()),
        "flow_data": work.read_flow_data,
        "resources": lambda: work.context.resources_for(work.facts),
    }
    given: Any = None
    states, flow_data = dict[str, Any](), dict[str, Any]()
    for binding in node.capture:
        if binding.target == "resources":
            continue  # live objects: looked up where the child runs
        value = mapping.read(binding, sources)
        if binding.target == "input":
            given = mapping.put(given, binding.target_path, value)
        else:
            place = states if binding.target == "runtime_data" else flow_data
            place[".".join(binding.target_path)] = value
    return sub_flow.Captured(
        input=sub_flow.checked_input(node, given),
        state=_sets(states, f"runtime_data of {node.id}"),
        flow_data=_sets(flow_data, f"flow_data of {node.id}"),
    )


def _sets(values: dict[str, Any], root: str) -> list[StateChange]:
    checked: Any = jsongate.check(values, limits=conf.get_settings().value_limits, root=root)
    return [StateChange("set", key, value) for key, value in checked.items()]


def write_back(work: Work, node: SubFlow, snapshot: Any) -> Any:
    """What the parent goes on with; writes to its state and flow data go into the step's journal."""
    if node.write_back is None:
        return mapping.look_up_result(snapshot, (), final=FINAL_RESULT)
    value = work.step.input
    for binding in node.write_back:
        found = mapping.look_up_result(snapshot, binding.source_path, final=FINAL_RESULT)
        change = StateChange("set", ".".join(binding.target_path), found)
        match binding.target:
            case "value":
                value = mapping.put(value, binding.target_path, found)
            case "runtime_data":
                work.journal.write(change, signal=False)
            case "flow_data":
                work.journal.write_flow(change, signal=False)
    return value


def failure(step: Step, child: Execution, using: str) -> exceptions.SubFlowFailedError:
    """The error a step fails with whose child has failed: the child's first, as it was stored."""
    failed = Step.objects.using(using).filter(execution_id=child.pk, status=StepStatus.FAILED)
    error = failed.order_by("finished_at", "pk").values_list("node", "error").first()
    node, stored = error if error is not None else ("", None)
    stored = stored or {"type": "", "message": "it failed", "traceback": ""}
    told = (
        f"\nwhich failed chunk {node} of flow {child.flow_name!r}, execution {child.id.hex}, and with it {step.node}\n"
    )
    return exceptions.SubFlowFailedError(
        f"sub flow {step.node} (execution {child.id.hex}) failed: {stored['type']}: {stored['message']}",
        {**stored, "traceback": stored["traceback"] + told},
    )
