"""The project's settings as the soak's processes use them: its flows, workers, short leases and sweeps."""

from project.settings import *  # noqa: F403
from project.settings import INSTALLED_APPS, TRIGGERFLOW

INSTALLED_APPS = [*INSTALLED_APPS, "tests.soak"]
TRIGGERFLOW = {
    **TRIGGERFLOW,
    "RUNNER": "rq",
    "LEASE_SECONDS": 2.0,
    "SWEEP_SECONDS": 0.5,
    # Not five: nobody's workers die as often as these, and a step that loses many is not to blame here.
    "MAX_LOST": 50,
}
