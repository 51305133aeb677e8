"""The engine that a URL asks for."""

from __future__ import annotations

from raffia.journal.redis.address import Kind, read_url
from raffia.journal.redis.cluster import ClusterEngine
from raffia.journal.redis.connections import TIMEOUT_S, SingleEngine
from raffia.journal.redis.engine import Engine
from raffia.journal.redis.sentinel import SentinelEngine


def open_engine(url: str, *, timeout_s: float = TIMEOUT_S) -> Engine:
    """The engine for `url` (address.py says which there are); nothing is connected before it is entered.

    Args:
        url: where Redis is.
        timeout_s: longest time of a call.

    Raises:
        SettingsError: the URL cannot work; it says what would.
    """
    address = read_url(url)
    kinds: dict[Kind, type[SingleEngine] | type[SentinelEngine] | type[ClusterEngine]] = {
        Kind.SINGLE: SingleEngine,
        Kind.SENTINEL: SentinelEngine,
        Kind.CLUSTER: ClusterEngine,
    }
    return kinds[address.kind](address, timeout_s=timeout_s)
