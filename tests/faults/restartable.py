"""A worker that outlives its database: ``python -m tests.faults.restartable``; DATABASE_URL names the database.

It starts the wide flow, then sweeps and drains until the execution is idle, whatever the database does meanwhile. The
first line it prints is the execution's id.
"""

from __future__ import annotations

import sys
import time

import django
from django.db import Error, connections
from django.test import override_settings


def main() -> None:
    """Start, and go on until nothing is left to do."""
    from tests.engine import driving
    from tests.faults.flows import WIDE, WIDE_ITEMS
    from triggerflow_django.engine.sweep import sweep

    pk = driving.start(WIDE, list(range(WIDE_ITEMS)))
    sys.stdout.write(f"{pk.hex}\n")
    sys.stdout.flush()
    while True:
        try:
            sweep(using="default")
            WIDE.get_execution(pk).drain_operation().drain.run()
            if not driving.row(pk).active_steps:
                return
        except Error:
            connections.close_all()
        time.sleep(0.05)


if __name__ == "__main__":
    django.setup()
    with override_settings(TRIGGERFLOW={"LEASE_SECONDS": 1.0}):
        main()
