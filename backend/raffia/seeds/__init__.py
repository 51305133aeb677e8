"""Initial content of new documents. The server writes it, because two editors that open an empty one might both do so.

Rules (tests quote these ids):
    SE1  The first update of a new document sets its kind and schema in the root map `meta`.
    SE2  A rich text begins with one empty paragraph, so that editors do not add their own.
    SE3  A template that does not exist, or is of another kind, is refused.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from typing import Any, Final, NamedTuple

from raffia.crdt.build import make
from raffia.errors import MalformedError
from raffia.seeds.boards import BOARDS
from raffia.seeds.texts import TEXTS

SCHEMA: Final = 1  # version of what the app's editors read and write


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
    """The template with this id; None if `template` is None.

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
    """The first update of a new document (SE1, SE2)."""
    content = _BLANK.get(kind, {}) if seed is None else seed.content
    return make({"title": title, "kind": kind, "schema": SCHEMA}, content)
