"""``python -m project.stack``, ``make demo``: the demo, all of it, until Ctrl-C.

A Valkey of its own (unless ``REDIS_URL`` is set), the database migrated (``db.sqlite3``, which stays; unless
``DATABASE_URL`` is set), two workers, a web server on this machine only, and the demo's cases in it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn
from urllib import parse

from django.conf import settings

from project.stack import folder, parts
from project.stack.supervisor import FailedError, StoppedError, Supervisor


def main(arguments: Sequence[str]) -> int:
    """Run until told to stop. Exit codes: 0 stopped, 1 something did not start, 2 not a place for a demo."""
    parser = argparse.ArgumentParser(prog="python -m project.stack", description="Run the demo until Ctrl-C.")
    parser.add_argument("--port", type=int, default=8000, help="where to serve; another one where that is taken")
    parser.add_argument("--workers", type=int, default=2, help="how many (default: %(default)s)")
    parser.add_argument("--without-cases", action="store_true", help="leave the database as it is")
    parser.add_argument(
        "--with-parent", action="store_true", help="stop as well when the process that started this one is gone"
    )
    options = parser.parse_args(arguments)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    if not settings.DEBUG:
        # Its logins are printed, its web server is for development: nothing to point at a deployment.
        _complain("it needs DEBUG=1, which is the default only while SECRET_KEY is not set")
        return 2
    try:
        with folder.private() as home, Supervisor(parts.ROOT, say=say, with_parent=options.with_parent) as supervisor:
            _run(supervisor, home=home, options=options)
    except StoppedError:
        say("stopped; no process is left")
        return 0
    except FailedError as error:
        _complain(str(error))
        return 1


def _run(supervisor: Supervisor, *, home: Path, options: argparse.Namespace) -> NoReturn:
    url = os.environ.get("REDIS_URL") or parts.bells_url(home)
    environment = parts.environment(url)
    if not os.environ.get("REDIS_URL"):
        supervisor.up(parts.bells(home, environment))
    elif not parts.answers(url):
        raise FailedError(f"nothing answers at REDIS_URL, {_without_password(url)}")
    _task(supervisor, environment, "migrate", "--verbosity", "0")
    port = parts.free_port(options.port)
    say(f"starting {options.workers} workers and a web server")
    supervisor.up(*parts.workers(options.workers, url, environment), parts.web(port, environment))
    if not options.without_cases:
        _task(supervisor, environment, "demo", "--load", "--logins")
    if port != options.port and options.port:
        say(f"port {options.port} is taken")
    say(f"open http://{parts.HOST}:{port}/ (admin: http://{parts.HOST}:{port}/admin/); Ctrl-C stops everything")
    supervisor.watch()


def _task(supervisor: Supervisor, environment: dict[str, str], *arguments: str) -> None:
    if code := supervisor.run(parts.manage(*arguments), environment=environment):
        raise FailedError(f"manage.py {' '.join(arguments)} ended with {code}")


def _without_password(url: str) -> str:
    """The URL without user and password."""
    found = parse.urlsplit(url)
    return found._replace(netloc=found.netloc.rpartition("@")[2], query="").geturl()


def say(line: str) -> None:
    """Tell the person in front of it."""
    sys.stdout.write(f"demo: {line}\n")
    sys.stdout.flush()


def _complain(line: str) -> None:
    sys.stderr.write(f"demo: {line}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
