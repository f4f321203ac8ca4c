import asyncio
import json
import sys
from pathlib import Path

from tests.scenarios.seed.topic import flow


async def main(path):
    execution = flow.create_execution(auto_close=False)
    await execution.async_start("topic")
    # Here it has met pause_for; there is a pending interrupt.
    assert len(execution.get_pending_interrupts()) == 1

    saved = execution.save()
    path.write_text(json.dumps(saved))


asyncio.run(main(Path(sys.argv[1])))
