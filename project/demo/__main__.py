"""``python -m project.demo``: every case once, on ``DATABASE_URL`` if it is set, else on a database that is thrown
away.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path
from urllib import parse

from django.core.management import execute_from_command_line


def main() -> None:
    """Migrate and walk; takes the options of ``manage.py demo --once`` and exits as it does."""
    # An exit rather than a sudden death, so that the folder goes as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    with tempfile.TemporaryDirectory(prefix="triggerflow-demo-") as folder:
        if not os.environ.get("DATABASE_URL"):
            os.environ["DATABASE_URL"] = f"sqlite:///{parse.quote(str(Path(folder) / 'demo.sqlite3'))}"
        execute_from_command_line(["manage.py", "migrate", "--verbosity=0"])
        execute_from_command_line(["manage.py", "demo", "--once", *sys.argv[1:]])


if __name__ == "__main__":
    main()
