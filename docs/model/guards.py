"""The rules that can be switched off one at a time, and where the engine keeps them.

A test of the project holds this table against the engine: the functions are there, and the engine sends the updates.
"""

from __future__ import annotations

from typing import NamedTuple


class Guard(NamedTuple):
    """A rule that can be switched off, and where the engine has it."""

    rule: str
    function: str  # module:function of the engine
    #: The table and the columns in the WHERE of the conditional update by which the engine keeps the rule.
    update: tuple[str, tuple[str, ...]] | None = None


ENGINE = "triggerflow_django.engine"
STEP, INTERRUPT = "triggerflow_step", "triggerflow_interrupt"
GUARDS = {
    "claim-ready": Guard(
        "claim only what is still ready", f"{ENGINE}.claim:_claim_one", (STEP, ("id", "status", "attempt"))
    ),
    "commit-lease": Guard(
        "commit only under the token and attempt of one's own claim",
        f"{ENGINE}.commit:_finish",
        (STEP, ("id", "lease_token", "attempt", "status")),
    ),
    "commit-running": Guard(
        "commit only what is still running",
        f"{ENGINE}.commit:_finish",
        (STEP, ("id", "lease_token", "attempt", "status")),
    ),
    "lost-still": Guard(
        "take a step from its worker only if the lease that was found is still the step's, and expired",
        f"{ENGINE}.fail:lost",
        (STEP, ("id", "status", "lease_token", "attempt", "lease_expires_at")),
    ),
    "renew-own": Guard(
        "renew only running steps under one's own token",
        f"{ENGINE}.heartbeat:renew",
        (STEP, ("lease_token", "status")),
    ),
    "decide-waiting": Guard(
        "resume only what is still waiting", f"{ENGINE}.resolve:resume", (INTERRUPT, ("id", "status"))
    ),
    "decide-open": Guard("open the gate only of an open execution", f"{ENGINE}.transition:Transition.require_open"),
    "decide-replay": Guard("tell who asks again what was decided", f"{ENGINE}.decide:_is_replay"),
    "lock": Guard("look and act under the lock of the execution's row", f"{ENGINE}.transition:lock"),
    "close-gate": Guard(
        "closing cancels the interrupts that wait",
        f"{ENGINE}.closing:cancel_interrupts",
        (INTERRUPT, ("id", "status")),
    ),
    "close-steps": Guard("cancelling cancels the active steps", f"{ENGINE}.closing:cancel_steps"),
    "settle": Guard("the commit that leaves nothing active finishes a close", f"{ENGINE}.closing:settle"),
    "reopen": Guard("unsealing lets deadlines act that passed meanwhile", f"{ENGINE}.closing:reopen"),
    "max-lost": Guard("a step that has lost its worker too often fails", f"{ENGINE}.fail:lost"),
    "sweep-lost": Guard("the sweep looks for expired leases", f"{ENGINE}.sweep:_expired"),
    "sweep-bells": Guard("the sweep rings where steps are ready and no bell is", f"{ENGINE}.sweep:ring_for_ready"),
    "ring-after-commit": Guard(
        "ring when the rows can be seen, not before", "triggerflow_django.wakeups:ring_after_commit"
    ),
}
ALL = frozenset(GUARDS)
