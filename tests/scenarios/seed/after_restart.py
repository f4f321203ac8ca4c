# ruff: noqa: T201
import asyncio
import json
import sys
from pathlib import Path

from tests.scenarios.seed.topic import flow


async def main(path):
    saved = json.loads(path.read_text())
    restored = flow.create_execution(
        auto_close=False,
        runtime_resources={"write": str},  # all that the chunks need, given again
    )
    restored.load(saved)
    interrupt_id = next(iter(restored.get_pending_interrupts()))
    await restored.async_continue_with(interrupt_id, {"approved": True})
    snapshot = await restored.async_close()
    print(snapshot["decision"])


asyncio.run(main(Path(sys.argv[1])))
