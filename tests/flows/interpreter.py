"""What a random flow should do, said in as few words as possible: recursive, in memory, one thing after the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.flows.random_flows import Aside, Batch, Call, Chain, Choice, Description, Loop, given, holds, number


def answer(name: str, value: Any) -> int:
    """What is answered to a chunk that asks."""
    return number(f"answer to {name}", value)


@dataclass
class Interpreter:
    """Runs a description; ``log`` is what chunks noted, ``fan_outs`` how many were entered and have to be joined."""

    log: list[Any] = field(default_factory=list)
    fan_outs: int = 0

    def run(self, description: Description, value: Any) -> None:
        """All of it, with everything answered."""
        firsts = {}
        for call, chain in description.roots:
            firsts[call.name] = self.call(call, value)
            self.chain(chain, firsts[call.name])
        only = next(iter(firsts.values()))
        self.chain(description.joined, {"event": firsts} if len(firsts) > 1 else only)

    def chain(self, parts: Chain, value: Any) -> Any:
        for part in parts:
            value = self.part(part, value)
        return value

    def part(self, part: Any, value: Any) -> Any:
        match part:
            case Call():
                return self.call(part, value)
            case Aside():
                self.call(part.call, value)
                return value
            case Batch():
                return self.batch(part, value)
            case Loop():
                items = value if isinstance(value, list) else [value]
                self.fan_outs += bool(items)
                return [self.chain(part.body, item) for item in items]
            case Choice():
                return self.choice(part, value)
        raise TypeError(part)

    def batch(self, part: Batch, value: Any) -> Any:
        self.fan_outs += 1
        values = {call.name: self.call(call, value) for call in part.calls}
        if part.joined is not None and len(values) > 1:
            self.chain(part.joined, {"event": values})
        return values

    def choice(self, part: Choice, value: Any) -> Any:
        hits = [branch for condition, branch in part.cases if holds(condition, value)]
        if not hits:
            return value if part.otherwise is None else self.chain(part.otherwise, value)
        if part.mode == "hit_first":
            return self.chain(hits[0], value)
        self.fan_outs += 1
        return [self.chain(branch, value) for branch in hits]

    def call(self, call: Call, value: Any) -> Any:
        self.note(call, value)
        if call.asks == "next":
            result: Any = answer(call.name, value)
        elif call.asks == "self":
            self.note(call, value)
            result = given(call, answer(call.name, value))
        else:
            result = given(call, value)
        if call.then is not None:
            self.chain(call.then, result)
        return result

    def note(self, call: Call, value: Any) -> None:
        """One run of a chunk."""
        self.log.append([call.name, value])
        if call.emits is not None:
            self.chain(call.emits, number("told", value))
