"""The project's settings as the tests' workers use them: their flows, two queues, short leases and sweeps."""

from project.settings import *  # noqa: F403
from project.settings import INSTALLED_APPS, REDIS_URL

INSTALLED_APPS = [*INSTALLED_APPS, "tests.worker.app"]
RQ_QUEUES = {
    name: {"URL": REDIS_URL, "SERIALIZER": "rq.serializers.JSONSerializer"} for name in ("triggerflow", "other")
}
TRIGGERFLOW = {"RUNNER": "rq", "LEASE_SECONDS": 3, "SWEEP_SECONDS": 1}
