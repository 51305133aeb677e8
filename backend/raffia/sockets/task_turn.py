"""A task that waits for its turn as a connection does (TU8 of turns.py)."""

from __future__ import annotations

import asyncio

from raffia.rooms.turns import Lane, Principal, Turns


class TaskTurn:
    """One task's turn.

    Args:
        turns: of the process.
        principal: who pays.
    """

    __slots__ = ("_lane", "_may_begin")

    def __init__(self, turns: Turns, principal: Principal) -> None:
        self._lane = Lane(turns, self, principal)
        self._may_begin: asyncio.Future[None] | None = None

    async def wait(self) -> None:
        """Wait for it; at once if the principal is light."""
        try:
            while not self._lane.begin():  # others of this principal may have taken the slice
                assert self._may_begin is not None
                await self._may_begin
        finally:
            self._lane.close()

    def hold_back(self) -> None:
        """Called when it has to wait."""
        self._may_begin = asyncio.get_running_loop().create_future()

    def read_on(self) -> None:
        """Called when its turn has come."""
        if self._may_begin is not None and not self._may_begin.done():
            self._may_begin.set_result(None)
