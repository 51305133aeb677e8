"""All targets by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tools.fuzz.channel import Channel
from tools.fuzz.corpus import Corpus
from tools.fuzz.documents import Documents, Exact, Views
from tools.fuzz.doors import ClaimsJson, Frames, Tokens
from tools.fuzz.sockets import Conversation, Sockets
from tools.fuzz.stored import Entries, Records, Relayed, Tables
from tools.fuzz.targets import (
    Gate,
    History,
    Hocuspocus,
    Lib0,
    Presence,
    StateVectors,
    Target,
    Updates,
    YWebsocket,
)

TARGETS: dict[str, Callable[[Corpus], Target]] = {
    "lib0": Lib0,
    "ywebsocket": YWebsocket,
    "hocuspocus": Hocuspocus,
    "update": Updates,
    "sv": StateVectors,
    "presence": Presence,
    "document": Gate,
    "history": History,
    "documents": Documents,
    "exact": Exact,
    "views": Views,
    "tables": Tables,
    "relay": Relayed,
    "entries": Entries,
    "records": Records,
    "channel": Channel,
    "conversation": Conversation,
    "sockets": Sockets,
    "frames": Frames,
    "claims": ClaimsJson,
    "tokens": Tokens,
}
ALIASES: dict[str, Sequence[str]] = {"wire": ("ywebsocket", "hocuspocus"), "all": tuple(TARGETS)}


def seeds(name: str, corpus: Corpus) -> list[bytes]:
    """The initial inputs of a target; each is accepted, or refused by name."""
    lists = {
        "lib0": corpus.numbers,
        "ywebsocket": corpus.ywebsocket,
        "hocuspocus": corpus.hocuspocus,
        "update": corpus.updates,
        "sv": corpus.state_vectors,
        "presence": corpus.payloads,
        "document": corpus.updates,
    }
    if name in lists:
        return lists[name]
    return getattr(TARGETS[name](corpus), "seeds", list)()
