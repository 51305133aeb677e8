"""Loopback ports for the servers of tests, each given to one process only.

A server listens a second or two after its port was chosen. If another test process chose the same port meanwhile, one
of the two servers ends, and its tests would talk to the other's server without noticing.

Rules:
    SUP1  A port is below the ephemeral range: a client that retries a dead ephemeral port on loopback can connect to
          itself.
    SUP2  No port is given twice while the process that asked for it lives, to whatever process of this user. A lock on
          one byte of a common file says that it is taken; the system drops it when the process ends.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from functools import cache
from pathlib import Path

FIRST, LAST = 20_000, 31_999
_taken: set[int] = set()


@cache
def _locks() -> int:
    """The file of locks; closing it would drop them."""
    path = Path(tempfile.gettempdir()) / f"raffia-test-ports-{os.getuid()}"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def free_port() -> int:
    """A port that nobody else will be given (SUP1, SUP2).

    Raises:
        RuntimeError: there is none.
    """
    ports = list(range(FIRST, LAST + 1))
    random.SystemRandom().shuffle(ports)  # tests may seed the common generator
    for port in ports:
        if port not in _taken and _take(port):
            return port
    raise RuntimeError(f"no free port between {FIRST} and {LAST}")


def _take(port: int) -> bool:
    try:
        fcntl.lockf(_locks(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _taken.add(port)  # such locks are between processes; a port that is used by a stranger is not tried again either
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
