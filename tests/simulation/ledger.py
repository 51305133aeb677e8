"""Which edits a log that was cut may lack: exactly those that no live holder has had since.

An item is an insert or a delete. When the log loses it, its holders are noted: clients that may write, and rooms of
replicas. While one of them is alive, the item has to come back; when none is left, it may stay lost.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from raffia.crdt.document import Document
from raffia.crdt.ranges import IdRanges
from raffia.crdt.update import read_update
from tests.simulation.client import SimClient, Token


class Item(NamedTuple):
    """An insert ("+") or a delete ("-")."""

    sign: str
    token: Token


class Known:
    """The items that a state holds."""

    def __init__(self, document: Document) -> None:
        self.clocks, self.deletes = document.clocks, document.deletes

    @classmethod
    def of_update(cls, update: bytes) -> Known:
        facts = read_update(update)
        clocks = {section.client: section.end for section in facts.sections}
        return cls(Document(clocks=clocks, deletes=IdRanges(facts.deletes)))

    def __contains__(self, item: Item) -> bool:
        token = item.token
        if item.sign == "+":
            return self.clocks.get(token.client, 0) >= token.end
        return not self.deletes.new_parts(token.client, [(token.start, token.end)])


@dataclass(slots=True)
class Ledger:
    """The items that the log has lost.

    Attributes:
        at_risk: those that the log still lacks, with their holders.
        gone: those without any holder left.
        losses: how many there were, whether they came back or not.
    """

    at_risk: dict[Item, set[Hashable]] = field(default_factory=dict)
    gone: set[Item] = field(default_factory=set)
    losses: int = 0

    def lost(self, items: Iterable[Item], before: Known, after: Known, holders: dict[Hashable, Known]) -> None:
        """Note what the log has lost by a cut."""
        for item in items:
            if item in before and item not in after:
                self.losses += 1
                self.at_risk[item] = {holder for holder, known in holders.items() if item in known}
                self._sort_out(item)

    def left(self, holder: Hashable) -> None:
        """Remove a holder that is dead."""
        for item, holders in list(self.at_risk.items()):
            holders.discard(holder)
            self._sort_out(item)

    def found(self, log: Known) -> None:
        """Note what the log holds now."""
        self.at_risk = {item: holders for item, holders in self.at_risk.items() if item not in log}

    def _sort_out(self, item: Item) -> None:
        if not self.at_risk[item]:
            del self.at_risk[item]
            self.gone.add(item)

    def may_lack(self, item: Item) -> bool:
        """Whether the log may lack an acknowledged item (now)."""
        return item in self.at_risk or item in self.gone


def items_of(clients: Iterable[SimClient]) -> list[Item]:
    """Everything that these clients ever did."""
    items = []
    for client in clients:
        items += [Item("+", token) for token in client.tokens.values()]
        items += [Item("-", client.tokens[text]) for text in client.deleted]
    return items
