#!/usr/bin/env python
"""Django's command line for the project in this repository."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    try:
        from django.core.management import execute_from_command_line
    except ImportError as error:
        raise ImportError(
            "Django is not installed in this environment: activate one that `make .venv` made."
        ) from error
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
