"""Fair turns: who costs the event loop most is read less. No I/O; the clock and the event loop are arguments.

A *principal* is who pays: a user, a link or token, an address (IPv6 by /64), or else one connection by itself. A *lane*
is one connection. A *turn* is one pass of the event loop.

Rules (tests quote these ids):
    TU1  What a batch of messages costs is measured and not estimated: the seconds of the event loop's thread from its
         first message to its last, whatever its bytes look like. What a batch causes later (sending an edit to the
         readers, reporting it as stored) is charged to the same principal.
    TU2  A principal that takes less than `SHARE` of the event loop's time is light. Its lanes are read at once.
    TU3  Lanes of the others wait: their sockets are not read, and what was read from them stays where it is, in order.
         In each turn, some of them go on, for `SLICE_S` together. So a light principal waits for one slice, however
         much the others have sent.
    TU4  The principal that has cost least goes first, and among its lanes the one that has waited longest. One that
         was idle starts level with those that are being served, and so is served next.
    TU5  Nobody waits for nothing: a principal that is alone gets all the time that there is.
    TU6  A batch ends when it has taken `SLICE_S`. The rest waits, in order.
    TU7  A principal is remembered until its costs are paid, so that connecting again does not make it light.
    TU8  Tasks, such as signing in and opening a document, are measured step by step. They wait for their turns as lanes
         do, before they begin.
    TU9  A principal opens `OPENINGS` documents at once and `OPENINGS_PER_S` a second after that: each takes memory for
         a while, although it costs little time.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Hashable, Sequence
from heapq import heappop, heappush, heapreplace
from itertools import count
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from raffia.runtime.metrics import Metrics

T = TypeVar("T")

SLICE_S = 0.002
SHARE = 0.25
BURST_S = 0.005  # of cost, which a light principal may cause at once
AHEAD_S = BURST_S / SHARE
LONG_S = 0.001  # a batch of this length may contain time of other processes, so that the CPU's clock is read as well
MAX_DEBT_S = 4 * SLICE_S  # of a turn that took too long
MAX_LEAD_S = 2.0  # what one principal may be behind the others
LEAST_S = 20e-6  # of a batch, when it is not known yet
OPENINGS, OPENINGS_PER_S = 1000, 100  # TU9; one connection may have so many documents
KEPT = 4096  # principals without a lane, before those whose costs are paid are dropped


class Paused(Protocol):
    """A connection as its lane sees it."""

    def hold_back(self) -> None:
        """Stop reading the socket, and keep what was read from it."""

    def read_on(self) -> None:
        """Read the socket again, unless there is another reason not to."""


class Payer(Protocol):
    """Something that a principal pays for."""

    principal: Principal


class Principal:
    """Who pays for one or more lanes.

    Attributes:
        paid_s: the time on the clock by which its costs are paid, at `SHARE` seconds a second (TU2).
        cost_s: what it has cost, as far as that matters for who goes first (TU4).
        batch_s: what a batch of it costs lately.
        queue: its lanes that wait, longest first.
        is_queued: whether it is among those that wait.
        lanes: how many lanes it has.
        opened_s: the time on the clock by which the documents that it has opened are paid (TU9).
    """

    __slots__ = ("batch_s", "cost_s", "is_queued", "lanes", "name", "opened_s", "paid_s", "queue")

    def __init__(self, name: Hashable = None) -> None:
        self.name = name
        self.paid_s = 0.0
        self.opened_s = 0.0
        self.cost_s = 0.0
        self.batch_s = 0.0
        self.queue: deque[Lane] | None = None
        self.is_queued = False
        self.lanes = 0

    def unpaid(self, now_s: float) -> bool:
        """Whether it has to be remembered (TU7)."""
        return self.paid_s > now_s or self.opened_s > now_s


class Turns:
    """The turns of all connections of one process.

    Args:
        call_soon: calls a function in the next turn of the event loop.
        metrics: counters.
        clock: seconds that pass; cheap to read.
        cpu: seconds of CPU time of this thread; not so cheap.
    """

    __slots__ = (
        "_call_soon",
        "_cpu",
        "_cpu_s",
        "_heap",
        "_is_scheduled",
        "_known",
        "_level_s",
        "_metrics",
        "_numbers",
        "_sweep_at",
        "clock",
        "left_s",
        "number",
    )

    def __init__(
        self,
        call_soon: Callable[[Callable[[], None]], object],
        metrics: Metrics,
        clock: Callable[[], float],
        cpu: Callable[[], float],
    ) -> None:
        self._call_soon = call_soon
        self._metrics = metrics
        self.clock = clock
        self._cpu = cpu
        self._cpu_s = 0.0
        self._known: dict[Hashable, Principal] = {}
        self._sweep_at = KEPT
        self._heap: list[tuple[float, int, Principal]] = []
        self._numbers = count()
        self._level_s = 0.0  # the cost of those that are being served
        self._is_scheduled = False
        self.number = 0  # of this turn, as far as any were counted
        self.left_s = SLICE_S  # for principals that are not light, in this turn

    # -- principals ------------------------------------------------------------------------------------------------

    def principal(self, name: Hashable) -> Principal:
        """The principal with this name; None for one of its own."""
        if name is None:
            return Principal()
        known = self._known.get(name)
        if known is None:
            if len(self._known) >= self._sweep_at:
                self._sweep()
            known = self._known[name] = Principal(name)
        return known

    def _sweep(self) -> None:
        """Forget the principals that have no lane and have paid (TU7)."""
        now_s = self.clock()
        self._known = {name: one for name, one in self._known.items() if one.lanes or one.unpaid(now_s)}
        self._sweep_at = max(KEPT, 2 * len(self._known))

    def joined(self, principal: Principal) -> None:
        """Count a lane of a principal."""
        principal.lanes += 1

    def left(self, principal: Principal) -> None:
        """Count the end of a lane."""
        principal.lanes -= 1
        if self._known.get(principal.name) is principal and not principal.lanes and not principal.unpaid(self.clock()):
            del self._known[principal.name]

    def is_light(self, principal: Principal) -> bool:
        """Whether a principal's work is done at once (TU2)."""
        return principal.paid_s - self.clock() <= AHEAD_S

    # -- costs -----------------------------------------------------------------------------------------------------

    def charge(self, principal: Principal, began_s: float, part: float = 1.0) -> None:
        """Charge the time since `clock()` was `began_s`, or a part of it (TU1)."""
        now_s = self.clock()
        spent_s = now_s - began_s
        if spent_s > LONG_S:
            before_s, self._cpu_s = self._cpu_s, self._cpu()
            spent_s = min(spent_s, max(LONG_S, self._cpu_s - before_s))
        if part != 1.0:
            spent_s *= part
        paid_s = principal.paid_s
        paid_s = principal.paid_s = (paid_s if paid_s > now_s else now_s) + spent_s / SHARE  # noqa: FURB136 - hot
        if paid_s - now_s > AHEAD_S:
            self.left_s -= spent_s
            principal.cost_s = min(principal.cost_s + spent_s, self._level_s + MAX_LEAD_S)
            principal.batch_s += (spent_s - principal.batch_s) / 8

    def charge_all(self, principals: Sequence[Principal | None], began_s: float) -> None:
        """Charge the time since `clock()` was `began_s` to some in equal parts; None is the server itself."""
        if len(principals) == 1 and principals[0] is not None:
            self.charge(principals[0], began_s)
            return
        for principal, number in Counter(principals).items():
            if principal is not None:
                self.charge(principal, began_s, number / len(principals))

    def metered(self, payer: Payer, work: Coroutine[Any, Any, T]) -> Awaitable[T]:
        """Return an awaitable that does `work` and charges each step of it (TU8)."""
        return _Metered(self, payer, work)

    def opening_wait_s(self, principal: Principal) -> float:
        """Count a document that a principal opens; returns how long it has to wait before that (TU9)."""
        now_s = self.clock()
        principal.opened_s = max(principal.opened_s, now_s) + 1 / OPENINGS_PER_S
        return max(0.0, principal.opened_s - now_s - OPENINGS / OPENINGS_PER_S)

    # -- turns -----------------------------------------------------------------------------------------------------

    @property
    def is_contended(self) -> bool:
        """Whether lanes wait."""
        return bool(self._heap)

    def serve(self, principal: Principal, *, has_waited: bool) -> None:
        """Note that a principal that is not light is served now."""
        if principal.cost_s > self._level_s:
            self._level_s = principal.cost_s
        elif not has_waited:
            principal.cost_s = self._level_s  # TU4
        self._schedule()

    def wait(self, lane: Lane, *, first: bool = False) -> None:
        """Let a lane wait for its turn (TU3)."""
        self._metrics.turns_waited += 1
        self._metrics.turns_waiting += 1
        principal = lane.principal
        if principal.queue is None:
            principal.queue = deque()
        if first:
            principal.queue.appendleft(lane)
        else:
            principal.queue.append(lane)
        if not principal.is_queued:
            principal.is_queued = True
            principal.cost_s = max(principal.cost_s, self._level_s)  # TU4
            heappush(self._heap, (principal.cost_s, next(self._numbers), principal))
        self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._call_soon(self._turn)

    def _turn(self) -> None:
        """Let lanes go on, as many as are expected to fit into this turn (TU3)."""
        self._is_scheduled = False
        self.number += 1
        # Fresh in each turn in which there is something to be fair about: see `since`.
        self._cpu_s = self._cpu()
        self.left_s = min(SLICE_S, max(self.left_s, -MAX_DEBT_S) + SLICE_S)
        expected_s = self.left_s
        heap = self._heap
        while heap and expected_s > 0:
            cost_s, _, principal = heap[0]
            if principal.cost_s > cost_s and principal.queue:  # it has cost more since it was put there
                heapreplace(heap, (principal.cost_s, next(self._numbers), principal))
                continue
            if not principal.queue:
                heappop(heap)
                principal.is_queued = False
                principal.queue = None
                continue
            expected_s -= max(LEAST_S, principal.batch_s)
            self._metrics.turns_waiting -= 1
            principal.queue.popleft().go_on(self.number)
        if heap or self.left_s < SLICE_S:
            self._schedule()


class _Metered(Generic[T]):
    """An awaitable whose steps are charged (TU8)."""

    __slots__ = ("_payer", "_turns", "_work")

    def __init__(self, turns: Turns, payer: Payer, work: Coroutine[Any, Any, T]) -> None:
        self._turns = turns
        self._payer = payer
        self._work = work

    def __await__(self) -> Generator[Any, Any, T]:
        turns, work = self._turns, self._work
        step = work.send
        value: Any = None
        while True:
            began_s = turns.clock()
            try:
                waits_for = step(value)
            except StopIteration as end:
                result: T = end.value
                return result
            finally:
                turns.charge(self._payer.principal, began_s)
            try:
                value = yield waits_for
                step = work.send
            except BaseException as error:  # noqa: BLE001 - handed on
                value, step = error, work.throw


class Lane:
    """One connection: whoever reads its socket asks `begin` before a batch of messages and calls `end` after it.

    Args:
        turns: of the process.
        paused: the connection.
        principal: who pays.

    Attributes:
        principal: who pays.
        waits: whether it waits for its turn.
    """

    __slots__ = ("_began_s", "_number", "_paused", "_turns", "principal", "waits")

    def __init__(self, turns: Turns, paused: Paused, principal: Principal) -> None:
        self._turns = turns
        self._paused: Paused | None = paused
        self._number = -1  # of the turn in which it may go on
        self._began_s = 0.0
        self.principal = principal
        self.waits = False
        turns.joined(principal)

    def move(self, principal: Principal) -> None:
        """Let another principal pay from now on."""
        if principal is not self.principal:
            self._turns.left(self.principal)
            self.principal = principal
            self._turns.joined(principal)

    def begin(self) -> bool:
        """Ask whether a batch may be handled now; if not, the lane waits, and `Paused.read_on` is called later."""
        turns, principal = self._turns, self.principal
        now_s = self._began_s = turns.clock()
        if self.waits:
            return False
        if principal.paid_s - now_s <= AHEAD_S or self._paused is None:
            return True
        has_waited = self._number == turns.number
        if turns.left_s > 0 and (has_waited or not turns.is_contended):
            turns.serve(principal, has_waited=has_waited)
            return True
        self._wait(first=has_waited)
        return False

    def check(self) -> None:
        """Between two messages of a batch: stop reading if it has taken its slice (TU6)."""
        if self._turns.clock() - self._began_s > SLICE_S and not self.waits and self._paused is not None:
            self._wait()

    def end(self) -> None:
        """Charge for what was done since `begin` (TU1)."""
        self._turns.charge(self.principal, self._began_s)

    def _wait(self, *, first: bool = False) -> None:
        assert self._paused is not None
        self.waits = True
        self._paused.hold_back()
        self._turns.wait(self, first=first)

    def go_on(self, number: int) -> None:
        """Let it go on in this turn; called by `Turns`."""
        self.waits = False
        self._number = number
        if self._paused is not None:
            self._paused.read_on()

    def close(self) -> None:
        """The connection is over."""
        if self._paused is not None:
            self._paused = None
            self._turns.left(self.principal)
