"""The attacks by name. Importing this module imports them all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tools.attacks.enemy import Enemy
    from tools.attacks.figures import Figures
    from tools.attacks.place import Build
    from tools.attacks.scene import Scene

Load = Callable[["Enemy"], Awaitable[None]]
Check = Callable[["Scene"], Awaitable[None]]
ATTACKS: dict[str, Attack] = {}


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack.

    Attributes:
        name: number of the finding and a word.
        title: first line of what it does.
        kind: what it is an instance of.
        grant: what the attacker needs.
        load: the attacker, in a process of its own; attacks until `enemy.over`.
        prepare: what the attacker does before the calm is measured, in the same process.
        short: whether the short form plays it (tests/attacks/test_short_form.py).
        settings, files, replicas: of the server, see `Place`.
        crash: kill the server with SIGKILL after `prepare`, and start it again.
        beside: other honest work that is measured calm and under attack, see `Scene`.
        after: what is measured when the attack is over.
        setup: what is done with the server before the attacker comes.
        seconds: how long it lasts at least.
    """

    name: str
    title: str
    kind: str
    grant: str
    load: Load
    prepare: Load | None = None
    short: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    files: int = 4096
    replicas: int = 0
    crash: bool = False
    beside: Check | None = None
    after: Check | None = None
    setup: Check | None = None
    seconds: float = 0.0

    async def __call__(self, build: Build, seconds: float, calm_s: float) -> Figures:
        """Play it once against a build."""
        from tools.attacks.scene import play

        return await play(self, build, seconds, calm_s)


def attack(name: str, *, kind: str, grant: str, **more: Any) -> Callable[[Load], Load]:
    """Register the coroutine function of an attacker; its docstring says what it does."""

    def register(load: Load) -> Load:
        title = (load.__doc__ or "").strip().splitlines()[0]
        ATTACKS[name] = Attack(name, title, kind, grant, load, **more)
        return load

    return register


def all_attacks() -> dict[str, Attack]:
    """By name, in order."""
    from tools.attacks import kinds

    kinds.load()
    return dict(sorted(ATTACKS.items()))
