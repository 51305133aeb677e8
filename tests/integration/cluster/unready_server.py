"""The `raffia` command, unready on demand: while the file `<data folder>.unready` exists the journal counts as away.

Started like the command: `python -m tests.integration.cluster.unready_server serve --port ... --data ...`
"""

from __future__ import annotations

import sys
from pathlib import Path

from raffia.cli import main as cli
from raffia.journal.health import JournalHealth

AWAY_S = 3600.0


def make_unready_on_demand(marker: Path) -> None:
    """Let the watch say that the journal has been away for an hour while `marker` exists."""
    real = JournalHealth.away_s

    def away_s(watch: JournalHealth) -> float:
        return AWAY_S if marker.exists() else real(watch)

    JournalHealth.away_s = away_s  # type: ignore[method-assign]


if __name__ == "__main__":
    make_unready_on_demand(Path(sys.argv[sys.argv.index("--data") + 1] + ".unready"))
    cli.main()
