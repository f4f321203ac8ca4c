"""The flow of the document's example across processes: each process writes it down again and gives the resources."""

from __future__ import annotations

from triggerflow_django import TriggerFlow, TriggerFlowRuntimeData

flow = TriggerFlow(name="topic")


async def ask(data: TriggerFlowRuntimeData):
    return await data.async_pause_for(type="approval", payload={"question": f"{data.input}?"}, resume_to="next")


async def commit(data: TriggerFlowRuntimeData):
    write = data.require_resource("write")
    await data.async_set_state("decision", write(data.input))


flow.to(ask).to(commit)
