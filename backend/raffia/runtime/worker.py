"""The main loop of a worker process: read a job, run it, write its result; see `raffia.runtime.workers`.

A job and a result are one pickle each, after 8 bytes with its length. Both ends are Raffia: nothing from outside is
unpickled.
"""

from __future__ import annotations

import os
import pickle
import sys
from typing import BinaryIO

LENGTH_BYTES = 8


def write(stream: BinaryIO, message: object) -> None:
    """Write one message."""
    body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(len(body).to_bytes(LENGTH_BYTES, "big"))
    stream.write(body)
    stream.flush()


def main() -> None:
    """Work until the parent closes its end of the pipe, or dies."""
    jobs = sys.stdin.buffer
    results = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # so that nothing printed gets between the results
    while True:
        head = jobs.read(LENGTH_BYTES)
        if len(head) < LENGTH_BYTES:
            return
        body = jobs.read(int.from_bytes(head, "big"))
        try:
            work, args, kwargs = pickle.loads(body)  # noqa: S301 - written by the parent process
            result = (True, work(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - it is raised again in the parent
            result = (False, error)
        write(results, result)


if __name__ == "__main__":
    main()
