"""The keepalive, on a clock of its own."""

from __future__ import annotations

import pytest

from raffia.sockets.server.keepalive import Keepalive


class FakeLoop:
    """`time`, `call_later` and a way to let time pass."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay, callback):
        timer = FakeTimer(self.now + delay, callback)
        self.timers.append(timer)
        return timer

    def run(self, until: float) -> None:
        while True:
            self.timers = [timer for timer in self.timers if not timer.cancelled]
            due = [timer for timer in self.timers if timer.when <= until]
            if not due:
                break
            timer = min(due, key=lambda timer: timer.when)
            self.timers.remove(timer)
            self.now = timer.when
            timer.callback()
        self.now = until


class FakeTimer:
    def __init__(self, when, callback) -> None:
        self.when, self.callback, self.cancelled = when, callback, False

    def cancel(self) -> None:
        self.cancelled = True


class Peer:
    def __init__(self, loop, *, answers=True, takes=0) -> None:
        self.loop, self.answers, self.takes = loop, answers, takes
        self.silent = False
        self.total = 0
        self.pings: list = []
        self.failed: list = []

    def taken(self) -> int:
        self.total += self.takes
        return self.total

    def send_ping(self) -> None:
        assert self.silent
        self.pings.append(self.loop.now)
        self.silent = not self.answers

    def keepalive_failed(self) -> None:
        self.failed.append(self.loop.now)


@pytest.mark.parametrize(("interval", "timeout"), [(20, 20), (20, 5), (5, 20), (20, None)])
def test_pings_those_who_answer(interval, timeout):
    """K1"""
    loop = FakeLoop()
    keepalive = Keepalive(loop, interval, timeout)
    peer = Peer(loop)
    keepalive.add(peer)
    loop.run(200)
    assert not peer.failed
    gaps = [b - a for a, b in zip([0, *peer.pings], peer.pings, strict=False)]
    assert all(interval - 1 <= gap <= max(interval, timeout or 0) + 1 for gap in gaps), gaps
    assert len(gaps) >= 200 // (max(interval, timeout or 0) + 1)


@pytest.mark.parametrize("takes", [0, 1, 2])
def test_ends_those_who_do_not(takes):
    """K3"""
    loop = FakeLoop()
    keepalive = Keepalive(loop, 20, 10)
    peer = Peer(loop, answers=False, takes=takes)
    keepalive.add(peer)
    loop.run(100)
    assert peer.pings == [20]
    assert len(peer.failed) == 1
    assert 29 <= peer.failed[0] <= 31
    assert not loop.timers


def test_spares_those_who_take_what_is_sent():
    """K3"""
    loop = FakeLoop()
    keepalive = Keepalive(loop, 20, 10)
    peer = Peer(loop, answers=False, takes=1000)
    keepalive.add(peer)
    loop.run(100)
    assert not peer.failed
    peer.takes = 0
    loop.run(120)
    assert len(peer.failed) == 1


def test_many_share_ticks():
    """K1"""
    loop = FakeLoop()
    keepalive = Keepalive(loop, 20, 20)
    peers = [Peer(loop) for _ in range(1000)]
    for n, peer in enumerate(peers):
        loop.run(n * 0.02)
        keepalive.add(peer)
    ticks = set()
    loop.run(200)
    for peer in peers:
        ticks.update(peer.pings)
        assert len(peer.pings) >= 8
    assert len(ticks) <= 220


def test_forgets_those_who_left():
    loop = FakeLoop()
    keepalive = Keepalive(loop, 20, 20)
    first, second = Peer(loop), Peer(loop)
    keepalive.add(first)
    keepalive.add(second)
    keepalive.drop(first)
    keepalive.drop(first)
    loop.run(30)
    assert first.pings == []
    assert second.pings == [20]
    keepalive.drop(second)
    loop.run(100)
    assert len(second.pings) == 1
    assert not loop.timers


def test_can_be_switched_off():
    loop = FakeLoop()
    Keepalive(loop, None, 20).add(Peer(loop))
    assert not loop.timers
