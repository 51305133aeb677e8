"""What is said about a server's setup (SU1, SU2), scripts (SC1, SC2)."""

from __future__ import annotations

import hashlib

import pytest
from redis.exceptions import ResponseError

from raffia.errors import InternalError, JournalUnavailableError
from raffia.journal.redis.scripts import FOLDER, load_script, make_script, script_names
from raffia.journal.redis.setup_check import judge

SERVER = b"# Server\r\nredis_version:7.0.15\r\n"
GOOD = b"aof_enabled:1\r\naof_last_write_status:ok\r\n"
MEMORY = b"maxmemory:0\r\nmaxmemory_policy:noeviction\r\n"
FORBIDDEN = ResponseError("NOPERM this user has no permissions to run the 'config|get' command")


def config(name: str, value: str) -> list[bytes]:
    return [name.encode(), value.encode()]


def survey(
    server: object = SERVER,
    persistence: object = GOOD,
    memory: object = MEMORY,
    fsync: str = "everysec",
    save: str = "",
) -> list[str]:
    more = [b"cluster_enabled:0\r\n", b"role:master\r\n", config("appendfsync", fsync), config("save", save)]
    return judge("host:1", [server, persistence, memory, *more])


def test_su1_nothing_is_said_when_all_is_well() -> None:
    assert survey() == []


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"server": b"redis_version:6.2.9\r\n"}, ["version 6.2.9", "7.0"]),
        ({"persistence": b"aof_enabled:0\r\n"}, ["nothing survives", "appendonly yes"]),
        ({"persistence": b"aof_enabled:0\r\n", "save": "3600 1"}, ["snapshots", "appendonly yes"]),
        ({"fsync": "no"}, ["appendfsync no", "everysec"]),
        ({"persistence": b"aof_enabled:1\r\naof_last_write_status:err\r\n"}, ["could not write", "disk"]),
        ({"memory": b"maxmemory:1000\r\nmaxmemory_policy:allkeys-lru\r\n"}, ["allkeys-lru", "noeviction"]),
    ],
)
def test_su1_each_danger_is_one_sentence(wrong: dict[str, bytes], says: list[str]) -> None:
    [sentence] = survey(**wrong)  # type: ignore[arg-type]
    for part in ["host:1", *says]:
        assert part in sentence
    assert sentence.endswith(".")


def test_su1_a_policy_without_a_limit_drops_nothing() -> None:
    assert survey(memory=b"maxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n") == []
    assert survey(memory=b"maxmemory:9\r\nmaxmemory_policy:volatile-lru\r\n") == []


def test_su2_what_may_not_be_asked_is_said() -> None:
    [how] = judge("x", [SERVER, GOOD, MEMORY, *[FORBIDDEN] * 4])
    assert "cannot find out how" in how
    assert "appendfsync" in how
    [whether] = judge("x", [FORBIDDEN] * 7)
    assert "cannot find out whether" in whether
    [sentence] = judge("x", [SERVER, b"aof_enabled:0\r\n", MEMORY, *[FORBIDDEN] * 4])
    assert "appendonly yes" in sentence
    assert judge("x", [JournalUnavailableError("away")] * 7) == []


def test_su1_the_wrong_kind_of_url() -> None:
    replies = [SERVER, GOOD, MEMORY, b"cluster_enabled:1\r\n", b"role:slave\r\n", [], []]
    assert judge("host:1", replies, as_cluster=True) == []
    node, replica = judge("host:1", replies)
    assert "redis+cluster://host:1" in node
    assert "replica" in replica


def test_sc1_scripts_are_files() -> None:
    for name in script_names():
        script = load_script(name)
        assert (script.name, script.source) == (name, (FOLDER / f"{name}.lua").read_text())
        assert script.sha == hashlib.sha1(script.source.encode()).hexdigest()
    with pytest.raises(InternalError, match="no Lua script 'missing'"):
        load_script("missing")


def test_sc2_the_text_is_sent_as_it_is() -> None:
    assert make_script("x", "return 'é'").sha == hashlib.sha1("return 'é'".encode()).hexdigest()
