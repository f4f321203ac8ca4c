"""Look at every state the model can get into: ``python docs/model/check.py`` (the standard library is enough).

Prints what it found: how many states, and that all properties hold in them; or, as a list of what happened one after
the other, a shortest way into a state where one does not. ``--without GUARD`` switches guards of the model off.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from guards import ALL, GUARDS
from properties import PROPERTIES, PROPERTIES_OF_CHANGES, at_rest
from states import NAMES, State, alike
from verbs import SYSTEM, VERBS

COMES_TO_REST = "while it is not at rest, something can go on by itself"
COMES_TO_REST_IN_ALL_ORDERS = "whatever the order in which it goes on, it never goes in a circle"


class Report(NamedTuple):
    """What a search found. ``broken`` is empty where every property holds; else ``trace`` leads there."""

    states: int
    transitions: int
    verbs: Counter[str]
    broken: str
    trace: list[str]


def check(without: Iterable[str] = (), start: State | None = None) -> Report:
    """Breadth first through all states; then, in what was seen, does everything that goes on come to an end?

    ``without``: guards to leave out. Liveness: from every state, however it was reached, with no further fault and
    nobody doing anything, whatever order the workers, the sweep and the clock take, there is no way in a circle, and
    every way ends at rest.
    """
    on = ALL - frozenset(without)
    first = start or State()
    states = [first]
    number = {first: 0}
    came = [-1]
    systems: list[list[int]] = []
    taken: Counter[str] = Counter()

    def report(broken: str, at: int = 0, *then: State) -> Report:
        way = []
        while at > 0:
            way.append(states[at])
            at = came[at]
        trace = _told(first, [*reversed(way), *then], on) if broken else []
        return Report(len(states), taken.total(), taken, broken, trace)

    for at, state in enumerate(states):  # grows
        for what, holds in PROPERTIES.items():
            if not holds(state):
                return report(what, at)
        onward = []
        for verb, who, _what, after in moves(state, on):
            taken[verb] += 1
            same = alike(after)
            to = number.get(same)
            if to is None:
                to = number[same] = len(states)
                states.append(same)
                came.append(at)
            for what, stays in PROPERTIES_OF_CHANGES.items():
                if not stays(state, after):
                    return report(what, at, same)
            if who == SYSTEM:
                onward.append(to)
        if not onward and not at_rest(state):
            return report(COMES_TO_REST, at)
        systems.append(onward)
    if circle := _circle(systems):
        return report(COMES_TO_REST_IN_ALL_ORDERS, circle[0])
    return report("")


def moves(state: State, on: frozenset[str]) -> Iterator[tuple[str, str, str, State]]:
    """All that may happen next: the verb, who acts, what happens, the state after it."""
    for verb in VERBS:
        for who, what, after in verb(state, on):
            yield verb.__name__, who, what, after


def _told(state: State, way: list[State], on: frozenset[str]) -> list[str]:
    """How a state was reached, each worker and decider keeping its number all the way."""
    told = ["the execution is started"]
    for wanted in way:
        ways = ((what, after) for _verb, _who, what, after in moves(state, on))
        what, state = next(found for found in ways if alike(found[1]) == wanted)
        told.append(what)
    return [*told, _shown(state)]


def _shown(state: State) -> str:
    """What of a state is not as it was at the start."""
    words = {name: value for name, value in state._asdict().items() if value != getattr(State(), name)}
    steps = words.pop("steps", ())
    told = [f"{name} is {step.status}" for name, step in zip(NAMES, steps, strict=False)]
    return "= " + ", ".join(told + [f"{name}={value!r}" for name, value in words.items() if name != "workers"])


def _circle(onward: list[list[int]]) -> list[int]:
    """The states from which a circle can be entered: what is left when states without a way on are taken out."""
    before: list[list[int]] = [[] for _ in onward]
    left = [len(ways) for ways in onward]
    for at, ways in enumerate(onward):
        for to in ways:
            before[to].append(at)
    out = [at for at, ways in enumerate(left) if not ways]
    for at in out:  # grows
        for earlier in before[at]:
            left[earlier] -= 1
            if not left[earlier]:
                out.append(earlier)
    gone = set(out)
    return [at for at in range(len(onward)) if at not in gone]


def main(arguments: list[str]) -> int:
    """The command line. Returns 0 where every property holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--without", nargs="+", default=[], choices=sorted(GUARDS), metavar="GUARD")
    parser.add_argument("--faults", type=int, default=State().faults, help="how much goes wrong in one run")
    parser.add_argument("--guards", action="store_true", help="list the guards and end")
    asked = parser.parse_args(arguments)
    say = sys.stdout.write
    if asked.guards:
        for name, guard in GUARDS.items():
            say(f"{name:18} {guard.rule}\n{'':18} {guard.function}\n")
        return 0
    began = time.monotonic()
    found = check(asked.without, State(faults=asked.faults))
    seconds = time.monotonic() - began
    say(f"{found.states:,} states, {found.transitions:,} transitions, {seconds:.1f} s\n")
    if not found.broken:
        say("every property holds in all of them; once nothing goes wrong any more, every way ends at rest\n")
        return 0
    say(f"BROKEN: {found.broken}. A shortest way there:\n")
    for line, what in enumerate(found.trace):
        say(f"{line:4}  {what}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
