"""What a journal counts about itself."""

from __future__ import annotations

from collections.abc import Callable


class JournalStats:
    """What a journal has done and what is queued; plain attributes, read by metrics.

    Attributes:
        queued, queued_bytes: appends that are not acknowledged yet.
        appends, append_bytes: acknowledged since it was created.
        commits: transactions (or scripts) that made them durable.
        commit_s: seconds spent in commits; `last_commit_s` is the latest of them, `slowest_commit_s` the longest.
        failures: commits that failed.
        loads, compactions: finished since it was created.
        observe_commit: called on the event loop with the seconds of each commit, for a histogram.
    """

    __slots__ = (
        "append_bytes",
        "appends",
        "commit_s",
        "commits",
        "compactions",
        "failures",
        "last_commit_s",
        "loads",
        "observe_commit",
        "queued",
        "queued_bytes",
        "slowest_commit_s",
    )

    def __init__(self) -> None:
        self.queued = 0
        self.queued_bytes = 0
        self.appends = 0
        self.append_bytes = 0
        self.commits = 0
        self.commit_s = 0.0
        self.last_commit_s = 0.0
        self.slowest_commit_s = 0.0
        self.failures = 0
        self.loads = 0
        self.compactions = 0
        self.observe_commit: Callable[[float], None] | None = None

    def committed(self, seconds: float) -> None:
        """Count one commit and its duration."""
        self.commits += 1
        self.commit_s += seconds
        self.last_commit_s = seconds
        self.slowest_commit_s = max(self.slowest_commit_s, seconds)
        if self.observe_commit is not None:
            self.observe_commit(seconds)
