"""`python -m tools.attacks [NAME ...]`: attack a real server on loopback, and print a line of figures for each attack.

NAME is the beginning of a name, such as `01` or `04-http slow-heads`; none means all. With --command it attacks another
build, for example `../before/.venv/bin/raffia serve --host 127.0.0.1 --port {port} --data {data}`. The figures also go
to .bench/attacks.json. Ends with 1 when a bound does not hold; the bounds are in tools/attacks/figures.py.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys

from tests.support.server import ROOT

from tools.attacks.figures import Figures
from tools.attacks.place import Build
from tools.attacks.registry import all_attacks

OUT = ROOT / ".bench" / "attacks.json"


def main(arguments: list[str]) -> int:
    """Attack and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.attacks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="beginning of a name; all when not given")
    parser.add_argument("--command", help="what starts another build, with {port} and {data}")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each attack lasts")
    parser.add_argument("--calm", type=float, default=2.0, help="how long the calm before it is measured, in seconds")
    parser.add_argument("--list", action="store_true", help="say what there is, and attack nothing")
    given = parser.parse_args(arguments)
    attacks = all_attacks()
    wanted = [
        attack for name, attack in attacks.items() if not given.names or any(name.startswith(n) for n in given.names)
    ]
    if not wanted:
        parser.error(f"no attack is called {' or '.join(given.names)}; see --list")
    if given.list:
        for attack in wanted:
            print(f"{attack.name}: {attack.title}\n    kind: {attack.kind}\n    grant: {attack.grant}")
        return 0
    build = Build.of(given.command)
    found: list[Figures] = []
    failed: list[str] = []
    for attack in wanted:
        try:
            figures = asyncio.run(attack(build, given.seconds, given.calm))
        except Exception as error:
            failed.append(attack.name)
            print(f"{attack.name}: could not be played: {error}", flush=True)
            continue
        found.append(figures)
        print(figures.line, flush=True)
        OUT.parent.mkdir(exist_ok=True)
        OUT.write_text(json.dumps([one.record for one in found], indent=1))
    held = sum(figures.holds for figures in found)
    print(f"{held} of {len(wanted)} hold" + (f", {len(failed)} could not be played" if failed else ""))
    return 0 if held == len(wanted) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
