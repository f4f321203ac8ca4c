"""Controls: one guard of the engine taken out, in the soak's children only, to see that the soak notices.

A control passes where the checker finds the damage that its guard prevents.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from triggerflow_django.engine import commit, decide, resolve, rows, sweep
from triggerflow_django.models import Interrupt, Step


@dataclass(frozen=True)
class Control:
    """A guard, and what goes wrong without it."""

    #: What is taken out, for the report.
    without: str
    take_out: Callable[[], None]
    #: The kind of damage that must show (``checker.KINDS``).
    damage: str


def switch_on(name: str) -> None:
    """Take out a control's guard in this process; ``""``: none."""
    if name:
        CONTROLS[name].take_out()


def _fencing_off() -> None:
    """A commit finishes its step whoever holds it by now."""
    real = rows.update

    def update(model: Any, *, where: Any, **options: Any) -> int:
        if model is Step and "lease_token" in where:
            where = {"id": where["id"]}
        return real(model, where=where, **options)

    commit.rows = _Patched(rows, update=update)  # type: ignore[assignment]


def _sweep_off() -> None:
    """Nobody takes steps from dead workers, nobody rings again for what lies ready. What is due is still acted on."""
    sweep._expired = lambda using: Step.objects.using(using).none()
    sweep.ring_for_ready = lambda using: None


def _conditional_update_off() -> None:
    """A decision asks neither whether the interrupt still waits, nor makes its update depend on it."""
    real = rows.update

    def update(model: Any, *, where: Any, **options: Any) -> int:
        if model is Interrupt:
            where = {"id": where["id"]}
        return real(model, where=where, **options)

    resolve.rows = _Patched(rows, update=update)  # type: ignore[assignment]
    decide.require_waiting = lambda interrupt: None


class _Patched:
    """A module with some of its names replaced."""

    def __init__(self, module: Any, **names: Any) -> None:
        self.__dict__.update({**vars(module), **names})


CONTROLS: Final[dict[str, Control]] = {
    "fencing": Control("the commit's guard (token, attempt, running)", _fencing_off, "double effects"),
    "sweep": Control("the sweep's repairs (expired leases, lost bells)", _sweep_off, "lost"),
    "update": Control("the condition of a decision (still waiting)", _conditional_update_off, "double decisions"),
}


def plan_for(name: str, seed: int, *, guarded: bool) -> Any:
    """The run in which a control's damage shows, and with the guard in place (``guarded``) none."""
    from tests.soak.run import Plan

    common: dict[str, Any] = {
        "seed": seed, "control": "" if guarded else name, "limit": 180.0, "patience": 8.0, "open": 20,
        "freeze_every": 0, "redis_restarts": (), "crashes": (), "flushes": (),
    }  # fmt: skip
    match name:
        case "fencing":
            # Stalled for long, and enough hands to take over meanwhile.
            return Plan(
                **common | {"executions": 8, "open": 4, "stall_every": 1, "every": 0.0, "workers": 10, "lease": 0.5}
            )
        case "sweep":
            return Plan(**common | {"executions": 40, "flushes": (0.1, 0.3), "every": 0.25, "lease": 1.0})
        case _:
            return Plan(**common | {"executions": 30, "every": 0.0})
