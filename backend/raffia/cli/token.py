"""`raffia token`: make a token.

Rules (tests quote these ids):
    MN1  Only the token is printed on standard output, so that a shell can assign it to a variable.
    MN2  A token that a server with the same settings would refuse is not printed (TK5 of tokens.py).
"""

from __future__ import annotations

import re
import secrets
import time
from typing import Annotated

import typer

from raffia.auth.claims import LEVELS, is_pattern
from raffia.auth.keys import read_key_file
from raffia.auth.tokens import claim_rules, make_token
from raffia.cli.failure import reported
from raffia.errors import SettingsError
from raffia.settings import Settings, load_settings

_SPAN = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([smhd]?)")
_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def span_s(text: str) -> float:
    """Parse `90`, `90s`, `15m`, `1h` or `7d` into seconds.

    Raises:
        SettingsError: not of this form, or zero.
    """
    match = _SPAN.fullmatch(text.strip().lower())
    span = float(match[1]) * _UNITS_S[match[2]] if match else 0.0
    if span <= 0:
        raise SettingsError(f"--for: {text!r} is not a time span; write 90s, 15m, 1h or 7d")
    return span


def signing_settings(auth_key_file: str | None) -> Settings:
    """The settings to sign with: those of the server, with the key file named on the command line if there is one.

    A server that takes its keys from a URL has no key to sign with, but its other settings (claim, audience, issuer)
    apply to the token too.

    Raises:
        SettingsError: as `load_settings`.
    """
    if auth_key_file is None:
        return load_settings()
    return load_settings(auth_key_file=auth_key_file, auth_jwks_url=None)


def mint(
    settings: Settings,
    documents: list[str],
    level: str,
    lifetime_s: float,
    now_s: float,
    **texts: str | None,
) -> str:
    """Make a token with the settings' key.

    Args:
        settings: the key file, and the rules that tokens are checked against.
        documents: ids and patterns.
        level: one of `LEVELS`, for all of them.
        lifetime_s: how long the token is valid.
        now_s: Unix time in seconds.
        texts: string claims (`sub`, `name`, `color`); None to leave one out.

    Raises:
        SettingsError: there is no signing key, or the server would refuse the token.
    """
    if settings.auth_key_file is None:
        raise SettingsError("no key to sign with; set --auth-key-file (RAFFIA_AUTH_KEY_FILE); see `raffia new-key`")
    for document in documents:
        if not is_pattern(document):
            raise SettingsError(
                f"--document: {document!r} is neither a document id nor a pattern such as team/*, or * for all"
            )
    if level not in LEVELS:
        raise SettingsError(f"--can: {level!r} is not one of {', '.join(LEVELS)}")
    now = int(now_s)
    claims: dict[str, object] = {
        settings.auth_claim: dict.fromkeys(documents, level),
        # In milliseconds, so that a token made after a revocation but in the same second is valid.
        "iat": round(now_s, 3),
        "exp": now + max(1, round(lifetime_s)),
        "jti": secrets.token_urlsafe(12),
    }
    claims |= {name: text for name, text in texts.items() if text is not None}
    if settings.auth_audience:
        claims["aud"] = settings.auth_audience[0]
    if settings.auth_issuer is not None:
        claims["iss"] = settings.auth_issuer
    keys = read_key_file(settings.auth_key_file)
    return make_token(claims, keys, claim_rules(settings), now_s, settings.max_token_bytes)


def token(
    *,
    document: Annotated[
        list[str], typer.Option("--document", metavar="ID", help="Document id or pattern (team/*); can be repeated.")
    ],
    can: Annotated[str, typer.Option("--can", metavar="|".join(LEVELS), help="Level of access.")] = "read",
    lifetime: Annotated[
        str, typer.Option("--for", metavar="SPAN", help="How long it is valid: 90s, 15m, 1h, 7d.")
    ] = "1h",
    user: Annotated[str | None, typer.Option("--user", help="Stable id of the person, agent or device.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name shown to others.")] = None,
    color: Annotated[str | None, typer.Option("--color", help="Colour of the cursor.")] = None,
    auth_key_file: Annotated[
        str | None,
        typer.Option("--auth-key-file", metavar="PATH", help="As in raffia serve; a secret or a private key."),
    ] = None,
) -> None:
    """Print a token for documents, signed with the key file of the settings."""
    with reported():
        settings = signing_settings(auth_key_file)
        made = mint(settings, document, can, span_s(lifetime), time.time(), sub=user, name=name, color=color)
    typer.echo(made)
