"""URLs of Redis (HP1-HP3)."""

from __future__ import annotations

import ssl

import pytest

from raffia.errors import SettingsError
from raffia.journal.redis.address import Access, Kind, Place, read_url
from raffia.journal.redis.cluster import ClusterEngine
from raffia.journal.redis.connections import SingleEngine
from raffia.journal.redis.opening import open_engine
from raffia.journal.redis.sentinel import SentinelEngine


@pytest.mark.parametrize(
    ("url", "kind", "places", "access", "primary"),
    [
        ("redis://host", Kind.SINGLE, [("host", 6379)], Access(), ""),
        ("redis://host:7000/3", Kind.SINGLE, [("host", 7000)], Access(db=3), ""),
        ("redis://host?db=4", Kind.SINGLE, [("host", 6379)], Access(db=4), ""),
        ("redis://:p%40ss%2F%C3%A9@[::1]:7000", Kind.SINGLE, [("::1", 7000)], Access(password="p@ss/é"), ""),
        ("redis://ann:secret@host/0", Kind.SINGLE, [("host", 6379)], Access("ann", "secret"), ""),
        ("unix:///run/redis.sock?db=1", Kind.SINGLE, [("/run/redis.sock", 0)], Access(db=1), ""),
        ("unix://:secret@/run/redis.sock", Kind.SINGLE, [("/run/redis.sock", 0)], Access(password="secret"), ""),
        ("redis+sentinel://a,b:7/mymaster", Kind.SENTINEL, [("a", 26379), ("b", 7)], Access(), "mymaster"),
        ("redis+sentinel://:x@a/main/2", Kind.SENTINEL, [("a", 26379)], Access(password="x", db=2), "main"),
        ("redis+cluster://a,b:7", Kind.CLUSTER, [("a", 6379), ("b", 7)], Access(), ""),
        ("redis+cluster://u:x@a/0", Kind.CLUSTER, [("a", 6379)], Access("u", "x"), ""),
    ],
)
def test_hp1_hp2_urls_are_read(
    url: str, kind: Kind, places: list[tuple[str, int]], access: Access, primary: str
) -> None:
    address = read_url(url)
    assert (address.kind, address.places, address.access, address.primary) == (
        kind,
        tuple(Place(*place) for place in places),
        access,
        primary,
    )


def test_hp1_tls() -> None:
    address = read_url("rediss://host:6380")
    assert address.access.tls is not None
    assert address.access.tls.verify_mode is ssl.CERT_REQUIRED
    assert address.access.tls.check_hostname
    unchecked = read_url("rediss+cluster://host?ssl_cert_reqs=none").access.tls
    assert unchecked is not None
    assert unchecked.verify_mode is ssl.CERT_NONE
    no_name = read_url("rediss://host?ssl_check_hostname=false").access.tls
    assert no_name is not None
    assert (no_name.verify_mode, no_name.check_hostname) == (ssl.CERT_REQUIRED, False)


def test_hp2_sentinels_have_a_password_of_their_own() -> None:
    address = read_url("rediss+sentinel://u:server@a/main?sentinel_password=theirs&sentinel_username=ann")
    assert (address.access.password, address.sentinel_access.password) == ("server", "theirs")
    assert address.sentinel_access.username == "ann"
    assert address.sentinel_access.tls is address.access.tls is not None


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("localhost:6379", "redis://"),
        ("", "redis://"),
        ("http://host", "redis://"),
        ("redis://", "host:port"),
        ("redis://a,b", "one server"),
        ("redis://host:port", "host:port"),
        ("redis://host/one", "number"),
        ("redis://host/0/1", "one server"),
        ("redis://host?ssl_cert_reqs=none", "unknown option"),
        ("redis://[::1", "redis://"),
        ("unix://host/run/redis.sock", "path of a socket"),
        ("unix://", "path of a socket"),
        ("redis+sentinel://a", "mymaster"),
        ("redis+cluster://a/1", "only the database 0"),
        ("rediss://host?ssl_cert_reqs=maybe", "required or none"),
        ("rediss://host?ssl_ca_certs=/nowhere/ca.pem", "cannot be used"),
        ("rediss://host?ssl_cert_reqs=none&ssl_check_hostname=true", "needs"),
    ],
)
def test_hp3_what_cannot_work_is_said(url: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        open_engine(url)


@pytest.mark.parametrize("character", "/?#@%:[ ,")
@pytest.mark.parametrize(
    "form", ["redis://user:SE{}CRET@host", "redis://:SE{}CRET@host", "redis+cluster://u:9{}CRET@a,b"]
)
def test_hp3_no_message_holds_a_password(form: str, character: str) -> None:
    try:
        said = repr(read_url(form.format(character))) + str(read_url(form.format(character)))
    except SettingsError as error:
        said = str(error)
    assert "CRET" not in said


def test_the_url_chooses_the_engine() -> None:
    assert type(open_engine("redis://host")) is SingleEngine
    assert type(open_engine("unix:///run/redis.sock")) is SingleEngine
    assert type(open_engine("redis+sentinel://host/main")) is SentinelEngine
    assert type(open_engine("rediss+cluster://host")) is ClusterEngine
    assert open_engine("redis+cluster://host").is_cluster
    assert not open_engine("redis://host").is_cluster
