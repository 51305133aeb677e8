"""All settings of Raffia, with their names, units, defaults and bounds.

Rules (tests quote these ids):
    C1  A setting `max_update_bytes` is the flag `--max-update-bytes` of `raffia serve` and the variable
        `RAFFIA_MAX_UPDATE_BYTES`. A flag takes precedence over the variable, the variable over the default.
        docs/settings.md is generated from this file.
    C2  Settings never change after they have been read. Values derived from several settings are properties.
    C3  An invalid value or combination is rejected at startup, with the setting's name and a value that would work.
    C4  Sizes are in bytes (`16MiB` and `16777216` are the same), times in seconds; the name ends in the unit.
    C5  A secret can be in a file that the variable with `_FILE` at its end names: `RAFFIA_REDIS_FILE` for
        `RAFFIA_REDIS`. White space at the end of the file does not belong to it. Setting both is an error.
    C6  An unknown `RAFFIA_*` variable is a warning, not an error: it may be a typo, but orchestrators define some of
        their own.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from raffia.errors import SettingsError

HOUR_S, DAY_S = 3600.0, 86400.0
KIB = 1024
MIB = 1024 * KIB
ENV_PREFIX = "RAFFIA_"
FRAME_OVERHEAD_BYTES = 4 * KIB  # message type, lengths and Hocuspocus address around the largest update

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMG]?)(I?)B?\s*", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3}


def parse_size_bytes(value: object) -> object:
    """Parse a size such as `64KiB`, `1.5 MB` or `65536` into bytes; returns values that are not text unchanged (C4)."""
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
Amount = Annotated[int, Field(ge=0)]  # 0 means no limit
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
"""The first setting of each group, for the help text and the docs."""


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address without a port, refers to this machine only."""
    name = host.strip("[]").lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


class _SecretFiles(PydanticBaseSettingsSource):
    """Reads secrets from the files that variables name (C5)."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        """The secret of one setting; None if no file is named."""
        variable = f"{ENV_PREFIX}{field_name.upper()}"
        path = os.environ.get(f"{variable}_FILE")
        if path is None or not is_secret(field):
            return None, field_name, False
        if variable in os.environ:
            raise SettingsError(f"{variable} and {variable}_FILE are set; set one of them")
        try:
            return Path(path).read_text().rstrip(), field_name, False
        except (OSError, ValueError) as error:
            raise SettingsError(f"{variable}_FILE: cannot read {path}: {error}") from error

    def __call__(self) -> dict[str, Any]:
        """The secrets, by setting."""
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


def is_secret(field: Any) -> bool:
    """Whether a setting, given by its field, is a secret."""
    return bool(field.annotation == SecretStr | None)


class Settings(BaseSettings):
    """The settings, read once from arguments and `RAFFIA_*` variables (C1, C2)."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="forbid", validate_default=True)

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 selects a free port and logs it.")
    data: Path = Field(default=Path("raffia-data"), description="Folder for all data; created if it does not exist.")
    root_path: str = Field(
        default="", description="Path under which a proxy serves Raffia, such as `/raffia`; the proxy has to strip it."
    )
    forwarded_allow_ips: str = Field(
        default="127.0.0.1",
        description="Addresses of proxies, separated by commas, whose `X-Forwarded-For` and `X-Forwarded-Proto` "
        "headers are trusted; `*` for all.",
    )
    tls_certificate: Path | None = Field(default=None, description="PEM file with the certificate chain, to serve TLS.")
    tls_key: Path | None = Field(default=None, description="PEM file with the private key of the certificate.")
    page: bool = Field(default=True, description="Serve the browser app at `/`.")
    metrics: bool = Field(default=True, description="Serve `/metrics`.")
    metrics_token: SecretStr | None = Field(
        default=None,
        description="Bearer token that `/metrics` requires; without one, anyone who can reach it can read it.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Lowest level that is logged."
    )
    log_format: Literal["auto", "text", "json"] = Field(
        default="auto", description="Format of log lines; `auto` means text on a terminal and JSON otherwise."
    )
    drain_s: Seconds = Field(
        default=10.0,
        description="Time that a stopping process allows for storing everything and closing its sockets.",
    )
    ready_grace_s: Seconds = Field(
        default=10.0, description="`/readyz` returns 503 once the journal has been unavailable for longer than this."
    )

    authorize: str | None = Field(
        default=None,
        description="The hook that grants access, as `module:function`. Without a hook and without keys, Raffia is "
        "open: anyone who can connect can edit every document.",
    )
    open_to_the_network: bool = Field(
        default=False,
        description="Allow open mode on an address that other machines can reach: anyone there can edit every "
        "document.",
    )
    allowed_origins: Names = Field(
        default=(),
        description="Origins, separated by commas, whose pages may connect in addition to Raffia's own, such as "
        "`https://app.example.com`. REST responses carry CORS headers for the same origins.",
    )
    auth_key_file: Path | None = Field(
        default=None,
        description="File with the keys for verifying tokens: PEM, a JWK set, or secrets, one per line. "
        "See docs/security.md.",
    )
    auth_jwks_url: str | None = Field(
        default=None,
        description="URL of an identity provider's JWK set, used instead of a key file: `https`, or `http` on this "
        "machine.",
    )
    auth_audience: Names = Field(
        default=(),
        description="Audiences, separated by commas, one of which a token's `aud` must contain; required with a URL.",
    )
    auth_issuer: str | None = Field(default=None, description="Required value of a token's `iss`.")
    auth_claim: str = Field(default="raffia", min_length=1, description="Name of the claim that lists the documents.")
    auth_leeway_s: float = Field(
        default=30.0,
        ge=0,
        le=600,
        description="Tolerated difference between the clocks of Raffia and the token issuer.",
    )
    auth_max_lifetime_s: Seconds | None = Field(
        default=None, description="Longest lifetime of a token; tokens that are valid for longer are rejected."
    )
    auth_jwks_max_age_s: float = Field(
        default=600.0,
        ge=10,
        description="How long fetched keys are used; after half of this time they are fetched again.",
    )
    auth_refresh_s: Seconds = Field(
        default=60.0,
        description="How long before its grant ends, at the earliest, a Hocuspocus client is asked for a fresh token.",
    )

    max_update_bytes: Size = Field(
        default=16 * MIB,
        description="Largest update of a live session. What a client brings back when it connects, after offline work "
        "or when the server has lost it, may be as large as a document.",
    )
    max_document_bytes: Size = Field(
        default=64 * MIB, description="Largest document; edits that would exceed it are refused."
    )
    max_open_documents_bytes: Size | None = Field(
        default=None,
        description="Memory that all open documents of one process may take together, by an estimate: twice their "
        "size. Beyond that, unused ones are closed, and then documents are not opened and edits are refused. The "
        "default is half of the memory of the machine or of the process's control group.",
    )
    max_presence_bytes: Size = Field(default=16 * KIB, description="Largest presence state of one client, as JSON.")
    max_presence_per_s: Count = Field(
        default=60, description="Presence messages per second and session; beyond that, only the latest state is sent."
    )
    max_step1_per_s: Count = Field(
        default=10,
        description="Requests for the document state per second and session; each response can be megabytes.",
    )
    max_updates_per_s: Amount = Field(
        default=2000,
        description="Updates per second and session, averaged over ten seconds; faster sessions are read more slowly. "
        "0 for no limit.",
    )
    max_bytes_per_s: AmountBytes = Field(
        default=8 * MIB,
        description="Bytes of updates per second and session, limited in the same way; a connection may carry four "
        "times as many. 0 for no limit.",
    )
    max_messages_per_s: Amount = Field(
        default=10_000,
        description="Messages of any kind per second and connection, limited in the same way. 0 for no limit.",
    )
    max_sign_ins_per_s: Amount = Field(
        default=100,
        description="Tokens per second and Hocuspocus connection, limited in the same way. 0 for no limit.",
    )
    too_fast_s: Seconds = Field(
        default=60.0,
        description="A client that keeps sending too fast for this long is disconnected with 1013 (try again later).",
    )
    max_connections_per_address: Amount = Field(
        default=1000, description="Connections from one address (IPv6: one /64) to one process. 0 for no limit."
    )
    max_handshakes_per_address_per_s: Amount = Field(
        default=200, description="New connections per second and address, averaged over ten seconds. 0 for no limit."
    )
    max_failures_per_address_per_s: Amount = Field(
        default=20,
        description="Refused sign-ins per second and address, averaged over ten seconds; beyond that, attempts are "
        "refused unchecked. 0 for no limit.",
    )
    max_sessions_per_document: Count = Field(default=5000, description="Sessions on one document in one process.")
    max_connections: Count = Field(default=20_000, description="Connections to one process.")
    max_documents_per_connection: Count = Field(
        default=1000, description="Documents that one Hocuspocus connection can open."
    )
    max_waiting_updates: Count = Field(
        default=1024,
        description="Updates per session that may wait for missing updates they depend on; beyond that, the connection "
        "is closed with 1013.",
    )
    max_waiting_bytes: Size = Field(default=16 * MIB, description="Bytes of such waiting updates per session.")
    max_unsaved_bytes: Size = Field(
        default=64 * MIB,
        description="Bytes of one document that may wait for the journal; beyond that, edits are refused (1013).",
    )
    max_token_bytes: Size = Field(default=8 * KIB, description="Largest token that is accepted.")
    preauth_bytes: Size = Field(
        default=64 * KIB, description="Bytes of messages per document that a connection may send before sign-in."
    )
    preauth_documents: Count = Field(
        default=100, description="Documents that a connection may have waiting for sign-in."
    )
    preauth_s: Seconds = Field(default=10.0, description="Time limit for signing in, including the hook's answer.")

    outbox_high_bytes: Size = Field(
        default=256 * KIB,
        description="A reader with more unsent bytes than this is slow: it gets a single update once it has caught up.",
    )
    outbox_low_bytes: Size = Field(
        default=64 * KIB, description="A slow reader has caught up once it has fewer unsent bytes."
    )
    coalesce_factor: float = Field(
        default=10.0,
        ge=0,
        description="After a flush that took d seconds, a room waits this many times d before the next flush.",
    )
    journal_pause_s: float | None = Field(
        default=None,
        ge=0,
        description="Pause between two journal writes of a document; edits that arrive in between share one write. The "
        "default is 0.03, or 0.01 with Redis, because other replicas wait for it.",
    )
    coalesce_max_s: float = Field(
        default=0.004, ge=0, description="Upper limit of the wait that `--coalesce-factor` causes."
    )
    keepalive_s: Seconds = Field(
        default=15.0,
        le=20,  # rooms look every 5 s, and clients leave after 30 s of silence
        description="A session that was sent nothing for this long gets an empty presence message; clients disconnect "
        "after 30 s of silence.",
    )

    redis: SecretStr | None = Field(
        default=None,
        description="URL of Redis, which makes this process a replica: `redis://host:6379/0`, `rediss://` with TLS, "
        "`redis+sentinel://host:26379,host:26379/master`, or `redis+cluster://host:6379,host:6379`. Documents are then "
        "stored in Redis instead of the data folder.",
    )
    redis_prefix: str = Field(
        default="raffia", pattern=r"^[A-Za-z0-9._:-]{1,64}$", description="Prefix of all keys in Redis."
    )
    redis_timeout_s: Seconds = Field(default=3.0, description="Timeout of one call to Redis.")
    redis_check_s: Seconds = Field(
        default=5.0,
        description="Pause between two checks of the open documents against the ends of their logs in Redis.",
    )

    room_idle_s: Seconds = Field(default=30.0, description="A room without sessions is closed after this time.")
    retention_s: Seconds | None = Field(
        default=None,
        description="For how long every moment of a document's history can be rebuilt. The default is a day (86400), "
        "or an hour (3600) in Redis, which keeps history in memory.",
    )
    keep_deleted: bool = Field(
        default=False, description="Keep deleted content in documents, for editors that run with `gc: false`."
    )
    compact_tail_bytes: Size = Field(
        default=64 * KIB,
        description="The log after a snapshot is compacted once it exceeds this size and `--compact-tail-fraction`.",
    )
    compact_tail_updates: Count = Field(
        default=500, description="The log is also compacted once it has this many updates; more for large snapshots."
    )
    compact_tail_fraction: float = Field(
        default=0.5,
        gt=0,
        description="Size of the log, as a fraction of the snapshot, that it must exceed for compaction.",
    )
    files: str | None = Field(
        default=None,
        description="Where uploaded files are stored: `file:///shared/folder`, `s3://bucket/path`, `gs://bucket/path` "
        "or `az://container/path`, with credentials from the environment. The default is the data folder; with Redis "
        "this must be set, otherwise nothing can be uploaded.",
    )
    max_file_bytes: Size = Field(default=10 * MIB, description="Largest file that can be uploaded.")
    max_document_files_bytes: Size = Field(
        default=200 * MIB, description="Maximum total size of the files of one document."
    )
    worker_threshold_bytes: Size = Field(
        default=1 * MIB,
        description="Documents larger than this are merged and parsed in a worker process, off the event loop.",
    )
    worker_processes: Count = Field(
        default=2,
        description="Number of worker processes, at least two: one for short work and one for long; started when first "
        "needed.",
    )

    @property
    def max_frame_bytes(self) -> int:
        """Largest WebSocket message that is accepted: the largest step 2 plus its overhead, in bytes."""
        return self.max_step2_bytes + FRAME_OVERHEAD_BYTES

    @property
    def max_step2_bytes(self) -> int:
        """Largest step 2: a client may bring back a whole document, in bytes."""
        return max(self.max_update_bytes, self.max_document_bytes)

    @property
    def max_preauth_frame_bytes(self) -> int:
        """Largest WebSocket message before sign-in: what may wait for one document and a token, with its overhead."""
        return min(self.preauth_bytes + self.max_token_bytes + FRAME_OVERHEAD_BYTES, self.max_frame_bytes)

    @property
    def max_outbox_bytes(self) -> int:
        """Unsent bytes beyond which a reader is disconnected: four documents of the largest size."""
        return 4 * self.max_document_bytes

    @property
    def append_pause_s(self) -> float:
        """Pause between two appends of a document: `journal_pause_s`, or the default for the store, in seconds."""
        if self.journal_pause_s is not None:
            return self.journal_pause_s
        return 0.03 if self.redis is None else 0.01

    @property
    def history_s(self) -> float:
        """How long history is kept: `retention_s`, or the default for the store, in seconds."""
        if self.retention_s is not None:
            return self.retention_s
        return DAY_S if self.redis is None else HOUR_S

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Where settings come from, the first one first (C1, C5)."""
        return init_settings, env_settings, _SecretFiles(settings_cls)

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach `host`."""
        return is_loopback(self.host)

    @property
    def has_tokens(self) -> bool:
        """Whether Raffia verifies tokens itself."""
        return self.auth_key_file is not None or self.auth_jwks_url is not None

    @model_validator(mode="after")
    def _combinations_work(self) -> Self:
        """Reject invalid combinations (C3)."""
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


def unknown_variables(environ: Mapping[str, str]) -> dict[str, str | None]:
    """The `RAFFIA_*` variables that are not settings, each with the one that was probably meant (C6)."""
    known = {name.upper() for name in Settings.model_fields}
    known |= {f"{name.upper()}_FILE" for name, field in Settings.model_fields.items() if is_secret(field)}
    unknown = {}
    for variable in sorted(environ):
        name = variable.removeprefix(ENV_PREFIX)
        if variable.startswith(ENV_PREFIX) and name not in known:
            likely = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
            unknown[variable] = ENV_PREFIX + likely[0] if likely else None
    return unknown


def load_settings(**values: Any) -> Settings:
    """Read the settings: `values` first, then `RAFFIA_*` variables, then defaults (C1).

    Raises:
        SettingsError: an invalid value, named by its flag and its variable (C3).
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
