"""Executions may live in a second database."""

from __future__ import annotations

import os

import dj_database_url

from project import settings as ours
from project.settings import *  # noqa: F403

DATABASES = {
    **ours.DATABASES,
    "second": {**ours.DATABASES["default"], **dj_database_url.parse(os.environ["SECOND_DATABASE_URL"])},
}
