"""00: nobody attacks. What does not hold here is a fault of the machine or of the harness."""

from __future__ import annotations

from tools.attacks.enemy import Enemy
from tools.attacks.registry import attack


@attack("00-control", kind="no attack", grant="none", short=True)
async def nothing(enemy: Enemy) -> None:
    """Nothing is done."""
    await enemy.rest_of_time()
