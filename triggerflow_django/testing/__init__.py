"""The test kit for projects whose flows run under tests: no Redis, no worker, no sleeping.

Plain functions, for ``unittest`` and ``pytest`` alike, made for an ordinary ``TestCase`` with its one transaction. What
does not hold is an ``AssertionError`` that shows the execution. See docs/testing.md.
"""

from triggerflow_django.testing.clock import travel
from triggerflow_django.testing.deciding import decide
from triggerflow_django.testing.expectations import assert_nothing_pending, assert_pending, assert_walk
from triggerflow_django.testing.idle import run_until_idle

__all__ = ["assert_nothing_pending", "assert_pending", "assert_walk", "decide", "run_until_idle", "travel"]
