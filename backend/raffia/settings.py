"""Every setting of Raffia: its name, unit, default and bounds, in one place.

Rules (tests quote these ids):
    C1  A setting `max_update_bytes` is the flag `--max-update-bytes` of `raffia serve` and the variable
        `RAFFIA_MAX_UPDATE_BYTES`; a flag wins over the variable, the variable over the default. docs/settings.md is
        made from this file.
    C2  Settings never change after they were read. What depends on several of them is a property.
    C3  A value that cannot work is refused at the start, by name, with what would work.
    C4  Sizes are bytes (`16MiB` and `16777216` are the same), times are seconds: names say the unit.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from raffia.errors import SettingsError

HOUR_S, DAY_S = 3600.0, 86400.0
KIB = 1024
MIB = 1024 * KIB
ENV_PREFIX = "RAFFIA_"
FRAME_OVERHEAD_BYTES = 4 * KIB  # type, lengths and a Hocuspocus address around an update of the largest size

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMG]?)(I?)B?\s*", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3}


def parse_size_bytes(value: object) -> object:
    """Read a size such as `64KiB`, `1.5 MB` or `65536` into bytes; leaves what is not text as it is (C4)."""
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value)
    if match is None:
        raise ValueError(f"{value!r} is not a size; write bytes, or a number with KiB, MiB or GiB")
    number, prefix, binary = match.groups()
    base = 1024 if binary else 1000
    return int(float(number) * base ** _POWERS[prefix.upper()])


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


Size = Annotated[int, BeforeValidator(parse_size_bytes), Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Amount = Annotated[int, Field(ge=0)]  # 0 is no limit
AmountBytes = Annotated[int, BeforeValidator(parse_size_bytes), Field(ge=0)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


GROUPS = {
    "host": "Serving",
    "authorize": "Access",
    "max_update_bytes": "Limits",
    "outbox_high_bytes": "Fan-out",
    "redis": "Redis",
    "room_idle_s": "Rooms and storage",
}
"""The first setting of each group, for the help and the docs."""


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address without a port, means this machine only."""
    name = host.strip("[]").lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


class Settings(BaseSettings):
    """What an operator can choose; read once, from arguments and `RAFFIA_*` variables (C1, C2)."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="forbid", validate_default=True)

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one and prints it.")
    data: Path = Field(Path("raffia-data"), description="Folder that holds everything; made when missing.")
    root_path: str = Field("", description="Path under which a proxy serves Raffia, such as `/raffia`.")
    forwarded_allow_ips: str = Field(
        "127.0.0.1",
        description="Addresses of proxies, separated by commas, whose `X-Forwarded-For` and `-Proto` are believed; "
        "`*` for all.",
    )
    tls_certificate: Path | None = Field(None, description="PEM file with the certificate chain, to serve TLS itself.")
    tls_key: Path | None = Field(None, description="PEM file with the certificate's private key.")
    page: bool = Field(True, description="Serve the browser app at `/`.")
    metrics: bool = Field(True, description="Serve `/metrics`.")
    metrics_token: SecretStr | None = Field(
        None, description="Bearer token that `/metrics` asks for; without one everybody who reaches it may read it."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least important logged level.")
    log_format: Literal["auto", "text", "json"] = Field(
        "auto", description="How log lines look; `auto` is text on a terminal and JSON elsewhere."
    )
    drain_s: Seconds = Field(
        10.0, description="Longest time a stopping process waits until everything is durable and sockets are closed."
    )
    ready_grace_s: Seconds = Field(
        10.0, description="`/readyz` turns 503 when the journal has been away for longer than this."
    )

    authorize: str | None = Field(
        None,
        description="The hook that grants access, as `module:function`. Without one, and without keys, Raffia is open: "
        "everybody may edit every document.",
    )
    open_to_the_network: bool = Field(
        False, description="Start without a hook on an address that other machines reach: everybody there may edit."
    )
    allowed_origins: Names = Field(
        (),
        description="Origins, separated by commas, whose pages may connect, beside Raffia's own: "
        "`https://app.example.com`. REST answers carry CORS headers for the same ones.",
    )
    auth_key_file: Path | None = Field(
        None,
        description="File with the keys that tokens are verified with: PEM, a JWK set, or secrets, one a line. "
        "See docs/security.md.",
    )
    auth_jwks_url: str | None = Field(
        None, description="The same, from an identity provider: URL of its JWK set, `https` only."
    )
    auth_audience: Names = Field(
        (), description="What a token's `aud` has to name, one of these, separated by commas; needed with a URL."
    )
    auth_issuer: str | None = Field(None, description="What a token's `iss` has to be.")
    auth_claim: str = Field("raffia", min_length=1, description="Name of the claim that says which documents.")
    auth_leeway_s: float = Field(30.0, ge=0, le=600, description="How far the clock of a token's maker may differ.")
    auth_max_lifetime_s: Seconds | None = Field(
        None, description="Longest time that a token may still be good for; longer ones are refused."
    )
    auth_jwks_max_age_s: float = Field(
        600.0, ge=10, description="How long fetched keys are used; from half of it on they are fetched anew."
    )
    auth_refresh_s: Seconds = Field(
        60.0, description="How long before a grant ends a Hocuspocus client is asked for a fresh token."
    )

    max_update_bytes: Size = Field(16 * MIB, description="Largest update taken; an offline client's first can be big.")
    max_document_bytes: Size = Field(64 * MIB, description="Largest document; edits that go over it are refused.")
    max_presence_bytes: Size = Field(16 * KIB, description="Largest presence message of one session.")
    max_presence_per_s: Count = Field(60, description="Presence messages per second and session; more are dropped.")
    max_step1_per_s: Count = Field(
        10, description="Requests for a document's state per second and session: each may be answered with megabytes."
    )
    max_updates_per_s: Amount = Field(
        2000,
        description="Updates per second and session, for longer than ten seconds; one that sends more is read more "
        "slowly. 0 for no limit.",
    )
    max_bytes_per_s: AmountBytes = Field(
        8 * MIB, description="Bytes of updates likewise; a connection may carry four times that. 0 for no limit."
    )
    max_messages_per_s: Amount = Field(
        10_000, description="Messages of any kind per second and connection, likewise. 0 for no limit."
    )
    max_sign_ins_per_s: Amount = Field(
        100, description="Tokens per second and Hocuspocus connection, likewise: each is verified. 0 for no limit."
    )
    too_fast_s: Seconds = Field(
        60.0, description="Who goes on sending too fast for so long is closed with 1013, which means later."
    )
    max_connections_per_address: Amount = Field(
        1000, description="Connections of one address (IPv6: of one /64) to one process. 0 for no limit."
    )
    max_handshakes_per_address_per_s: Amount = Field(
        200, description="New connections per second and address; ten seconds' worth may come at once. 0 for no limit."
    )
    max_failures_per_address_per_s: Amount = Field(
        20,
        description="Refused sign-ins per second and address, likewise; more are refused unread. 0 for no limit.",
    )
    max_sessions_per_document: Count = Field(5000, description="Sessions on one document of one process.")
    max_connections: Count = Field(20_000, description="Connections of one process.")
    max_documents_per_connection: Count = Field(1000, description="Documents one Hocuspocus connection may open.")
    max_waiting_updates: Count = Field(
        1024, description="Updates per session that may wait for updates they refer to; full closes with 1013."
    )
    max_waiting_bytes: Size = Field(16 * MIB, description="Bytes per session that may wait likewise.")
    max_unsaved_bytes: Size = Field(
        64 * MIB, description="Bytes of one document that may wait for the journal; past it edits are refused (1013)."
    )
    max_token_bytes: Size = Field(8 * KIB, description="Largest token that is looked at.")
    preauth_bytes: Size = Field(64 * KIB, description="Bytes a connection may send per document before it is let in.")
    preauth_documents: Count = Field(100, description="Documents a connection may ask for before it is let in.")
    preauth_s: Seconds = Field(10.0, description="Time a connection has to be let in, the hook's answer included.")

    outbox_high_bytes: Size = Field(
        256 * KIB, description="A reader with more than this unsent is slow: it gets one update when it has caught up."
    )
    outbox_low_bytes: Size = Field(64 * KIB, description="A slow reader has caught up when fewer than this are unsent.")
    coalesce_factor: float = Field(
        10.0, ge=0, description="After a flush that took d seconds a room is not flushed again for this times d."
    )
    journal_pause_s: float | None = Field(
        None,
        ge=0,
        description="Pause of a document between two writes to the journal; what comes meanwhile shares one. Unless "
        "set 0.03, and 0.01 with Redis, since other replicas wait for it.",
    )
    coalesce_max_s: float = Field(0.004, ge=0, description="Longest time that edits wait for a flush so.")
    keepalive_s: Seconds = Field(
        15.0,
        le=20,  # rooms look every 5 s, and clients leave after 30 s of silence
        description="A connection that was sent nothing for so long gets an empty presence message; "
        "clients leave after 30 s of silence.",
    )

    redis: SecretStr | None = Field(
        None,
        description="URL of Redis, which makes this process a replica: `redis://host:6379/0`, `rediss://` with TLS, "
        "`redis+sentinel://host:26379,host:26379/master`, `redis+cluster://host:6379,host:6379`. Documents are then "
        "kept there and not in the data folder.",
    )
    redis_prefix: str = Field(
        "raffia", pattern=r"^[A-Za-z0-9._:-]{1,64}$", description="What all keys in Redis begin with."
    )
    redis_timeout_s: Seconds = Field(3.0, description="Longest time one call to Redis may take.")
    redis_check_s: Seconds = Field(
        5.0, description="Pause between two comparisons of the open documents with the ends of their logs in Redis."
    )

    room_idle_s: Seconds = Field(30.0, description="A room without sessions is closed after this.")
    retention_s: Seconds | None = Field(
        None,
        description="How long every moment of a document's history can be rebuilt. Unless set a day (86400), and an "
        "hour (3600) in Redis, which keeps it in memory.",
    )
    keep_deleted: bool = Field(
        False, description="Keep deleted content in documents, for editors that run with `gc: false`."
    )
    compact_tail_bytes: Size = Field(
        64 * KIB, description="Least size of the log behind a snapshot before both are folded into a new one."
    )
    compact_tail_updates: Count = Field(
        500, description="Updates in the log behind a snapshot that have it folded too."
    )
    compact_tail_fraction: float = Field(
        0.5, gt=0, description="Size of that log, as a fraction of the snapshot, from which folding is worth it."
    )
    files: str | None = Field(
        None,
        description="Where uploaded files are kept: `file:///shared/folder`, `s3://bucket/path`, `gs://bucket/path` or "
        "`az://container/path`, with credentials from the environment. Unless set the data folder; with Redis it has "
        "to be set, or nothing can be uploaded.",
    )
    max_file_bytes: Size = Field(10 * MIB, description="Largest file that can be uploaded.")
    max_document_files_bytes: Size = Field(200 * MIB, description="Most bytes that all files of a document may have.")
    worker_threshold_bytes: Size = Field(
        1 * MIB, description="Documents over this size are merged and read in another process, off the event loop."
    )
    worker_processes: Count = Field(1, description="Processes for such work; started when first needed.")

    @property
    def max_frame_bytes(self) -> int:
        """Largest WebSocket message that is read at all: the largest update and what is around it, in bytes."""
        return self.max_update_bytes + FRAME_OVERHEAD_BYTES

    @property
    def max_outbox_bytes(self) -> int:
        """Bytes that may ever wait for one reader, which is cut off beyond: some documents of the largest size."""
        return 4 * self.max_document_bytes

    @property
    def append_pause_s(self) -> float:
        """Pause between two appends of a document: `journal_pause_s`, or what suits the store."""
        if self.journal_pause_s is not None:
            return self.journal_pause_s
        return 0.03 if self.redis is None else 0.01

    @property
    def history_s(self) -> float:
        """How long history is kept: `retention_s`, or what suits the store."""
        if self.retention_s is not None:
            return self.retention_s
        return DAY_S if self.redis is None else HOUR_S

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine reaches `host`."""
        return is_loopback(self.host)

    @property
    def has_tokens(self) -> bool:
        """Whether Raffia verifies tokens by itself."""
        return self.auth_key_file is not None or self.auth_jwks_url is not None

    @model_validator(mode="after")
    def _combinations_work(self) -> Self:
        """Refuse what cannot work together (C3)."""
        if self.outbox_low_bytes >= self.outbox_high_bytes:
            raise ValueError(
                f"outbox_low_bytes is {self.outbox_low_bytes} but has to be below "
                f"outbox_high_bytes, {self.outbox_high_bytes}"
            )
        for name in ("max_document_bytes", "max_waiting_bytes", "max_unsaved_bytes"):
            if getattr(self, name) < self.max_update_bytes:
                raise ValueError(
                    f"{name} is {getattr(self, name)} but one update may have max_update_bytes, "
                    f"{self.max_update_bytes}; raise the one or lower the other"
                )
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key belong together; set both or neither")
        if self.auth_key_file is not None and self.auth_jwks_url is not None:
            raise ValueError("auth_key_file and auth_jwks_url are two places for keys; set one of them")
        if self.auth_jwks_url is not None and not self.auth_audience:
            raise ValueError(
                "auth_jwks_url needs auth_audience: without it a token that the provider made for another app would do"
            )
        if self.root_path and not self.root_path.startswith("/"):
            raise ValueError(f"root_path is {self.root_path!r} but has to start with /")
        return self


def load_settings(**values: Any) -> Settings:
    """Read the settings: `values`, then `RAFFIA_*` variables, then defaults (C1).

    Raises:
        SettingsError: a value that cannot work, with its flag and its variable (C3).
    """
    try:
        return Settings(**values)
    except ValidationError as error:
        raise SettingsError("; ".join(_say(item) for item in error.errors())) from None


def _say(item: Any) -> str:
    message = str(item["msg"]).removeprefix("Value error, ")
    if not item["loc"]:
        return message
    name = str(item["loc"][0])
    return f"--{name.replace('_', '-')} ({ENV_PREFIX}{name.upper()}): {message}"
