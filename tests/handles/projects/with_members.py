"""A user model of the project's own."""

from __future__ import annotations

from project import settings as ours
from project.settings import *  # noqa: F403

INSTALLED_APPS = [*ours.INSTALLED_APPS, "tests.handles.projects.members"]
AUTH_USER_MODEL = "members.Member"
