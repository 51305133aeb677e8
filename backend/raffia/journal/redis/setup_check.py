"""Checks how a Redis server is set up and warns the operator about possible data loss.

Rules (tests quote these ids):
    SU1  Settings that can lose documents or prevent edits are reported, in one sentence each that says what to do.
    SU2  Most of them are in `INFO`. If a setting that may lose documents cannot be looked up, that is reported too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from redis.exceptions import ResponseError

from raffia.journal.redis.engine import Argument, Reply
from raffia.journal.redis.replies import read_info

OLDEST: Final = (7, 0)
QUESTIONS: tuple[tuple[Argument, ...], ...] = (
    ("INFO", "server"),
    ("INFO", "persistence"),
    ("INFO", "memory"),
    ("INFO", "cluster"),
    ("INFO", "replication"),
    ("CONFIG", "GET", "appendfsync"),
    ("CONFIG", "GET", "save"),
)
"""The commands sent to a server; `judge` takes the replies."""
_INFOS: Final = 5


def judge(where: str, replies: Sequence[Reply], *, as_cluster: bool = False) -> list[str]:
    """Return the warnings about one server (SU1).

    Args:
        where: how the warnings name the server.
        replies: the replies to `QUESTIONS`.
        as_cluster: whether Raffia uses it as a node of a cluster.
    """
    info = {name: value for reply in replies[:_INFOS] for name, value in read_info(reply).items()}
    config = {name: value for reply in replies[_INFOS:] for name, value in _config(reply).items()}
    found = []
    version = info.get("redis_version", "")
    if version and _number(version) < OLDEST:
        found.append(f"Redis at {where} is version {version}, but Raffia needs 7.0 or newer.")
    if info.get("cluster_enabled") == "1" and not as_cluster:
        found.append(
            f"Redis at {where} is a node of a cluster and refuses most documents; write redis+cluster://{where}."
        )
    if info.get("role") == "slave" and not as_cluster:
        found.append(f"Redis at {where} is a replica and takes no edits; name its primary, or ask sentinels for it.")
    if "aof_enabled" not in info and isinstance(replies[1], ResponseError):
        found.append(
            f"Raffia cannot find out whether Redis at {where} keeps an append-only file, since it may not ask "
            "(INFO persistence): without one, what was acknowledged is lost when it restarts."
        )
    elif info.get("aof_enabled") == "0":
        instead = "only what its snapshots (save) hold survives" if config.get("save") else "nothing survives"
        found.append(
            f"Redis at {where} keeps no append-only file: {instead} when it restarts, although it was acknowledged; "
            "set appendonly yes."
        )
    elif config.get("appendfsync") == "no":
        found.append(
            f"Redis at {where} leaves it to the system when its file is written (appendfsync no): a power cut can lose "
            "half a minute of acknowledged edits; set appendfsync everysec, or always."
        )
    elif isinstance(replies[_INFOS], ResponseError):
        found.append(
            f"Raffia cannot find out how Redis at {where} writes its append-only file, since it may not ask "
            "(CONFIG GET): look up appendfsync, which has to be everysec or always."
        )
    if info.get("aof_last_write_status", "ok") != "ok":
        found.append(f"Redis at {where} could not write its append-only file; look at its disk and its log.")
    policy = info.get("maxmemory_policy", "")
    if policy.startswith("allkeys") and info.get("maxmemory", "0") != "0":
        found.append(
            f"Redis at {where} drops any key when its memory is full (maxmemory-policy {policy}): whole documents "
            "would be lost; set maxmemory-policy noeviction."
        )
    return found


def _config(reply: Reply) -> Mapping[str, str]:
    if isinstance(reply, ResponseError) or not isinstance(reply, list):
        return {}  # forbidden, or unknown (SU2)
    texts = [item.decode(errors="replace") if isinstance(item, bytes) else str(item) for item in reply]
    return dict(zip(texts[::2], texts[1::2], strict=False))


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
