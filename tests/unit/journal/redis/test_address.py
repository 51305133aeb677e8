"""URLs of Redis (RH1-RH4)."""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import quote

import pytest
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection

from raffia.errors import SettingsError
from raffia.journal.redis.address import read_url
from raffia.journal.redis.client import open_engine
from raffia.journal.redis.topology import Cluster, Primary, Topology


@pytest.mark.parametrize(
    ("url", "kind", "places", "options", "primary"),
    [
        ("redis://host", "", [("host", 6379)], {}, ""),
        ("redis://host:7000/3", "", [("host", 7000)], {"db": 3}, ""),
        ("redis://host?db=4", "", [("host", 6379)], {"db": 4}, ""),
        ("redis://:p%40ss%2F%C3%A9@[::1]:7000", "", [("::1", 7000)], {"password": "p@ss/é"}, ""),
        ("redis://ann:secret@host/0", "", [("host", 6379)], {"username": "ann", "password": "secret"}, ""),
        ("unix:///run/redis.sock?db=1", "", [("/run/redis.sock", 0)], {"db": 1}, ""),
        ("unix://:secret@/run/redis.sock", "", [("/run/redis.sock", 0)], {"password": "secret"}, ""),
        ("redis+sentinel://a,b:7/mymaster", "sentinel", [("a", 26379), ("b", 7)], {}, "mymaster"),
        ("redis+sentinel://:x@a/main/2", "sentinel", [("a", 26379)], {"password": "x", "db": 2}, "main"),
        ("redis+cluster://a,b:7", "cluster", [("a", 6379), ("b", 7)], {}, ""),
        ("redis+cluster://u:x@a/0", "cluster", [("a", 6379)], {"username": "u", "password": "x"}, ""),
    ],
)
def test_rh1_rh2_urls_are_read(
    url: str, kind: str, places: list[tuple[str, int]], options: dict[str, Any], primary: str
) -> None:
    address = read_url(url)
    assert (address.kind, address.places, address.primary) == (kind, tuple(places), primary)
    read = {name: value for name, value in address.options.items() if value}
    assert read.pop("connection_class") is (UnixDomainSocketConnection if url.startswith("unix") else Connection)
    assert read == options


@pytest.mark.parametrize("character", [chr(number) for number in range(0x20, 0x7F)] + ["é", "😀"])
def test_rh2_a_password_may_hold_any_character(character: str) -> None:
    password = f"a{character}b"
    for form in ("redis://:{}@host", "redis+cluster://u:{}@a,b", "redis+sentinel://u:{}@a/main", "unix://:{}@/run/s"):
        assert read_url(form.format(quote(password, safe=""))).options["password"] == password


def connection(url: str) -> SSLConnection:
    made = open_engine(url)._topology.pool(("host", 1), 1).make_connection()
    assert isinstance(made, SSLConnection)
    return made


def test_rh1_tls() -> None:
    context = connection("rediss://host:6380").ssl_context.get()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert connection("rediss+cluster://host?ssl_cert_reqs=none").ssl_context.get().verify_mode is ssl.CERT_NONE
    context = connection("rediss+sentinel://host/main?ssl_check_hostname=false&ssl_min_version=772").ssl_context.get()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, False)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3


def test_rh2_sentinels_have_a_password_of_their_own() -> None:
    address = read_url("rediss+sentinel://u:server@a/main?sentinel_password=theirs&sentinel_username=ann")
    assert address.options["password"] == "server"
    assert address.sentinel_options == {"username": "ann", "password": "theirs"}
    assert not set(address.options) & {"sentinel_username", "sentinel_password"}


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("localhost:6379", "redis://"),
        ("", "redis://"),
        ("http://host", "redis://"),
        ("redis+http://host", "redis://"),
        ("unix+cluster://host", "redis://"),
        ("redis://", "cannot be read"),
        ("redis://a,b", "one server"),
        ("redis://host:port", "cannot be read"),
        ("redis://host/one", "cannot be read"),
        ("redis://host/0/1", "one server"),
        ("redis://host?ssl_cert_reqs=none", "unknown option"),
        ("redis://host?retry_on_timeout=yes", "unknown option"),
        ("redis://host?socket_timeout=60", "unknown option"),
        ("redis://[::1", "redis://"),
        ("unix://host/run/redis.sock", "path of a socket"),
        ("unix://", "path of a socket"),
        ("redis+sentinel://a", "mymaster"),
        ("redis+cluster://a/1", "only the database 0"),
        ("redis+cluster://a,", "cannot be read"),
        ("rediss://host?ssl_cert_reqs=maybe", "cannot be used"),
        ("rediss://host?ssl_ca_certs=/nowhere/ca.pem", "cannot be used"),
    ],
)
def test_rh3_rh4_what_cannot_work_is_said(url: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        open_engine(url)


@pytest.mark.parametrize("character", "/?#@%:[ ,")
@pytest.mark.parametrize(
    "form", ["redis://user:SE{}CRET@host", "redis://:SE{}CRET@host", "redis+cluster://u:9{}CRET@a,b"]
)
def test_rh4_no_message_holds_a_password(form: str, character: str) -> None:
    try:
        said = repr(read_url(form.format(character))) + str(read_url(form.format(character)))
    except SettingsError as error:
        said = str(error)
    assert "CRET" not in said


def test_the_url_chooses_the_topology() -> None:
    assert type(open_engine("redis://host")._topology) is Topology
    assert type(open_engine("unix:///run/redis.sock")._topology) is Topology
    assert type(open_engine("redis+sentinel://host/main")._topology) is Primary
    assert type(open_engine("rediss+cluster://host")._topology) is Cluster
    assert open_engine("redis+cluster://host").is_cluster
    assert not open_engine("redis://host").is_cluster
