"""One run: start executions, answer through deciders, strike, until all have ended, and then look at everything."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from django.conf import settings
from django.core.management import call_command
from django.db import Error, connection, connections
from django.db.models import F, Max, Q, Sum

from tests.faults.processes import Child, Crew
from tests.soak import checker, flows, records, recovery
from tests.soak.monkey import Monkey
from tests.soak.programs import answer
from tests.soak.stage import Stage
from triggerflow_django import wakeups
from triggerflow_django.models import Decision, Execution, Lifecycle, Step, StepStatus

#: What the fork server imports, so that a child is there in milliseconds.
PRELOAD: Final = ("tests.soak.programs", "tests.soak.flows", "tests.soak.controls")
_TICK: Final = 0.05
_LOOK: Final = 0.25
_MANY_FREEZES: Final = 20
#: Of the executions, how many have ended when the servers are struck.
_FLUSHES: Final = (0.2, 0.5, 0.8)
_REDIS_RESTARTS: Final = (0.3, 0.6)
_CRASHES: Final = (0.4, 0.7)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run does."""

    executions: int
    seed: int
    #: Seconds; more is a failure.
    limit: float
    #: A guard to take out (``controls.CONTROLS``); ``""``: none.
    control: str = ""
    workers: int = 4
    deciders: int = 4
    #: How many executions are open at a time.
    open: int = 40
    #: Seconds between two kills; 0: none.
    every: float = 0.2
    #: Every so many kills a worker is frozen as well; 0: none.
    freeze_every: int = 20
    #: In every so many executions the parts outlive their leases; 0: in none.
    stall_every: int = 0
    flushes: tuple[float, ...] = _FLUSHES
    redis_restarts: tuple[float, ...] = _REDIS_RESTARTS
    crashes: tuple[float, ...] = _CRASHES
    lease: float = 2.0
    #: Seconds without any progress after which the rest counts as lost.
    patience: float = 60.0


@dataclass
class Result:
    """What a run has shown."""

    plan: Plan
    vendor: str
    seconds: float = 0.0
    damage: checker.Damage = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def bit(self) -> bool:
        """Whether the faults met any work: otherwise a clean run shows nothing."""
        wanted = ["kills", "with their horse", "orphaned horses", "attempts repeated", "retries", "conflicts"]
        wanted += ["answers asked again", "decisions by deadline", "steps that lost their worker"]
        # A frozen worker that was idle, or whose step nobody had taken over yet, is not fenced.
        wanted += ["fenced"] if self.facts["freezes"] >= _MANY_FREEZES else []
        done = {"FLUSHALL": self.plan.flushes, "Redis restarts": self.plan.redis_restarts}
        done["PostgreSQL crashes"] = self.plan.crashes
        return all(self.facts[name] > 0 for name in wanted) and all(
            self.facts[name] == len(moments) for name, moments in done.items()
        )

    @property
    def is_clean(self) -> bool:
        """Whether nothing at all is wrong."""
        return not any(self.damage.values()) and self.seconds <= self.plan.limit


class Soak:
    """A run under way."""

    def __init__(self, plan: Plan, stage: Stage) -> None:
        self.plan = plan
        self.stage = stage
        self.folder = stage.folder / "told"
        self.dice = random.Random(plan.seed)  # noqa: S311 - no secret
        self.settings = {**settings.TRIGGERFLOW, "LEASE_SECONDS": plan.lease}
        self.crew = Crew(os.environ["DATABASE_URL"], preload=PRELOAD)
        self.monkey = Monkey(
            crew=self.crew,
            dice=self.dice,
            folder=str(self.folder),
            control=plan.control,
            settings=self.settings,
            workers=plan.workers,
            every=plan.every,
            freeze_every=plan.freeze_every,
        )
        self.due: list[tuple[float, str, Callable[[], None]]] = sorted(
            [
                *((share, "FLUSHALL", stage.flush) for share in plan.flushes),
                *((share, "Redis restarts", stage.restart_redis) for share in plan.redis_restarts),
                *((share, "PostgreSQL crashes", stage.crash_postgres) for share in plan.crashes if stage.postgres),
            ],
            key=lambda entry: entry[0],
        )
        self.struck: dict[str, int] = {"FLUSHALL": 0, "Redis restarts": 0, "PostgreSQL crashes": 0}
        self.deciders: list[Child] = []
        self.started = 0
        self.ended = 0

    def run(self) -> Result:
        """From nothing to the verdict."""
        self._clear()
        began = time.monotonic()
        try:
            for number in range(self.plan.deciders):
                told = (str(self.folder), self.plan.control, f"decider{number}", self.plan.seed + number)
                self.deciders.append(self.crew.start(answer, *told, **self.settings))
            self._go_on(began)
            seconds = time.monotonic() - began
        finally:
            self.monkey.dismiss()
            self.crew.dismiss()
        result = Result(self.plan, self.stage.vendor, seconds)
        result.facts = self._facts(seconds)
        result.damage = checker.check(self.plan.executions, self.folder)
        if self.stage.vendor == "sqlite":
            with connection.cursor() as cursor:
                cursor.execute("PRAGMA integrity_check")
                if (told := cursor.fetchall()) != [("ok",)]:
                    result.damage["unsound rows"].append(f"PRAGMA integrity_check: {told}")
        return result

    def _clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        call_command("flush", interactive=False, verbosity=0)
        self.stage.flush()
        wakeups.bell_queue.cache_clear()
        if self.stage.postgres is not None:
            recovery.begin()

    def _go_on(self, began: float) -> None:
        seen, progress, since, looked = None, None, began, 0.0
        while self.ended < self.plan.executions:
            now = time.monotonic()
            if now - began > self.plan.limit or now - since > self.plan.patience:
                return
            try:
                if now - looked > _LOOK:
                    progress, looked = self._look(), now
                self._start_more()
            except Error:
                connections.close_all()
                continue
            if progress != seen:
                seen, since = progress, now
            self.monkey.act()
            for decider in self.deciders:
                assert decider.is_alive, f"a decider ended: {decider.heard()}"
            if self.due and self.ended >= self.due[0][0] * self.plan.executions:
                _share, name, strike = self.due.pop(0)
                strike()
                self.struck[name] += 1
            time.sleep(_TICK)

    def _look(self) -> tuple[int, int, int]:
        self.ended = Execution.objects.filter(lifecycle=Lifecycle.CLOSED).count()
        return self.ended, Step.objects.filter(status=StepStatus.DONE).count(), Decision.objects.count()

    def _start_more(self) -> None:
        """By key, so that a start nobody heard of is not repeated."""
        for _ in range(10):
            if self.started == self.plan.executions or self.started - self.ended >= self.plan.open:
                return
            number = self.started
            stalls = bool(self.plan.stall_every) and number % self.plan.stall_every == 0
            flows.FLOWS[number % 2].start_execution(
                flows.new_input(number, stalls), key=f"soak {number}", runner="rq", auto_close_timeout=0.0
            )
            self.started += 1

    def _facts(self, seconds: float) -> dict[str, Any]:
        steps = Step.objects.aggregate(
            again=Sum(F("attempt") - 1, filter=Q(attempt__gt=1)),
            all_lost=Sum("lost"),
            most=Max("lost"),
            all_failures=Sum("failures"),
        )
        done = Step.objects.filter(status=StepStatus.DONE).count()
        told = [outcome for outcome, *_rest in records.read(self.folder, records.ANSWERS)]
        logged = records.logged(self.folder)
        monkey = self.monkey
        facts = {
            "executions ended": f"{self.ended} of {self.plan.executions}",
            "steps done": done,
            "steps/s": f"{done / seconds:.1f}",
            "kills": monkey.kills,
            "with their horse": monkey.with_horse,
            "orphaned horses": monkey.orphans,
            "freezes": monkey.freezes,
            "workers that gave up": monkey.gave_up,
            **self.struck,
            "attempts repeated": steps["again"] or 0,
            "retries": steps["all_failures"],
            "steps that lost their worker": steps["all_lost"],
            "the most one step lost": steps["most"],
            "fenced": logged["triggerflow.step.fenced"],
            "answers that won": sum(outcome.startswith("won") for outcome in told),
            "answers asked again": told.count("won, replayed"),
            "conflicts": told.count("conflict"),
            "answers unheard": sum(outcome.startswith("unknown") for outcome in told),
            "decisions by deadline": Decision.objects.filter(door="deadline").count(),
        }
        if self.stage.postgres is not None:
            noticed, taken = recovery.measured(self.plan.lease)
            for name, values in (("noticed", noticed), ("running again", taken)):
                p50, p99 = recovery.percentile(values, 0.5), recovery.percentile(values, 0.99)
                facts[f"lost steps {name}"] = f"p50 {p50:.2f} s, p99 {p99:.2f} s, of {len(values)}"
        facts["logged"] = dict(sorted(logged.items()))
        facts["errors"] = records.errors(self.folder)
        return facts
