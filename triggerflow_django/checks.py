"""System checks: settings, databases and flows; with ``check --database`` also what stored executions need that the
code lacks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import DatabaseError, connections

from triggerflow_django import conf
from triggerflow_django.definition import chunk, registry
from triggerflow_django.definition.flow import FlowDefinition
from triggerflow_django.engine import family, missing
from triggerflow_django.models import Execution, Lifecycle, Step, StepStatus

#: How many steps without code one check names.
_SHOWN = 20


@register(Tags.compatibility)
def check_settings(app_configs: Sequence[AppConfig] | None, **_kwargs: Any) -> list[CheckMessage]:
    """E001: ``settings.TRIGGERFLOW`` has an unknown key or a value its key does not take."""
    return [Error(problem, id="triggerflow.E001") for problem in conf.problems()]


@register(Tags.compatibility)
def check_vendor(app_configs: Sequence[AppConfig] | None, **_kwargs: Any) -> list[CheckMessage]:
    """E013: a database on which nobody has shown that executions are safe."""
    alias = _alias()
    if alias not in settings.DATABASES or connections[alias].vendor in ("sqlite", "postgresql"):
        return []
    return [
        Error(
            f"The database {alias!r} is {connections[alias].display_name}; executions live on SQLite or PostgreSQL.",
            hint='Name another one: TRIGGERFLOW = {"DATABASE": "the alias of a PostgreSQL"}.',
            id="triggerflow.E013",
        )
    ]


@register(Tags.compatibility)
def check_sqlite(app_configs: Sequence[AppConfig] | None, **_kwargs: Any) -> list[CheckMessage]:
    """E002, W003, W004: a SQLite database on which executions cannot live, or not well beside other writers."""
    alias = _alias()
    database = settings.DATABASES.get(alias, {})
    if not str(database.get("ENGINE", "")).endswith("sqlite3"):
        return []
    found: list[CheckMessage] = []
    name, options = str(database.get("NAME", "")), database.get("OPTIONS", {})
    if name == ":memory:":
        found.append(
            Error(
                f"The database {alias!r} is SQLite in memory: each thread has one of its own, and executions end "
                "with the process.",
                hint="Name a file, or a shared one for tests: file:name?mode=memory&cache=shared.",
                id="triggerflow.E002",
            )
        )
    if str(options.get("transaction_mode") or "").upper() not in ("IMMEDIATE", "EXCLUSIVE"):
        found.append(
            Warning(
                f"The SQLite database {alias!r} begins its transactions without the write lock, so that some will "
                "fail with "
                '"database is locked" while others write.',
                hint=f'Set DATABASES[{alias!r}]["OPTIONS"]["transaction_mode"] = "IMMEDIATE".',
                id="triggerflow.W003",
            )
        )
    if (
        "journal_mode=wal" not in str(options.get("init_command") or "").lower().replace(" ", "")
        and "memory" not in name
    ):
        found.append(
            Warning(
                f"The SQLite database {alias!r} does not use a write-ahead log, so that readers and the writer "
                "block one another.",
                hint=f'Set DATABASES[{alias!r}]["OPTIONS"]["init_command"] = "PRAGMA journal_mode=WAL;".',
                id="triggerflow.W004",
            )
        )
    return found


def _alias() -> str:
    given = getattr(settings, "TRIGGERFLOW", {})
    return str(given.get("DATABASE", "default")) if isinstance(given, Mapping) else "default"


@register()
def check_flows(app_configs: Sequence[AppConfig] | None, **_kwargs: Any) -> list[CheckMessage]:
    """E005 to W008: registered flows whose names clash, that cannot be built, or whose chunks have no name that
    lasts.
    """
    found: list[CheckMessage] = [
        Error(
            f"Two flows are called {name!r}: one from {first}, one from {second}. The first one is used.",
            hint="Give one of them another name.",
            id="triggerflow.E005",
        )
        for name, first, second in registry.duplicates()
    ]
    for flow in registry.flows():
        found.extend(_flow_problems(flow))
    return found


def _flow_problems(flow: FlowDefinition) -> Iterator[CheckMessage]:
    try:
        graph = flow.graph
    except Exception as error:
        yield Error(
            f"Flow {flow.name!r} cannot be built: {type(error).__name__}: {error}", obj=flow, id="triggerflow.E006"
        )
        return
    for problem in graph.problems():
        yield Error(f"Flow {flow.name!r} cannot be built: {problem}", obj=flow, id="triggerflow.E006")
    chunks = [node.chunk for node in graph.nodes.values() if node.chunk is not None]
    names = Counter(known.name for known in chunks if not chunk.is_lambda(known.handler) or known.name != "lambda")
    for name, count in names.items():
        if count > 1:
            yield Error(
                f"Flow {flow.name!r} has {count} chunks called {name!r}; which is which would depend on their order "
                "in the file.",
                hint='Name them: flow.to(function, name="other name").',
                obj=flow,
                id="triggerflow.E007",
            )
    for known in chunks:
        if chunk.is_lambda(known.handler) and known.name == "lambda":
            yield Warning(
                f"Flow {flow.name!r} runs a lambda as chunk {known.id!r}; its id is its place, so executions that "
                "wait there are "
                "stranded when that place changes.",
                hint='Write a named function, or flow.to(("name", lambda data: ...)).',
                obj=flow,
                id="triggerflow.W008",
            )


@register(Tags.compatibility)
def check_queues(app_configs: Sequence[AppConfig] | None, **_kwargs: Any) -> list[CheckMessage]:
    """E010, W011, W012: where steps run on workers, their queues, how these are read, and what a fork would share."""
    if conf.problems() or conf.get_settings().RUNNER != "rq":
        return []
    found: list[CheckMessage] = []
    queues = getattr(settings, "RQ_QUEUES", {})
    for name, wanted_by in sorted(_wanted_queues().items()):
        if name not in queues:
            found.append(
                Error(
                    f"settings.RQ_QUEUES has no queue {name!r}, which {wanted_by} uses.",
                    hint=f'Add it: RQ_QUEUES = {{"{name}": {{"URL": "redis://..."}}}}.',
                    id="triggerflow.E010",
                )
            )
        elif "json" not in str(queues[name].get("SERIALIZER", "")).lower():
            found.append(
                Warning(
                    f"The queue {name!r} is not set to JSON: whoever looks at it with RQ's own tools or the django-rq "
                    "dashboard would unpickle what lies in Redis.",
                    hint=f'Set RQ_QUEUES[{name!r}]["SERIALIZER"] = "rq.serializers.JSONSerializer".',
                    id="triggerflow.W011",
                )
            )
    alias = conf.get_settings().DATABASE
    if settings.DATABASES.get(alias, {}).get("OPTIONS", {}).get("pool"):
        found.append(
            Warning(
                f"The database {alias!r} uses a connection pool. Workers close it before each fork, but code of your "
                "own that connects in a worker's parent process would share its connections with all children.",
                hint='Leave "pool" out of the settings that workers use, or run them with --no-fork.',
                id="triggerflow.W012",
            )
        )
    return found


def _wanted_queues() -> dict[str, str]:
    """Queues by name, with what uses them."""
    wanted = {conf.get_settings().DEFAULT_QUEUE: "TRIGGERFLOW['DEFAULT_QUEUE']"}
    for flow in registry.flows():
        for node in flow.graph.nodes.values():
            if node.chunk is not None and node.chunk.options.queue is not None:
                wanted.setdefault(node.chunk.options.queue, f"chunk {node.chunk.name!r} of flow {flow.name!r}")
    return wanted


@register(Tags.database)
def check_stored_executions(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **_kwargs: Any
) -> list[CheckMessage]:
    """W009: before a deploy, what open executions stand on and this code does not have (``check --database
    default``).
    """
    found: list[CheckMessage] = []
    alias = _alias()
    if alias in (databases or ()) and Execution._meta.db_table in _tables(alias):
        for flow_name, node, count in _stranded(alias):
            what = (
                f"flow {flow_name!r}, which is not registered"
                if node is None
                else f"{node!r} of flow {flow_name!r}, which it does not have"
            )
            found.append(
                Warning(
                    f"{count} step{'s' if count > 1 else ''} of open executions stand{'s' if count == 1 else ''} on "
                    f"{what}.",
                    hint="Bring it back (a chunk may be given the old name), or end those executions first.",
                    id="triggerflow.W009",
                )
            )
    return found


def _tables(alias: str) -> list[str]:
    try:
        return connections[alias].introspection.table_names()
    except DatabaseError:  # no database yet: nothing is stored
        return []


def _stranded(alias: str) -> list[tuple[str, str | None, int]]:
    """(flow, node or ``None`` for the whole flow, steps) of what has live steps and no code, most steps first."""
    live = (
        StepStatus.HELD,
        StepStatus.READY,
        StepStatus.RUNNING,
        StepStatus.PAUSED,
        StepStatus.DELEGATED,
        StepStatus.FAILED,
    )
    rows = (
        Step.objects.using(alias)
        .filter(status__in=live)
        .exclude(execution__lifecycle=Lifecycle.CLOSED)
        .values_list("execution__flow_name", "kind", "node", "source", "execution_id", "execution__root_id")
    )
    counts: Counter[tuple[str, str | None]] = Counter()
    for flow_name, kind, node, source, pk, root in rows.iterator():
        execution = Execution(id=pk, flow_name=flow_name, root_id=root)
        graph = family.graph_of(execution, using=alias)
        step = Step(kind=kind, node=node, source=source)
        if graph is None:
            counts[flow_name, None] += 1
        elif not missing.is_known(step, graph):
            counts[flow_name, missing.standing_on(step)] += 1
    return [(flow_name, node, count) for (flow_name, node), count in counts.most_common(_SHOWN)]
