"""The ports of tests: nobody talks to another test's server (SUP1, SUP2 of tests/support/ports.py)."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support import ports
from tests.support.server import ROOT, RaffiaServer

OTHERS = """
from tests.support import ports
ports.FIRST, ports.LAST = {first}, {last}
try:
    while True:
        print(ports.free_port())
except RuntimeError:
    pass
"""


def test_sup2_processes_are_never_given_the_same_port(monkeypatch: pytest.MonkeyPatch) -> None:
    first = ports.free_port()
    monkeypatch.setattr(ports, "_taken", {first})
    monkeypatch.setattr(ports, "FIRST", first)
    monkeypatch.setattr(ports, "LAST", first + 15)
    mine = {ports.free_port() for _ in range(3)}
    assert len(mine) == 3
    assert first not in mine
    code = OTHERS.format(first=first, last=first + 15)
    others = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    theirs = [int(line) for line in others.stdout.splitlines()]
    assert theirs  # some may belong to tests that run beside this one
    assert len(theirs) == len(set(theirs))
    assert not {first, *mine} & set(theirs)
    assert ports.free_port() not in {first, *mine}  # the other process has ended, and its ports are free again


def test_sup2_a_port_at_which_a_stranger_listens_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    port = ports.free_port()
    with socket.create_server(("127.0.0.1", port)):
        monkeypatch.setattr(ports, "_taken", set())
        monkeypatch.setattr(ports, "FIRST", port)
        monkeypatch.setattr(ports, "LAST", port)
        with pytest.raises(RuntimeError, match="no free port"):
            ports.free_port()


def test_sus2_a_server_does_not_start_where_another_one_answers(tmp_path: Path) -> None:
    with RaffiaServer(tmp_path / "one") as one:
        two = RaffiaServer(tmp_path / "two")
        two.port = one.port
        with pytest.raises(RuntimeError, match="another server answers"):
            two.start()
        assert not two.running
