"""Where Redis is, as the operator says it in one URL.

Rules (tests quote these ids):
    HP1  `redis://`, `rediss://` (TLS) and `unix://` name one server; `redis+sentinel://host:port,host:port/name/db`
         asks sentinels for the primary `name`; `redis+cluster://host:port,host:port` names some nodes of a cluster.
         With `rediss+` instead of `redis+` they speak TLS.
    HP2  A user and a password stand in front of the hosts and are percent-encoded. They are the servers'; sentinels get
         those of `?sentinel_username=` and `?sentinel_password=`.
    HP3  What cannot work is a `SettingsError` that says what would. No message, `str` or `repr` holds a password.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from raffia.errors import SettingsError

DEFAULT_PORT = 6379
DEFAULT_SENTINEL_PORT = 26379
FORMS = (
    "redis://[user:password@]host[:port][/db], the same with rediss:// for TLS, unix:///path/to/socket[?db=0], "
    "redis+sentinel://host[:port],host[:port]/name-of-the-primary[/db] or redis+cluster://host[:port],host[:port]"
)


ENCODE = "In a password the characters / ? # @ : and % are written as %2F %3F %23 %40 %3A and %25."


class Kind(Enum):
    """How Redis is deployed."""

    SINGLE = "single"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


class Place(NamedTuple):
    """Where one server listens.

    Attributes:
        host: name or address; the path of the socket when `port` is 0.
        port: TCP port, or 0.
    """

    host: str
    port: int

    def __str__(self) -> str:
        if not self.port:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Access:
    """How a server is spoken to.

    Attributes:
        username: of the ACL; empty for the default user.
        password: empty for none.
        db: number of the database.
        tls: settings of TLS, or None for a plain connection.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    db: int = 0
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """A URL that was read (HP1).

    Attributes:
        kind: how Redis is deployed.
        places: the server, the sentinels, or some nodes of the cluster.
        access: how the servers are spoken to.
        primary: the name under which sentinels know the primary; else empty.
        sentinel_access: how the sentinels are spoken to.
    """

    kind: Kind
    places: tuple[Place, ...]
    access: Access
    primary: str = ""
    sentinel_access: Access = Access()


_SCHEMES = {
    "redis": (Kind.SINGLE, False),
    "rediss": (Kind.SINGLE, True),
    "unix": (Kind.SINGLE, False),
    "redis+sentinel": (Kind.SENTINEL, False),
    "rediss+sentinel": (Kind.SENTINEL, True),
    "redis+cluster": (Kind.CLUSTER, False),
    "rediss+cluster": (Kind.CLUSTER, True),
}
_TLS_OPTIONS = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname"}


def read_url(url: str) -> Address:
    """Read the URL of a Redis (HP1, HP2).

    Raises:
        SettingsError: it cannot work (HP3).
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise SettingsError(f"the URL of Redis cannot be read; write {FORMS}") from None
    if parts.fragment:
        raise SettingsError(f"the URL of Redis holds a #. {ENCODE}")
    if parts.scheme not in _SCHEMES:
        raise SettingsError(f"the URL of Redis starts with {parts.scheme or 'no scheme'!r}; write {FORMS}")
    kind, with_tls = _SCHEMES[parts.scheme]
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    allowed = (
        {"db"}
        if kind is Kind.SINGLE
        else {"sentinel_username", "sentinel_password"}
        if kind is Kind.SENTINEL
        else set()
    )
    known = allowed | (_TLS_OPTIONS if with_tls else set())
    if set(options) - known:  # not said which: it may be the rest of a password
        raise SettingsError(
            f"the URL of Redis has an unknown option; known here: {', '.join(sorted(known)) or 'none'}. {ENCODE}"
        )
    tls = _tls(options) if with_tls else None
    credentials, _, hosts = parts.netloc.rpartition("@")
    name, _, password = credentials.partition(":")
    username, password = unquote(name), unquote(password)
    path = parts.path.strip("/").split("/") if parts.path.strip("/") else []
    if parts.scheme == "unix":
        if hosts or not parts.path.strip("/"):
            raise SettingsError("a unix URL holds the path of a socket: unix:///run/redis/redis.sock")
        return Address(kind, (Place(unquote(parts.path), 0),), Access(username, password, _db(options.get("db"))))
    places = _places(hosts, DEFAULT_SENTINEL_PORT if kind is Kind.SENTINEL else DEFAULT_PORT)
    if kind is Kind.SENTINEL:
        if not 1 <= len(path) <= 2:
            raise SettingsError(
                "a URL of sentinels names the primary they watch: redis+sentinel://host:26379/mymaster/0"
            )
        access = Access(username, password, _db(path[1] if len(path) == 2 else None), tls)
        theirs = Access(options.get("sentinel_username", ""), options.get("sentinel_password", ""), 0, tls)
        return Address(kind, places, access, unquote(path[0]), theirs)
    if kind is Kind.CLUSTER:
        if path not in ([], ["0"]):
            raise SettingsError(f"a Redis cluster has only the database 0; leave it out. {ENCODE}")
        return Address(kind, places, Access(username, password, 0, tls))
    if len(places) != 1 or len(path) > 1:
        raise SettingsError(f"{parts.scheme}:// names one server; write {FORMS}")
    return Address(kind, places, Access(username, password, _db(path[0] if path else options.get("db")), tls))


def _db(text: str | None) -> int:
    if text in (None, ""):
        return 0
    assert text is not None
    if not text.isascii() or not text.isdecimal():
        raise SettingsError(f"the database in the URL of Redis has to be a number, such as 0. {ENCODE}")
    return int(text)


def _places(hosts: str, default_port: int) -> tuple[Place, ...]:
    places = []
    for text in hosts.split(","):
        try:
            one = urlsplit(f"//{text}")
            host, port = one.hostname, one.port
        except ValueError:
            host, port = None, None
        if not host or "/" in text:
            raise SettingsError(f"the URL of Redis has no host where one is due; write host:port. {ENCODE}")
        places.append(Place(host, port if port is not None else default_port))
    return tuple(places)


def _tls(options: dict[str, str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
        if certificate := options.get("ssl_certfile"):
            context.load_cert_chain(certificate, options.get("ssl_keyfile"))
    except OSError as error:  # ssl.SSLError is one
        raise SettingsError(f"the TLS files in the URL of Redis cannot be used: {error}") from None
    required = options.get("ssl_cert_reqs", "required")
    if required not in ("required", "none"):
        raise SettingsError(f"ssl_cert_reqs is {required!r}; it has to be required or none")
    checked = options.get("ssl_check_hostname", "true" if required == "required" else "false").lower()
    if checked not in ("true", "false"):
        raise SettingsError(f"ssl_check_hostname is {checked!r}; it has to be true or false")
    if required == "none" and checked == "true":
        raise SettingsError("ssl_check_hostname=true needs ssl_cert_reqs=required")
    context.check_hostname = checked == "true"
    context.verify_mode = ssl.CERT_REQUIRED if required == "required" else ssl.CERT_NONE
    return context
