"""What new documents begin with. Seeded on the server alone: two editors that seed an empty document seed it twice.

Rules (tests quote these ids):
    SE1  Every document of the app says its kind and its schema in its root map `meta`, from its first update on.
    SE2  A rich text begins with one empty paragraph, so that no editor adds its own.
    SE3  A template that is not there, or is of another kind, is refused.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from typing import Any, Final, NamedTuple

from raffia.crdt.build import make
from raffia.errors import MalformedError
from raffia.seeds.boards import BOARDS
from raffia.seeds.texts import TEXTS

SCHEMA: Final = 1  # of what the app's editors write and read


class Seed(NamedTuple):
    """A template."""

    id: str
    kind: str
    title: str
    description: str
    content: dict[str, Any]


SEEDS: Final = [Seed(*one) for one in (*TEXTS, *BOARDS)]
_BLANK: Final[dict[str, dict[str, Any]]] = {"document": {"blocks": [{"type": "paragraph"}]}}


def seed_of(template: str | None, kind: str) -> Seed | None:
    """The template of this id; None for none.

    Raises:
        MalformedError: there is no such template of this kind (SE3).
    """
    if template is None:
        return None
    found = next((seed for seed in SEEDS if seed.id == template and seed.kind == kind), None)
    if found is None:
        raise MalformedError(f"there is no template {template[:40]!r} of kind {kind}; see /api/templates")
    return found


def first_update(kind: str, title: str, seed: Seed | None) -> bytes:
    """What a new document holds (SE1, SE2)."""
    content = _BLANK.get(kind, {}) if seed is None else seed.content
    return make({"title": title, "kind": kind, "schema": SCHEMA}, content)
