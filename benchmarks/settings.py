"""The project's settings with the flows of the benchmarks."""

from project.settings import *  # noqa: F403
from project.settings import INSTALLED_APPS

DEBUG = False
INSTALLED_APPS = [*INSTALLED_APPS, "benchmarks"]
