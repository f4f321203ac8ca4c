"""What may happen, by the names the engine has for it.

A verb is a generator that yields what may happen next, as (who acts, what happens, the state after it). Each is one
transaction of the engine, or one thing outside of any. ``on``: the guards that are in force. Who acts:

- ``SYSTEM``: workers, sweeper, the clock: they go on by themselves;
- ``PEOPLE``: may act or not;
- ``FAULT``: goes wrong, ``State.faults`` times in all.
"""

from __future__ import annotations

from collections.abc import Iterator

from states import (
    ASK,
    BOOK,
    MAX_BELLS,
    MAX_LOST,
    NAMES,
    State,
    Step,
    Worker,
    applied,
    with_decider,
    with_step,
    with_worker,
)

SYSTEM, PEOPLE, FAULT = "system", "people", "fault"
Moves = Iterator[tuple[str, str, State]]


# -- workers


def push_bell(s: State, on: frozenset[str]) -> Moves:
    """After a commit, the process that made it rings; it may die before it does, or Redis be down."""
    if s.owed:
        yield SYSTEM, "ring", s._replace(owed=s.owed - 1, bells=max(s.bells, MAX_BELLS))
        if s.faults:
            yield FAULT, "a bell that was owed is not rung", s._replace(owed=s.owed - 1, faults=s.faults - 1)


def pop_bell(s: State, on: frozenset[str]) -> Moves:
    """An idle worker takes a bell and begins to drain."""
    for n, w in enumerate(s.workers):
        if s.bells and w.phase == "idle":
            yield SYSTEM, f"worker {n} takes a bell", with_worker(s, n, Worker("draining"))._replace(bells=s.bells - 1)


def look(s: State, on: frozenset[str]) -> Moves:
    """A draining worker reads which step is ready; if none is, its drain ends."""
    for n, w in enumerate(s.workers):
        if w.phase == "draining" and not w.frozen:
            ready = [k for k in (ASK, BOOK) if s.steps[k].status == "ready"]
            for k in ready:
                found = Worker("found", k, s.steps[k].attempt)
                yield SYSTEM, f"worker {n} finds {NAMES[k]} ready", with_worker(s, n, found)
            if not ready:
                yield SYSTEM, f"worker {n} finds nothing and ends its drain", with_worker(s, n, Worker())


def claim(s: State, on: frozenset[str]) -> Moves:
    """Put a lease on the step that was found, by a conditional update."""
    for n, w in enumerate(s.workers):
        if w.phase == "found" and not w.frozen:
            step, name = s.steps[w.step], NAMES[w.step]
            if "claim-ready" in on and (step.status != "ready" or step.attempt != w.attempt):
                yield SYSTEM, f"worker {n} comes too late for {name}", with_worker(s, n, Worker("draining"))
                continue
            number = step.attempt + 1
            after = with_step(s, w.step, Step("running", number, lost=step.lost))
            yield (
                SYSTEM,
                f"worker {n} claims {name}, attempt {number}",
                with_worker(after, n, Worker("running", w.step, number)),
            )


def commit(s: State, on: frozenset[str]) -> Moves:
    """A chunk has run: one transaction with its outcome, the interrupt it asked for, the counters and a due close.

    The client may hear an error although the commit went through; then the worker tries again.
    """
    for n, w in enumerate(s.workers):
        if w.phase != "running" or w.frozen:
            continue
        step, name = s.steps[w.step], NAMES[w.step]
        stale = "commit-lease" in on and step.attempt != w.attempt
        if stale or ("commit-running" in on and step.status != "running"):
            yield SYSTEM, f"worker {n} is fenced from {name}", with_worker(s, n, Worker("draining"))
            continue
        after = applied(s, w.step, w.attempt)._replace(active=s.active - 1)
        if w.step == ASK:
            after = with_step(after, ASK, step._replace(status="paused", lapsed=False))
            after = after._replace(gate="waiting", pending=s.pending + 1)
        else:
            after = with_step(after, BOOK, step._replace(status="done", lapsed=False))
        after = settle(after, on)
        yield SYSTEM, f"worker {n} commits {name}", with_worker(after, n, Worker("draining"))
        if s.faults:
            yield FAULT, f"worker {n} commits {name} and hears an error", after._replace(faults=s.faults - 1)


def renew(s: State, on: frozenset[str]) -> Moves:
    """The heartbeat of a living worker renews the lease of what it holds."""
    for n, w in enumerate(s.workers):
        step = s.steps[w.step]
        own = step.attempt == w.attempt or "renew-own" not in on
        if w.phase == "running" and not w.frozen and own and step.status == "running" and step.lapsed:
            yield SYSTEM, f"worker {n} renews {NAMES[w.step]}", with_step(s, w.step, step._replace(lapsed=False))


def expire(s: State, on: frozenset[str]) -> Moves:
    """A lease that nobody renews expires; one that a living worker renews only where its heartbeat is late."""
    for k, step in enumerate(s.steps):
        if step.status == "running" and not step.lapsed:
            held = any(
                w.phase == "running" and not w.frozen and w.step == k and w.attempt == step.attempt for w in s.workers
            )
            after = with_step(s, k, step._replace(lapsed=True))
            if not held:
                yield SYSTEM, f"the lease of {NAMES[k]} expires", after
            elif s.faults:
                yield FAULT, f"the heartbeat of {NAMES[k]} is late", after._replace(faults=s.faults - 1)


def crash(s: State, on: frozenset[str]) -> Moves:
    """A worker is killed; another one is started in its place, and knows nothing."""
    for n, w in enumerate(s.workers):
        if s.faults and w.phase != "idle":
            yield FAULT, f"worker {n} is killed", with_worker(s, n, Worker())._replace(faults=s.faults - 1)


def freeze(s: State, on: frozenset[str]) -> Moves:
    """A worker is stopped (a long pause of its machine) and perhaps goes on later, one of the two at a time."""
    for n, w in enumerate(s.workers):
        if s.faults and w.phase != "idle" and not any(each.frozen for each in s.workers):
            yield (
                FAULT,
                f"worker {n} is frozen",
                with_worker(s, n, w._replace(frozen=True))._replace(faults=s.faults - 1),
            )


def thaw(s: State, on: frozenset[str]) -> Moves:
    """It goes on where it stood."""
    for n, w in enumerate(s.workers):
        if w.frozen:
            yield PEOPLE, f"worker {n} goes on", with_worker(s, n, w._replace(frozen=False))


def flush(s: State, on: frozenset[str]) -> Moves:
    """Redis forgets its bells, or delivers one that nobody rang."""
    if s.faults and s.bells:
        yield FAULT, "Redis is flushed", s._replace(bells=0, faults=s.faults - 1)
    if s.faults and s.bells <= MAX_BELLS:
        yield FAULT, "a bell is there twice, or once more", s._replace(bells=s.bells + 1, faults=s.faults - 1)


# -- the sweep


def sweep(s: State, on: frozenset[str]) -> Moves:
    """Find an expired lease; act on the one that was found; ring for what is ready and has no bell."""
    if s.found is None and "sweep-lost" in on:
        for k, step in enumerate(s.steps):
            if step.status == "running" and step.lapsed:
                yield SYSTEM, f"the sweep finds the expired lease of {NAMES[k]}", s._replace(found=(k, step.attempt))
    if s.found is not None:
        k, attempt = s.found
        step, after = s.steps[k], s._replace(found=None)
        if "lost-still" in on and not (step.status == "running" and step.attempt == attempt and step.lapsed):
            yield SYSTEM, f"the sweep finds the lease of {NAMES[k]} gone", after
        elif step.lost + 1 >= MAX_LOST and "max-lost" in on:
            after = with_step(after, k, step._replace(status="failed", lapsed=False))
            after = after._replace(active=s.active - 1, failed=s.failed + 1)
            yield SYSTEM, f"the sweep fails {NAMES[k]} for good", settle(after, on)
        else:
            after = with_step(after, k, step._replace(status="ready", lapsed=False, lost=step.lost + 1))
            yield SYSTEM, f"the sweep makes {NAMES[k]} ready again", after
    if "sweep-bells" in on and not s.bells and any(step.status == "ready" for step in s.steps):
        yield SYSTEM, "the sweep rings", s._replace(bells=1)


def deadline(s: State, on: frozenset[str]) -> Moves:
    """The interrupt's due time has passed: the sweep answers for whoever did not, or only marks it while sealed."""
    if s.gate == "waiting" and not s.overdue:
        if s.lifecycle != "open" and "decide-open" in on:
            yield SYSTEM, "the deadline passes while sealed", s._replace(overdue=True)
        else:
            after = resume(s, "deadline", on)._replace(overdue=True)
            yield SYSTEM, "the deadline answers", after._replace(owed=s.owed + 1)


# -- people


def resume(s: State, who: str, on: frozenset[str]) -> State:
    """The decision, the gate, the paused step and what follows, in one commit."""
    after = s._replace(gate="resumed", decision=who, pending=s.pending - 1, opened=(*s.opened, s.lifecycle))
    after = with_step(with_step(after, ASK, s.steps[ASK]._replace(status="done")), BOOK, Step("ready"))
    return settle(after._replace(active=s.active + 1), on)


def decide(s: State, on: frozenset[str]) -> Moves:
    """A decider answers under a request id of its own, and asks again with it where no answer came."""
    for n, told in enumerate(s.deciders):
        if s.gate == "-" or told in ("yes", "no"):
            continue
        who = f"decider {n}"
        if told == "unheard" and "decide-replay" in on and s.decision == who:
            yield PEOPLE, f"{who} asks again and is told yes", with_decider(s, n, "yes")
            continue
        is_open = s.lifecycle == "open" or "decide-open" not in on
        waits = s.gate == "waiting" or "decide-waiting" not in on
        if told != "looked" and "lock" not in on and is_open and waits:
            yield PEOPLE, f"{who} looks and may answer", with_decider(s, n, "looked")
        elif told != "rung" and "ring-after-commit" not in on and is_open and waits:
            yield PEOPLE, f"{who} rings, and will commit", with_decider(s, n, "rung")._replace(bells=max(s.bells, 1))
        elif not waits or not (is_open or told == "looked"):
            yield PEOPLE, f"{who} is told no", with_decider(s, n, "no")
        else:
            after = resume(s, who, on)
            owed = s.owed + (told != "rung")
            yield PEOPLE, f"{who} decides and is told yes", with_decider(after, n, "yes")._replace(owed=owed)
            if s.faults:
                unheard = with_decider(after, n, "unheard")._replace(faults=s.faults - 1)
                yield FAULT, f"{who} decides and hears nothing", unheard


def close(s: State, on: frozenset[str]) -> Moves:
    """Close by a policy: at once, or when nothing is active any more. Refused while it waits, under policy error."""
    for policy in ("error", "cancel") if s.requests and s.lifecycle != "closed" else ():
        if s.pending and policy == "error":
            continue
        after = s._replace(requests=s.requests - 1)
        if not s.closing:
            after = after._replace(closing=policy, lifecycle="sealed")
        if policy == "cancel":
            after = cancel_interrupts(after, on)
        yield PEOPLE, f"close, policy {policy}", settle(after, on)


def cancel(s: State, on: frozenset[str]) -> Moves:
    """End it now: running steps are fenced, the gate stays shut."""
    if s.requests and s.lifecycle != "closed":
        after = s._replace(requests=s.requests - 1)
        for k, step in enumerate(s.steps):
            if step.status in ("ready", "running") and "close-steps" in on:
                after = with_step(after, k, step._replace(status="cancelled", lapsed=False))
                after = after._replace(active=after.active - 1)
        yield PEOPLE, "cancel", closed(cancel_interrupts(after, on))


def seal(s: State, on: frozenset[str]) -> Moves:
    """Accept nothing from outside any more, and open again."""
    if s.requests and s.lifecycle == "open":
        yield PEOPLE, "seal", s._replace(lifecycle="sealed", requests=s.requests - 1)
    if s.requests and s.lifecycle == "sealed" and not s.closing:
        yield PEOPLE, "unseal", reopen(s._replace(requests=s.requests - 1), on)


# -- closing, part of every transaction above


def settle(s: State, on: frozenset[str]) -> State:
    """Finish a close that was asked for, once nothing is active."""
    if not s.closing or s.active or "settle" not in on:
        return s
    if s.pending and s.closing == "error":
        return reopen(s._replace(closing=""), on)
    return closed(cancel_interrupts(s, on))


def reopen(s: State, on: frozenset[str]) -> State:
    """Accept again; a deadline that passed meanwhile may act."""
    return s._replace(lifecycle="open", overdue=s.overdue and "reopen" not in on)


def cancel_interrupts(s: State, on: frozenset[str]) -> State:
    """Cancel the interrupt that waits, and the step that asked."""
    if s.gate != "waiting" or "close-gate" not in on:
        return s
    return with_step(s, ASK, s.steps[ASK]._replace(status="cancelled"))._replace(gate="cancelled", pending=0)


def closed(s: State) -> State:
    """Closed for good; the snapshot is what has been applied so far."""
    return s._replace(lifecycle="closed", closing="", snapshot=s.applied)


VERBS = (
    push_bell, pop_bell, look, claim, commit, renew, expire, crash, freeze, thaw, flush,
    sweep, deadline, decide, close, cancel, seal,
)  # fmt: skip
