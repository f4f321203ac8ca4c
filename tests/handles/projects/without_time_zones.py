"""``USE_TZ = False``, far from Greenwich."""

from __future__ import annotations

from project.settings import *  # noqa: F403

USE_TZ = False
TIME_ZONE = "Asia/Kolkata"
