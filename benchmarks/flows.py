"""The flows the workloads run: as small as can be, so that what is measured is the engine."""

from __future__ import annotations

from triggerflow_django import TriggerFlow, TriggerFlowRuntimeData

CHAIN_LENGTH = 100
SHORT_LENGTH = 10

Flow = TriggerFlow


def step(data: TriggerFlowRuntimeData) -> object:
    """Pass the value on."""
    return data.input


def ask(data: TriggerFlowRuntimeData) -> object:
    """Wait for an answer."""
    return data.pause_for(type="approval", payload={"question": "Go on?"}, resume_to="next")


def count(data: TriggerFlowRuntimeData) -> int:
    """How many items came back."""
    return len(data.input)


def _chain(name: str, length: int) -> TriggerFlow:
    flow = TriggerFlow(name=name)
    place = flow.to(("step 1", step))
    for number in range(2, length + 1):
        place = place.to((f"step {number}", step))
    return flow


#: W1: a step, a pause, two more steps.
gated = TriggerFlow(name="bench gated")
gated.to(("one", step)).to(ask).to(("two", step)).to(("three", step))

#: W2: a chain of trivial steps.
chain = _chain("bench chain", CHAIN_LENGTH)
short_chain = _chain("bench short chain", SHORT_LENGTH)

#: W3: one trivial step per item, joined again.
fan_out = TriggerFlow(name="bench fan-out")
fan_out.for_each().to(step).end_for_each().to(count)
