"""The invariants of the design by number, as far as they need no RQ. The subjects' own files have the details.

1  test_decide, test_deadlines, test_constraints      9  here
2  here, test_authority                              10  here, test_sweep, test_constraints
3  here                                              11  test_lifecycle, test_emit, test_constraints
4  test_decide, test_restore                         12  test_status, test_random_walks
5  test_decide                                       13  test_start
6  here, test_lifecycle, test_deadlines              14  test_history, test_restore
7  here, test_random_walks                           15  here
8  here, test_fail, test_lifecycle                   16  here
"""

from __future__ import annotations

import ast
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection, transaction

import triggerflow_django
from tests.engine import driving
from triggerflow_django import TriggerFlow, exceptions
from triggerflow_django.engine import commit, emit, fail, lifecycle, sweep
from triggerflow_django.engine.transition import Transition
from triggerflow_django.models import Decision, Door, Execution, Interrupt, Join, JoinSlot, Step

pytestmark = pytest.mark.django_db

Travel = Callable[[float], None]
PACKAGE = Path(triggerflow_django.__file__).parent


def gated() -> TriggerFlow:
    """A flow that asks, and then commits."""
    flow = TriggerFlow(name="refund")
    flow.to(lambda data: data.pause_for(interrupt_id="gate"), name="ask").to(
        lambda data: data.set_state("decision", data.input), name="commit"
    )
    return flow


def modules() -> list[tuple[str, ast.Module]]:
    """Every module of the package, parsed."""
    return [
        (str(path.relative_to(PACKAGE)), ast.parse(path.read_text(encoding="utf-8")))
        for path in sorted(PACKAGE.rglob("*.py"))
        if "migrations" not in path.parts
    ]


# -- 1


@pytest.mark.django_db(transaction=True)
def test_1_of_two_answers_at_the_same_moment_one_wins_and_the_other_hears_of_it() -> None:
    flow = gated()
    for _ in range(10):
        pk = driving.settled(flow)
        barrier = threading.Barrier(2)

        def answer(value: str, pk: uuid.UUID = pk, barrier: threading.Barrier = barrier) -> str:
            try:
                connection.ensure_connection()
                barrier.wait(30)
                return str(driving.decide(pk, "gate", value, flow=flow)["status"])
            except exceptions.InterruptNotWaitingError:
                return "late"
            finally:
                connection.close()

        with ThreadPoolExecutor(2) as pool:
            told = [done.result(60) for done in [pool.submit(answer, value) for value in ("yes", "no")]]
        assert sorted(told) == ["late", "resumed"]
        decision = Decision.objects.get(execution_id=pk)
        assert decision.payload == ("yes", "no")[told.index("resumed")]
        assert driving.step(pk, "commit").input == decision.payload
        driving.consistent(pk)


def test_1_only_one_function_of_the_package_resumes_an_interrupt() -> None:
    places = [
        f"{name}:{getattr(inside, 'name', '')}"
        for name, tree in modules()
        for inside in ast.walk(tree)
        if isinstance(inside, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(inside)
        if isinstance(node, ast.Dict | ast.keyword)
        for value in (node.values if isinstance(node, ast.Dict) else [node.value])
        if isinstance(value, ast.Attribute) and value.attr == "RESUMED"
    ]
    assert places == ["engine/resolve.py:resume"]


# -- 2


@pytest.mark.parametrize("door", Door.values)
def test_2_the_same_policy_stands_behind_every_door(door: str, clerk: User, manager: User) -> None:
    for approvers, allowed in ((None, manager), ("user:clerk", clerk)):
        flow = TriggerFlow(name="refund")
        flow.to(lambda data, who=approvers: data.pause_for(interrupt_id="gate", approvers=who), name="ask")
        pk = driving.settled(flow)
        refused = clerk if allowed is manager else manager
        before = driving.everything(pk)
        with pytest.raises(exceptions.DecisionRefusedError):
            driving.decide(pk, "gate", 1, actor=refused, door=Door(door))
        assert driving.everything(pk) == before
        assert driving.decide(pk, "gate", 1, actor=allowed, door=Door(door))["door"] == door


@pytest.mark.django_db(transaction=True)
def test_2_the_policy_is_asked_on_the_locked_row(clerk: User, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = gated()
    pk = driving.settled(flow)
    asked: list[bool] = []

    def look(*_args: Any, **_kwargs: Any) -> None:
        asked.append(connection.in_atomic_block)
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT count(*) FROM pg_locks JOIN pg_class ON pg_class.oid = relation "
                    "WHERE relname = 'triggerflow_execution' AND mode = 'RowShareLock' AND pid = pg_backend_pid()"
                )
                assert cursor.fetchone()[0] >= 1

    monkeypatch.setattr("triggerflow_django.engine.authority.require_allowed", look)
    driving.decide(pk, "gate", 1, actor=clerk)
    assert asked == [True]


# -- 3


@pytest.mark.django_db(transaction=True)
def test_3_an_acknowledged_decision_needs_nobody_to_be_told_of_it() -> None:
    """No bell, no memory of the process that took the answer: the rows are enough."""
    pk = driving.settled(gated())
    record = driving.decide(pk, "gate", {"approved": True})
    connection.close()
    assert record["status"] == "resumed"
    assert Decision.objects.get(execution_id=pk).payload == {"approved": True}
    another_process = gated()
    driving.drain(pk, another_process)
    assert driving.state(pk) == {"decision": {"approved": True}}
    driving.consistent(pk)


@pytest.mark.django_db(transaction=True)
def test_3_an_answer_is_not_acknowledged_before_it_is_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = gated()
    pk = driving.settled(flow)
    before = driving.everything(pk)

    def stumble(self: Transition) -> None:
        raise ConnectionError("the database went away")

    monkeypatch.setattr(Transition, "save", stumble)
    with pytest.raises(ConnectionError):
        driving.decide(pk, "gate", 1, flow=flow)
    assert driving.everything(pk) == before


# -- 6


@pytest.mark.parametrize("end", ["close", "cancel", "abandon", "force"])
def test_6_no_way_of_ending_runs_what_comes_after_the_gate(end: str, travel: Travel) -> None:
    flow = gated()
    flow.when("work").to(driving.nothing(), name="work")
    pk = driving.settled(flow)
    if end == "close":
        lifecycle.request_close(pk, using="default", pending_interrupts="cancel", graph=flow.graph)
    elif end == "cancel":
        lifecycle.cancel(pk, using="default")
    elif end == "abandon":
        lifecycle.abandon(pk, using="default", reason="x")
    else:
        emit.emit(pk, "work", 1, using="default", graph=flow.graph)
        lifecycle.request_close(pk, using="default", pending_interrupts="cancel", timeout=1, graph=flow.graph)
        travel(2)
        sweep.sweep(using="default")
    driving.drain(pk, flow)
    travel(10**6)
    sweep.sweep(using="default")
    driving.drain(pk, flow)
    assert driving.consistent(pk).lifecycle == "closed"
    assert "commit" not in driving.statuses(pk)
    assert not Decision.objects.exists()


# -- 7


def joined() -> TriggerFlow:
    """A batch of three, of which one is slow to fill."""
    flow = TriggerFlow(name="batch")
    flow.batch(("one", driving.nothing()), ("two", driving.nothing()), ("three", driving.nothing())).to(
        lambda data: data.append_state("fired", sorted(data.input)), name="joined"
    )
    return flow


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_7_a_join_fires_once_with_the_last_value_whatever_the_order(order: tuple[int, ...]) -> None:
    flow = joined()
    pk = driving.start(flow)
    running = driving.drainer(pk, flow)
    steps = driving.claim(pk, flow, token=running.context.token)
    for count, number in enumerate(order, start=1):
        assert Join.objects.get().filled == count - 1
        driving.finish(running, steps[number])
        assert ("joined" in driving.statuses(pk)) == (count == 3)
    driving.drain(pk, flow)
    assert driving.state(pk) == {"fired": [["one", "three", "two"]]}
    assert not JoinSlot.objects.exists()


def test_7_a_branch_that_is_run_again_after_a_crash_fills_its_slot_once(travel: Travel) -> None:
    flow = joined()
    pk = driving.start(flow)
    stale = driving.drainer(pk, flow)
    steps = driving.claim(pk, flow, token=stale.context.token)
    driving.run(stale, steps[0])
    travel(61)
    assert sweep.sweep(using="default").lost_steps == 2
    driving.drain(pk, flow)
    for step in steps:  # the worker that was thought dead comes back with all its results
        driving.run(stale, step)
    assert driving.state(pk) == {"fired": [["one", "three", "two"]]}
    assert Step.objects.filter(node="joined").count() == 1
    driving.consistent(pk)


def test_7_a_loop_into_a_fan_out_never_mixes_with_its_own_slow_past() -> None:
    flow = TriggerFlow(name="loop")
    flow.when("go").batch(
        ("fast", lambda data: f"fast {data.input}"),
        ("slow", lambda data: data.pause_for(interrupt_id=f"gate-{data.input}")),
    ).to(lambda data: data.append_state("fired", data.input), name="joined")
    pk = driving.settled(flow)
    for number in (1, 2):
        emit.emit(pk, "go", number, using="default", graph=flow.graph)
        driving.drain(pk, flow)
    for number in (2, 1):
        driving.decide(pk, f"gate-{number}", f"slow {number}", flow=flow)
        driving.drain(pk, flow)
    assert driving.state(pk)["fired"] == [
        {"fast": "fast 2", "slow": "slow 2"},
        {"fast": "fast 1", "slow": "slow 1"},
    ]


@pytest.mark.django_db(transaction=True)
def test_7_branches_that_end_at_the_same_moment_fire_their_join_once() -> None:
    flow = joined()
    for _ in range(5):
        pk = driving.start(flow)
        drains = [driving.drainer(pk, flow) for _ in range(3)]
        steps = driving.claim(pk, flow)
        for running, step in zip(drains, steps, strict=True):
            Step.objects.filter(pk=step.pk).update(lease_token=running.context.token)
            step.lease_token = running.context.token
        barrier = threading.Barrier(3)

        def end(running: Any, step: Step, barrier: threading.Barrier = barrier) -> None:
            try:
                connection.ensure_connection()
                barrier.wait(30)
                outcome = commit.Outcome(
                    value=None,
                    changes=(),
                    effects=list(_effects(running, step)),
                    pause=None,
                    tokens=iter(()),
                )
                commit.complete(step, outcome, graph=flow.graph, using="default")
            finally:
                connection.close()

        with ThreadPoolExecutor(3) as pool:
            for done in [pool.submit(end, running, step) for running, step in zip(drains, steps, strict=True)]:
                done.result(60)
        assert Step.objects.filter(execution_id=pk, node="joined").count() == 1
        driving.consistent(pk)


def _effects(running: Any, step: Step) -> Any:
    """What a finished branch leads to: its value into its slot."""
    from triggerflow_django.definition import routing
    from triggerflow_django.engine.resolve import scope_of

    signal = routing.Signal(("done", step.node), None, scope_of(step))
    return routing.walk(running.graph, signal, iter(()), evaluate=False, window=100)


# -- 8


def test_8_a_stale_worker_changes_nothing_though_it_finishes_well(travel: Travel) -> None:
    def works(data: Any) -> Any:
        data.append_state("ran", data.attempt)
        data.emit("worked", data.attempt)
        return data.pause_for(interrupt_id="gate") if data.attempt == 1 else None

    flow = TriggerFlow(name="stale")
    flow.to(works)
    flow.when("worked").to(lambda data: data.append_state("heard", data.input), name="hear")
    pk = driving.start(flow)
    stale, step = driving.claimed(pk, flow)
    travel(61)
    assert fail.lost(step, using="default")
    between = driving.everything(pk)
    driving.run(stale, step)
    assert driving.everything(pk) == between
    fresh, again = driving.claimed(pk, flow)
    driving.run(stale, step)
    driving.finish(fresh, again)
    after = driving.everything(pk)
    driving.run(stale, step)
    assert driving.everything(pk) == after
    driving.drain(pk, flow)
    assert driving.state(pk) == {"ran": [2], "heard": [2]}
    assert not Interrupt.objects.exists()
    driving.consistent(pk)


@pytest.mark.django_db(transaction=True)
def test_8_a_stale_atomic_chunk_leaves_none_of_its_own_rows(travel: Travel) -> None:
    flow = TriggerFlow(name="stale")
    flow.to(
        flow.chunk(atomic=True)(lambda data: Group.objects.create(name=f"attempt {data.attempt}") and None), name="w"
    )
    pk = driving.start(flow)
    stale, step = driving.claimed(pk, flow)
    travel(61)
    fail.lost(step, using="default")
    driving.run(stale, step)
    assert not Group.objects.exists()
    driving.drain(pk, flow)
    assert list(Group.objects.values_list("name", flat=True)) == ["attempt 2"]


@pytest.mark.parametrize("changed", ["token", "attempt", "status"])
def test_8_a_commit_is_guarded_by_token_attempt_and_status(changed: str) -> None:
    flow = gated()
    pk = driving.start(flow)
    running, step = driving.claimed(pk, flow)
    changes: dict[str, dict[str, Any]] = {
        "token": {"lease_token": uuid.uuid4()},
        "attempt": {"attempt": 2},
        "status": {"status": "ready"},
    }
    Step.objects.filter(pk=step.pk).update(**changes[changed])
    before = driving.everything(pk)
    assert driving.run(running, step) == commit.Committed()
    assert driving.everything(pk) == before


# -- 9


@pytest.mark.parametrize("point", ["write_state", "effects", "open_interrupt", "save", "update"])
@pytest.mark.django_db(transaction=True)
def test_9_a_commit_that_breaks_off_anywhere_leaves_nothing(point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def works(data: Any) -> Any:
        data.set_state("wrote", 1)
        data.emit("worked")
        data.emit("more", [1, 2])
        return data.pause_for(interrupt_id="gate")

    flow = TriggerFlow(name="whole")
    flow.to(works)
    flow.when("worked").to(driving.nothing(), name="hear")
    flow.when("more").for_each().to(driving.nothing(), name="line").end_for_each()
    pk = driving.start(flow)
    running, step = driving.claimed(pk, flow)
    before = driving.everything(pk)

    def broken(*_args: Any, **_kwargs: Any) -> Any:
        raise KeyboardInterrupt

    targets = {
        "write_state": (Transition, "write_state"),
        "effects": (commit.effects, "apply"),
        "open_interrupt": (commit, "open_interrupt"),
        "save": (Transition, "save"),
        "update": (Transition, "_update_execution"),
    }
    monkeypatch.setattr(*targets[point], broken)
    with pytest.raises(KeyboardInterrupt):
        driving.run(running, step)
    monkeypatch.undo()
    after = driving.everything(pk)
    for given in (before, after):  # the interrupted worker gives its step back, which is no part of the commit
        for kept in given["Step"]:
            for column in ("status", "lease_expires_at", "lease_token"):
                kept.pop(column)
    assert after == before
    driving.drain(pk, flow)
    assert driving.state(pk) == {"wrote": 1}
    assert Step.objects.filter(node="line").count() == 2
    driving.consistent(pk)


@pytest.mark.django_db(transaction=True)
def test_9_nothing_of_a_step_is_seen_before_its_commit_and_all_of_it_after() -> None:
    seen: list[Any] = []

    def look() -> None:
        try:
            seen.append((driving.state(pk), sorted(driving.statuses(pk).items()), Join.objects.count()))
        finally:
            connection.close()

    def works(data: Any) -> Any:
        data.set_state("wrote", 1)
        data.emit("worked", [1, 2])
        with ThreadPoolExecutor(1) as pool:
            pool.submit(look).result(30)
        return None

    flow = TriggerFlow(name="whole")
    flow.to(works).to(driving.nothing(), name="next")
    flow.when("worked").for_each().to(driving.nothing(), name="line").end_for_each()
    pk = driving.start(flow)
    running, step = driving.claimed(pk, flow)
    driving.run(running, step)
    look()
    connection.ensure_connection()
    assert seen == [
        ({}, [("works", "running")], 0),
        ({"wrote": 1}, [("line", "ready"), ("next", "ready"), ("works", "done")], 1),
    ]


# -- 10


def test_10_no_step_stays_running_without_a_live_lease_and_the_counters_say_what_there_is(travel: Travel) -> None:
    flow = joined()
    pk = driving.start(flow)
    driving.claim(pk, flow)
    assert driving.consistent(pk).active_steps == 3
    travel(61)
    sweep.sweep(using="default")
    assert not Step.objects.filter(status="running").exists()
    assert driving.consistent(pk).active_steps == 3
    driving.drain(pk, flow)
    execution = driving.consistent(pk)
    assert execution.active_steps == 0
    assert not Step.objects.filter(status__in=["ready", "running", "held"]).exists()


# -- 15


def test_15_nothing_is_evaluated_unpickled_or_imported_from_data() -> None:
    forbidden = {"eval", "exec", "compile", "__import__", "mark_safe", "loads_pickle"}
    modules_forbidden = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle", "yaml"}
    #: Where names of the settings and of this package become code: never a name from a row.
    imports_by_name = {"__init__.py", "runtime/resources.py"}
    found: list[str] = []
    for name, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = node.func
                word = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
                by_name = word in {"import_string", "import_module"} and name not in imports_by_name
                is_regular = word == "compile" and isinstance(called, ast.Attribute)  # re.compile
                if (word in forbidden and not is_regular) or (by_name and name != "apps.py"):
                    found.append(f"{name}:{node.lineno} {word}")
            elif isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                found += [f"{name}:{node.lineno} {each}" for each in names if each.split(".")[0] in modules_forbidden]
    assert found == []


@pytest.mark.parametrize("hostile", ["os.system", "call:os.system", "builtins.eval", "call:subprocess.run"])
def test_15_a_name_in_a_payload_or_in_approvers_is_never_called(hostile: str, clerk: User) -> None:
    flow = TriggerFlow(name="refund")
    flow.to(lambda data: data.pause_for(interrupt_id="gate", approvers=data.input["who"]), name="ask")
    pk = driving.start(flow, {"who": hostile})
    (failure,) = driving.drain(pk, flow)
    assert isinstance(failure, exceptions.ApproversError)
    # Should such an entry ever stand in a row, nobody matches it.
    pk = driving.settled(gated())
    Interrupt.objects.update(approvers=[{"kind": "callable", "label": "os.system"}])
    with pytest.raises(exceptions.DecisionRefusedError, match=r"whom the rule os\.system accepts"):
        driving.decide(pk, "gate", "echo", actor=clerk)


def test_15_a_flow_s_name_in_a_row_leads_to_a_registered_flow_or_nowhere() -> None:
    pk = driving.settled(gated())
    Execution.objects.update(flow_name="os.system")
    with pytest.raises(exceptions.UnknownFlowError, match=r"no flow named 'os\.system' is registered"):
        TriggerFlow.attach(pk)


# -- 16


@pytest.mark.django_db(transaction=True)
def test_16_a_drain_more_or_less_sooner_or_later_has_no_influence_on_the_result(travel: Travel) -> None:
    """A wake-up only says "look": dropped, doubled and late ones all find what the rows say."""

    def walk(drains: Callable[[uuid.UUID, TriggerFlow], None]) -> Any:
        flow = gated()
        flow.when("lines").for_each().to(lambda data: data.input * 2, name="line").end_for_each().to(
            lambda data: data.set_state("lines", data.input), name="end"
        )
        pk = driving.start(flow, {"order": 7})
        drains(pk, flow)
        emit.emit(pk, "lines", [1, 2, 3], using="default", graph=flow.graph)
        drains(pk, flow)
        driving.drain(pk, flow)
        driving.decide(pk, "gate", "yes", flow=flow)
        drains(pk, flow)
        lifecycle.request_close(pk, using="default", graph=flow.graph)
        driving.drain(pk, flow)
        drains(pk, flow)
        travel(10**5)
        drains(pk, flow)
        return driving.consistent(pk).snapshot

    def none(_pk: uuid.UUID, _flow: TriggerFlow) -> None:
        """Lost."""

    def once(pk: uuid.UUID, flow: TriggerFlow) -> None:
        driving.drain(pk, flow)

    def many(pk: uuid.UUID, flow: TriggerFlow) -> None:
        for _ in range(3):
            driving.drain(pk, flow)
            sweep.sweep(using="default")

    results = [walk(drains) for drains in (none, once, many)]
    assert results == [{"decision": "yes", "lines": [2, 4, 6]}] * 3
    with transaction.atomic():
        assert not Step.objects.exclude(status="done").exists()
