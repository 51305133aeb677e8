"""Where Redis is, as the operator states it in one URL: redis-py's forms, and two for several servers.

Rules (tests quote these ids):
    RH1  redis-py reads `redis://`, `rediss://` (TLS) and `unix://`. `redis+sentinel://host:port,host:port/name/db` asks
         sentinels for the primary `name`; `redis+cluster://host:port,host:port` names some nodes of a cluster. With
         `rediss+` in place of `redis+` they use TLS.
    RH2  The user and the password come before the hosts and are percent-encoded. They are for the servers; sentinels
         get `?sentinel_username=` and `?sentinel_password=`.
    RH3  Of redis-py's options, only `db` and those of TLS are accepted: others would retry, or wait longer (E1, E3).
    RH4  An invalid URL is a `SettingsError` that says what would be valid. No message, `str` or `repr` contains a
         password.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from redis.asyncio.connection import Connection, SSLConnection, parse_url
from redis.exceptions import RedisError

from raffia.errors import SettingsError

HOW = (
    "write redis://[user:password@]host[:port][/db], the same with rediss:// for TLS, unix:///path/to/socket[?db=0], "
    "redis+sentinel://host[:port],host[:port]/name-of-the-primary[/db] or redis+cluster://host[:port],host[:port]. "
    "In a password the characters / ? # @ : and % are written as %2F %3F %23 %40 %3A and %25."
)
SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
PORTS = {"": 6379, "sentinel": 26379, "cluster": 6379}
SENTINEL = frozenset({"sentinel_username", "sentinel_password"})
TLS = frozenset(
    {
        *("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_password"),
        *("ssl_cert_reqs", "ssl_check_hostname", "ssl_min_version", "ssl_ciphers"),
    }
)


@dataclass(frozen=True, slots=True)
class Address:
    """A URL that was read (RH1).

    Attributes:
        kind: `sentinel`, `cluster`, or empty for one server.
        places: host and port of the server, the sentinels, or some nodes of the cluster; the path of a socket and 0.
        options: what a connection of redis-py is made with, its class under `connection_class`.
        primary: the name under which sentinels know the primary; else empty.
        sentinel_options: how the sentinels are signed in to.
    """

    kind: str
    places: tuple[tuple[str, int], ...]
    options: dict[str, Any] = field(repr=False)
    primary: str = ""
    sentinel_options: dict[str, str] = field(default_factory=dict, repr=False)


def read_url(url: str) -> Address:
    """Read the URL of a Redis (RH1, RH2).

    Raises:
        SettingsError: it cannot work (RH4).
    """
    try:
        return _read(url)
    except ValueError:  # a port or database that is no number, no host: redis-py's text may hold a password
        raise SettingsError(f"the URL of Redis cannot be read; {HOW}") from None


def _read(url: str) -> Address:
    parts = urlsplit(url)
    scheme, _, kind = parts.scheme.partition("+")
    if parts.scheme not in SCHEMES:
        raise SettingsError(f"the URL of Redis starts with {parts.scheme or 'no scheme'!r}; {HOW}")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    known = ({"db"} if not kind else SENTINEL if kind == "sentinel" else set()) | (TLS if scheme == "rediss" else set())
    if parts.fragment or query.keys() - known:  # not said which: it may be the rest of a password
        names = ", ".join(sorted(known)) or "none"
        raise SettingsError(f"the URL of Redis has a # or an unknown option; known here: {names}; {HOW}")
    path = [unquote(part) for part in parts.path.split("/") if part]
    userinfo, at, hosts = parts.netloc.rpartition("@")
    if scheme == "unix":
        if hosts or not path:
            raise SettingsError("a unix URL holds the path of a socket: unix:///run/redis/redis.sock")
        read: dict[str, Any] = dict(parse_url(url))
        return Address(kind, ((read.pop("path"), 0),), read)
    if kind == "sentinel" and not path:
        raise SettingsError("a URL of sentinels names the primary they watch: redis+sentinel://host:26379/mymaster/0")
    primary = path.pop(0) if kind == "sentinel" else ""
    if len(path) > 1 or (not kind and "," in hosts):
        raise SettingsError(f"{parts.scheme}:// names one server and one database; {HOW}")
    db = int(path[0] if path else query.get("db", 0))
    if kind == "cluster" and db:
        raise SettingsError(f"a Redis cluster has only the database 0; leave it out; {HOW}")
    each: list[dict[str, Any]] = [
        dict(parse_url(f"{scheme}://{userinfo}{at}{host}?{parts.query}")) for host in hosts.split(",")
    ]
    if any("host" not in one for one in each):
        raise ValueError("no host")
    places = tuple((one.pop("host"), one.pop("port", PORTS[kind])) for one in each)
    options = {"connection_class": Connection, **each[0], "db": db}
    theirs = {name.removeprefix("sentinel_"): options.pop(name) for name in SENTINEL & options.keys()}
    try:
        if scheme == "rediss":
            SSLConnection(**{name: value for name, value in options.items() if name in TLS}).ssl_context.get()
    except (OSError, RedisError) as error:  # ssl.SSLError is an OSError
        raise SettingsError(f"the TLS options in the URL of Redis cannot be used: {error}") from None
    return Address(kind, places, options, primary, theirs)
