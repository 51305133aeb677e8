"""The main loop of a worker process: read a job, run it, write its result; see `raffia.runtime.workers`.

A job and a result are one pickle each, after 8 bytes with its length; before a job there are 8 more, its limit of
processor time in microseconds. Both ends are Raffia: nothing from outside is unpickled.

Rules (tests quote these ids):
    WO1  A job that exceeds its limit of processor time is ended by the kernel: pycrdt never releases the GIL, so no
         Python code of this process could end it.
    WO2  A worker dies with its server, even while it is busy: on Linux by PR_SET_PDEATHSIG, for which
         the end of the thread that started it, the event loop's, is the end of the server. Elsewhere a thread looks for
         the parent; while pycrdt holds the GIL it cannot run, and then WO1 is what ends the job.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import sys
import threading
import time
from typing import BinaryIO, Final

LENGTH_BYTES: Final = 8
MICROSECONDS: Final = 1_000_000
_PR_SET_PDEATHSIG: Final = 1
_LOOK_FOR_PARENT_S: Final = 1.0


def write(stream: BinaryIO, message: object) -> None:
    """Write one message."""
    body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(len(body).to_bytes(LENGTH_BYTES, "big"))
    stream.write(body)
    stream.flush()


def die_with(parent: int) -> None:
    """End this process when its parent ends (WO2).

    Args:
        parent: the process id that the parent gave as its own.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_look_for, args=(parent,), daemon=True).start()
    # The parent may have died before the call above, which then has no effect.
    if os.getppid() != parent:
        os._exit(1)


def _look_for(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_FOR_PARENT_S)
    os._exit(1)


def _allow(seconds: float) -> None:
    """Allow this process so many seconds of processor time from now on; 0 for any number (WO1)."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


def main() -> None:
    """Work until the parent closes its end of the pipe, or dies."""
    if hasattr(signal, "SIGPROF"):
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF})
    die_with(int(sys.argv[1]))
    jobs = sys.stdin.buffer
    results = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # so that nothing printed gets between the results
    while True:
        head = jobs.read(2 * LENGTH_BYTES)
        if len(head) < 2 * LENGTH_BYTES:
            return
        body = jobs.read(int.from_bytes(head[LENGTH_BYTES:], "big"))
        try:
            work, args, kwargs = pickle.loads(body)  # noqa: S301 - written by the parent process
            # Only now: the first job imports what it needs, which takes longer than most jobs.
            _allow(int.from_bytes(head[:LENGTH_BYTES], "big") / MICROSECONDS)
            result = (True, work(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - it is raised again in the parent
            result = (False, error)
        _allow(0)
        write(results, result)


if __name__ == "__main__":
    main()
