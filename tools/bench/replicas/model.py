"""The capacity model: from measured costs to what a deployment needs. Pure; docs/scaling.md shows its formulas.

Rules (tests quote these ids):
    BC1  It assumes the highest cost of a keystroke: each is a separate append, each comes with a cursor movement, and
         nothing is merged on the way. Under load rooms and the journal merge, so real costs are lower.
    BC2  A process or a Redis may use `BUSY` of a core; the rest is for bursts, compaction and restarts.
    BC3  The people on a document are on random replicas (`spread`), or all on one (`together`: hashing on its name).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tools.bench.work import Figures

BUSY = 0.6
CONNECTIONS = 20_000  # of one replica: the default of RAFFIA_MAX_CONNECTIONS
TAIL_UPDATES = 500  # in the log before it is folded: the default of RAFFIA_COMPACT_TAIL_UPDATES
HISTORY_WINDOWS = 360  # ten seconds each, in the hour that history is kept on Redis
_US = 1e-6


@dataclass(frozen=True, slots=True)
class Constants:
    """What was measured, in the units of the names; `KEYS` says where."""

    replica_us_per_append: float
    replica_us_per_followed: float
    replica_us_per_delivery: float
    replica_us_per_room_s: float
    redis_us_per_append: float
    redis_us_per_publish: float
    redis_us_per_message: float
    redis_us_per_room_s: float
    redis_appends_per_s: float
    bytes_per_keystroke: float
    bytes_per_move: float
    commands_per_room_s: float
    kb_per_connection: float
    kb_per_room: float
    redis_bytes_per_room: float
    bytes_per_document: float
    bytes_per_byte: float
    bytes_per_entry: float
    bytes_per_history_window: float
    rooms_per_s: float

    @classmethod
    def of(cls, medians: Mapping[str, Figures]) -> Constants:
        """Pick them out of the parts' figures.

        Raises:
            KeyError: a part has not been measured.
        """
        found = {name: medians[part][key] for name, (part, key, _) in KEYS.items() if key}
        typing, moving = (_out_bytes(medians["commands"], kind) for kind in ("typing", "moving"))
        found["bytes_per_keystroke"] = round(typing, 1)
        found["bytes_per_move"] = round(max(0.0, moving - typing), 1)
        return cls(**found)


def _out_bytes(figures: Figures, kind: str) -> float:
    """Bytes that one replica more gets of each keystroke: the slope between the least and the most replicas."""
    counts = sorted({int(key.split("_")[1]) for key in figures if key.startswith("raffia_")})
    least, most = (figures[f"raffia_{count}_{kind}_out_bytes"] for count in (counts[0], counts[-1]))
    return (most - least) / (counts[-1] - counts[0]) if len(counts) > 1 else least / counts[0]


KEYS: dict[str, tuple[str, str, str]] = {
    "replica_us_per_append": (
        "appends",
        "replica_us_per_append",
        "CPU of a replica: accept, append and acknowledge a keystroke, µs",
    ),
    "replica_us_per_followed": (
        "appends",
        "replica_us_per_followed",
        "CPU of a replica: follow a keystroke from another replica, µs",
    ),
    "replica_us_per_delivery": (
        "appends",
        "replica_us_per_delivery",
        "CPU of a replica: one delivery to one client, µs",
    ),
    "replica_us_per_room_s": ("rooms", "replica_us_per_room_s", "CPU of a replica: an idle open document, µs/s"),
    "redis_us_per_append": ("throughput", "redis_us_heard_by_0", "CPU of Redis: an append, µs"),
    "redis_us_per_publish": ("throughput", "redis_us_per_publish", "CPU of Redis: a cursor movement, µs"),
    "redis_us_per_message": ("throughput", "redis_us_per_message", "CPU of Redis: one message to one replica, µs"),
    "redis_us_per_room_s": ("rooms", "redis_us_per_room_s", "CPU of Redis: an idle open document, per replica, µs/s"),
    "redis_appends_per_s": (
        "throughput",
        "everysec_per_s",
        "appends/s of one Redis before their p99 exceeds 50 ms (everysec)",
    ),
    "bytes_per_keystroke": ("commands", "", "network out of Redis: a keystroke, per replica, bytes"),
    "bytes_per_move": ("commands", "", "network out of Redis: a cursor movement, per replica, bytes"),
    "commands_per_room_s": (
        "rooms",
        "redis_commands_per_room_s",
        "commands to Redis: an idle open document, per replica, 1/s",
    ),
    "kb_per_connection": ("rooms", "kb_per_connection", "memory of a replica: a connection, KB"),
    "kb_per_room": ("rooms", "kb_per_room", "memory of a replica: an open document, without its content, KB"),
    "redis_bytes_per_room": (
        "rooms",
        "redis_bytes_per_room",
        "memory of Redis: an open document, per replica, bytes",
    ),
    "bytes_per_document": (
        "documents",
        "bytes_per_document",
        "memory of Redis: a document at rest, without its content, bytes",
    ),
    "bytes_per_byte": ("documents", "bytes_per_byte", "memory of Redis: a byte of content, bytes"),
    "bytes_per_entry": ("documents", "bytes_per_entry", "memory of Redis: a keystroke before compaction, bytes"),
    "bytes_per_history_window": (
        "documents",
        "bytes_per_history_window",
        "memory of Redis: ten seconds of one author's history, bytes",
    ),
    "rooms_per_s": ("rooms", "reconnect_rooms_per_s", "documents/s a replica resubscribes to after a lost connection"),
}
"""Each constant: its part, its key there ('' when it is computed from several), and what it is."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """Who is there.

    Attributes:
        clients: connected.
        people: on each open document.
        writing: how many of those type.
        per_s: keystrokes a second of each of these, each with a moved cursor.
        stored: documents that exist, for each client.
        stored_bytes: size of one.
    """

    clients: int
    people: float
    writing: float
    per_s: float = 3.0
    stored: float = 10.0
    stored_bytes: float = 20_000.0


@dataclass(frozen=True, slots=True)
class Needs:
    """What it takes. CPU in cores that are busy, memory in GB, network in MB/s."""

    documents: float
    keystrokes_per_s: float
    deliveries_per_s: float
    spread: float
    replica_cores: float
    replicas: int
    replica_gb: float
    redis_ops_per_s: float
    redis_messages_per_s: float
    redis_cores: float
    redis_servers: int
    redis_mb_per_s: float
    redis_gb: float


def spread_over(people: float, replicas: int) -> float:
    """On how many replicas a document is open when each of its people is on one by chance (BC3)."""
    return replicas * (1.0 - math.pow(1.0 - 1.0 / replicas, people))


def needs(constants: Constants, crowd: Crowd, *, together: bool) -> Needs:
    """What a crowd takes, with as few replicas as do (BC1, BC2)."""
    replicas = 1
    while True:
        found = _with(constants, crowd, 1.0 if together else spread_over(crowd.people, replicas))
        if found.replicas <= replicas:
            return found
        replicas = found.replicas


def _with(of: Constants, crowd: Crowd, spread: float) -> Needs:
    documents = crowd.clients / crowd.people
    keystrokes = documents * crowd.writing * crowd.per_s
    changes = 2 * keystrokes  # the text and the cursor
    deliveries = changes * (crowd.people - 1)
    replica_us = (
        keystrokes * of.replica_us_per_append
        + changes * (spread - 1) * of.replica_us_per_followed
        + deliveries * of.replica_us_per_delivery
        + documents * spread * of.replica_us_per_room_s
    )
    messages = changes * spread
    redis_us = (
        keystrokes * (of.redis_us_per_append + of.redis_us_per_publish)
        + messages * of.redis_us_per_message
        + documents * spread * of.redis_us_per_room_s
    )
    redis_cores = redis_us * _US
    by_rate = keystrokes / of.redis_appends_per_s if of.redis_appends_per_s else 0.0
    stored = crowd.clients * crowd.stored * (of.bytes_per_document + crowd.stored_bytes * of.bytes_per_byte)
    live = documents * (spread * of.redis_bytes_per_room + TAIL_UPDATES * of.bytes_per_entry)
    past = documents * crowd.writing * HISTORY_WINDOWS * of.bytes_per_history_window
    return Needs(
        documents,
        keystrokes,
        deliveries,
        spread,
        replica_us * _US,
        max(math.ceil(replica_us * _US / BUSY), math.ceil(crowd.clients / CONNECTIONS), 1),
        (crowd.clients * of.kb_per_connection + documents * spread * of.kb_per_room) * 1024 / 1e9,
        changes + documents * spread * of.commands_per_room_s,
        messages,
        redis_cores,
        max(math.ceil(redis_cores / BUSY), math.ceil(by_rate / BUSY), 1),
        keystrokes * spread * (of.bytes_per_keystroke + of.bytes_per_move) / 1e6,
        (stored + live + past) / 1e9,
    )
