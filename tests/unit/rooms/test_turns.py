"""Fair turns, on a clock that only messages move: TU1-TU7 of turns.py."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Hashable

import pytest

from raffia.rooms.turns import BURST_S, KEPT, LONG_S, SHARE, SLICE_S, Lane, Turns
from raffia.runtime.metrics import Metrics

CHEAP_S = 20e-6
LONGEST_S = 5 * SLICE_S  # of one turn: a slice, a batch that was just begun, and what it left for this turn


class Process:
    """An event loop without time of its own, and its turns."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.cpu_s: float | None = None  # when other processes have taken some of the time
        self.metrics = Metrics()
        self._soon: list[Callable[[], None]] = []
        self.turns = Turns(self.soon, self.metrics, lambda: self.now_s, self._cpu)

    def _cpu(self) -> float:
        return self.now_s if self.cpu_s is None else self.cpu_s

    def soon(self, call: Callable[[], None]) -> None:
        self._soon.append(call)

    def turn(self) -> float:
        """One pass of the loop; returns what it took."""
        began_s = self.now_s
        calls, self._soon = self._soon, []
        for call in calls:
            call()
        return self.now_s - began_s

    @property
    def is_idle(self) -> bool:
        return not self._soon

    def settle(self, most: int = 100_000) -> int:
        """Turns until nothing is left to do; returns how many."""
        for number in range(most):
            if self.is_idle:
                return number
            self.turn()
        raise AssertionError("it goes on for ever")


class Socket:
    """A connection whose messages are what they cost."""

    def __init__(self, process: Process, name: Hashable = None) -> None:
        self.process = process
        self.lane = Lane(process.turns, self, process.turns.principal(name))
        self.reading = True
        self.unread: deque[float] = deque()
        self.handled: list[float] = []
        self.spent_s = 0.0

    def arrive(self, *costs_s: float) -> None:
        """Messages arrive, and the socket is readable."""
        self.unread.extend(costs_s)
        if self.reading:
            self.deliver()

    def deliver(self) -> None:
        if not self.reading or not self.lane.begin():
            return
        while self.unread and self.reading:
            cost_s = self.unread.popleft()
            self.process.now_s += cost_s
            self.spent_s += cost_s
            self.handled.append(cost_s)
            self.lane.check()
        self.lane.end()

    def hold_back(self) -> None:
        self.reading = False

    def read_on(self) -> None:
        assert not self.lane.waits
        self.reading = True
        if self.unread:
            self.process.soon(self.deliver)


@pytest.fixture
def process() -> Process:
    return Process()


def flood(process: Process, name: Hashable, sockets: int, messages: int, cost_s: float = CHEAP_S) -> list[Socket]:
    """So many sockets of one principal, with so many messages each."""
    made = [Socket(process, name) for _ in range(sockets)]
    for socket in made:
        socket.arrive(*[cost_s] * messages)
    return made


def test_tu2_who_takes_less_than_a_share_is_read_at_once(process: Process) -> None:
    ana = Socket(process, "ana")
    for _ in range(1000):
        ana.arrive(CHEAP_S)
        process.now_s += CHEAP_S * (1 / SHARE - 1) + 1e-9
        assert process.is_idle
    assert len(ana.handled) == 1000
    assert process.metrics.turns_waited == 0


def test_tu2_a_burst_is_no_reason_to_wait(process: Process) -> None:
    ana = Socket(process, "ana")
    for _ in range(int(BURST_S / CHEAP_S)):
        ana.arrive(CHEAP_S)
    assert process.metrics.turns_waited == 0


def test_tu3_a_light_one_waits_for_one_slice_whatever_the_others_queue(process: Process) -> None:
    heavy = flood(process, "mallory", 50, 2000)
    ana = Socket(process, "ana")
    for sent in range(1, 300):
        ana.arrive(CHEAP_S)
        assert len(ana.handled) == sent  # at once, in this very turn
        assert process.turn() < LONGEST_S
    assert sum(len(socket.handled) for socket in heavy) > 2000  # who pays more is slower, and not locked out


def test_tu3_nothing_is_lost_and_the_order_is_kept(process: Process) -> None:
    chance = random.Random(3)
    sockets = [Socket(process, chance.choice(["ana", "bo", "mallory", None])) for _ in range(20)]
    sent: list[list[float]] = [[] for _ in sockets]
    for _ in range(3000):
        number = chance.randrange(len(sockets))
        message = CHEAP_S * chance.choice([1, 1, 1, 30, 400]) * (1 + chance.random())
        sent[number].append(message)
        sockets[number].arrive(message)
        if chance.random() < 0.2:
            process.turn()
    process.settle()
    assert [socket.handled for socket in sockets] == sent
    assert process.metrics.turns_waited > 0
    assert process.metrics.turns_waiting == 0
    assert all(socket.reading and not socket.lane.waits for socket in sockets)


def test_tu4_two_principals_share_alike_however_many_lanes_they_have(process: Process) -> None:
    many, one = flood(process, "many", 100, 400), flood(process, "one", 1, 20_000)
    for _ in range(150):
        process.turn()
    costs = [sum(socket.spent_s for socket in sockets) for sockets in (many, one)]
    assert 0.8 < costs[0] / costs[1] < 1.25, costs


def test_tu4_lanes_of_a_principal_take_turns(process: Process) -> None:
    sockets = flood(process, "many", 20, 1000)
    for _ in range(160):
        process.turn()
    counts = [len(socket.handled) for socket in sockets[1:]]  # the first one had the burst
    assert min(counts) > 0
    assert max(counts) < 4 * min(counts), counts


def test_tu4_who_was_idle_goes_next(process: Process) -> None:
    flood(process, "mallory", 50, 5000)
    for _ in range(200):
        process.turn()
    ana = Socket(process, "ana")
    ana.arrive(*[CHEAP_S] * 2000)  # 40 ms at once: not light, but it has cost less than the other
    began_s = process.now_s
    while ana.unread:
        process.turn()
    assert process.now_s - began_s < 2.5 * 2000 * CHEAP_S


def test_tu4_nobody_pays_for_having_been_alone(process: Process) -> None:
    """Who has had all the time there was does not wait until a newcomer has had as much."""
    ana = flood(process, "ana", 1, 100_000)[0]
    for _ in range(500):
        process.turn()
    assert ana.spent_s > 0.9
    flood(process, "bo", 1, 100_000)
    before_s = ana.spent_s
    for _ in range(100):
        process.turn()
    assert ana.spent_s - before_s > 0.3 * 100 * SLICE_S


def test_tu5_alone_it_gets_all_the_time(process: Process) -> None:
    flood(process, "ana", 10, 1000)
    work_s = 10 * 1000 * CHEAP_S
    assert process.settle() < 1.5 * work_s / SLICE_S


def test_tu6_a_batch_is_cut(process: Process) -> None:
    ana = Socket(process, "ana")
    ana.arrive(*[SLICE_S / 3.5] * 50)
    assert len(ana.handled) == 4
    assert not ana.reading
    process.settle()
    assert len(ana.handled) == 50


def test_tu1_what_it_causes_later_counts(process: Process) -> None:
    """A cheap message whose fan-out takes long makes its sender wait."""
    mallory, bo = Socket(process, "mallory"), Socket(process, "bo")
    for socket in (mallory, bo):
        socket.arrive(CHEAP_S)
    began_s = process.now_s
    process.now_s += 2 * BURST_S
    process.turns.charge_all([mallory.lane.principal, None], began_s - 2 * BURST_S)
    process.turns.left_s = 0.0
    mallory.arrive(CHEAP_S)
    bo.arrive(CHEAP_S)
    assert (len(mallory.handled), len(bo.handled)) == (1, 2)
    process.settle()
    assert len(mallory.handled) == 2


def test_tu1_time_of_other_processes_is_not_charged(process: Process) -> None:
    ana = Socket(process, "ana")
    ana.arrive(*[CHEAP_S] * 10)
    process.cpu_s = 0.0
    process.turns._cpu_s = 0.0
    ana.arrive(1.0)  # in which this thread did not run
    assert ana.lane.principal.paid_s - process.now_s <= LONG_S / SHARE + 1e-9


def test_tu7_connecting_again_does_not_help(process: Process) -> None:
    first = flood(process, "mallory", 1, 1000)[0]
    process.settle()
    first.lane.close()
    again = Socket(process, "mallory")
    assert again.lane.principal is first.lane.principal
    process.now_s += 1000.0
    again.lane.close()
    assert Socket(process, "mallory").lane.principal is not first.lane.principal


def test_tu7_the_table_is_bounded(process: Process) -> None:
    for number in range(3 * KEPT):
        socket = Socket(process, number)
        socket.arrive(CHEAP_S)
        socket.lane.close()
        process.now_s += 1.0
    assert len(process.turns._known) <= KEPT


def test_a_connection_that_closes_while_it_waits_is_dropped(process: Process) -> None:
    heavy = flood(process, "mallory", 10, 1000)
    gone = next(socket for socket in heavy if socket.lane.waits)
    handled = len(gone.handled)
    gone.lane.close()
    process.settle()
    assert len(gone.handled) == handled
    assert process.metrics.turns_waiting == 0
    assert all(not socket.unread for socket in heavy if socket is not gone)


def test_a_lane_that_moves_while_it_waits_goes_on(process: Process) -> None:
    """Somebody signs in on it."""
    heavy = flood(process, "198.51.100.1", 10, 1000)
    moved = next(socket for socket in heavy if socket.lane.waits)
    moved.lane.move(process.turns.principal("ana"))
    process.settle()
    assert len(moved.handled) == 1000
