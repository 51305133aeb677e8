"""A listener that records its calls, and waiting for them with a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

WAIT_S = 15.0


async def until(condition: Callable[[], object], what: str, deadline_s: float = WAIT_S) -> float:
    """Poll until `condition` holds; returns the seconds that took."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    while not condition():
        assert loop.time() - began_s < deadline_s, f"not within {deadline_s:g} s: {what}"
        await asyncio.sleep(0.005)
    return loop.time() - began_s


class Ears:
    """Records the calls of a `Listener`.

    Attributes:
        messages: (channel, payload), in order.
        told: everything else, in order: `confirmed <channel>`, `disconnected`.
    """

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self.told: list[str] = []

    def heard(self, channel: str, payload: bytes) -> None:
        self.messages.append((channel, payload))

    def confirmed(self, channel: str) -> None:
        self.told.append(f"confirmed {channel}")

    def disconnected(self) -> None:
        self.told.append("disconnected")

    @property
    def channels(self) -> list[str]:
        """Channels that were confirmed, in order."""
        return [text.removeprefix("confirmed ") for text in self.told if text.startswith("confirmed ")]

    async def confirmation(self, channel: str) -> float:
        """Wait for a channel to be confirmed; returns the seconds that took."""
        return await until(lambda: channel in self.channels, f"{channel} is confirmed; told: {self.told}")
