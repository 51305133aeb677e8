"""Verify and sign tokens (JWTs) with the configured keys.

Rules (tests quote these ids):
    TK1  A token is three parts of base64url separated by dots, at most `max_token_bytes` long. Its header names a
         supported algorithm and has no critical extensions (`crit`). It is read as strictly as the claims (CM6).
    TK2  The signature is checked first, with keys of exactly that algorithm (KY1 of keys.py). Nothing else in a token
         influences this: `jwk`, `jku`, `x5u` and the like in its header are ignored.
    TK3  Then the claims are read (claims.py). An invalid token is an `UnauthenticatedError`; no message contains its
         header or signature.
    TK4  `AuthUnavailableError` is raised only if keys are missing because their provider is unavailable.
    TK5  A new token is verified before it is returned.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import jwt
from jwt.exceptions import PyJWTError

from raffia.auth.claims import ClaimRules, Claims, json_object, read_claims
from raffia.auth.keys import ALGORITHMS, Key, KeySet, read_key_file
from raffia.errors import SettingsError, UnauthenticatedError
from raffia.settings import Settings

_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_JWS = jwt.PyJWS(algorithms=list(ALGORITHMS))


class KeySource(Protocol):
    """A source of keys."""

    async def find(self, kid: str | None, algorithm: str) -> Sequence[Key]:
        """The keys that may have signed a token with this `kid` and algorithm."""
        ...

    async def close(self) -> None:
        """Release resources."""
        ...


class FileKeys:
    """Keys that were read at startup."""

    __slots__ = ("_keys",)

    def __init__(self, keys: KeySet) -> None:
        self._keys = keys

    async def find(self, kid: str | None, algorithm: str) -> Sequence[Key]:
        """See `KeySource`."""
        return self._keys.find(kid, algorithm)

    async def close(self) -> None:
        """Nothing to release."""


class TokenVerifier:
    """Verifies tokens.

    Args:
        keys: the keys that verify signatures.
        rules: what claims are checked against.
        max_bytes: maximum length of a token.
    """

    __slots__ = ("_keys", "_max_bytes", "_rules")

    def __init__(self, keys: KeySource, rules: ClaimRules, max_bytes: int = 8192) -> None:
        self._keys = keys
        self._rules = rules
        self._max_bytes = max_bytes

    async def verify(self, token: str, now_s: float) -> Claims:
        """Verify a token.

        Args:
            token: as the client sent it.
            now_s: Unix time in seconds.

        Raises:
            UnauthenticatedError: the token is invalid; the message gives the reason (TK3).
            AuthUnavailableError: the keys cannot be fetched (TK4).
        """
        kid, algorithm = self._read_header(token)
        keys = await self._keys.find(kid, algorithm)
        for key in keys:
            payload = check_signature(token, key)
            if payload is not None:
                return read_claims(payload, self._rules, now_s)
        raise UnauthenticatedError("the token is not signed with a key that this server trusts")

    async def close(self) -> None:
        """Stop fetching keys."""
        await self._keys.close()

    def _read_header(self, token: str) -> tuple[str | None, str]:
        """`kid` and `alg` of a token's header, which has not been verified yet (TK1)."""
        if len(token) > self._max_bytes:
            raise UnauthenticatedError(f"the token has {len(token)} bytes; the limit is {self._max_bytes}")
        if not _FORM.fullmatch(token):
            raise UnauthenticatedError("the token is not a signed JWT")
        try:
            jwt.get_unverified_header(token)
            first = token.partition(".")[0]
            header = json_object(base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)))
        except (PyJWTError, ValueError, RecursionError):
            raise UnauthenticatedError("the token is not a signed JWT") from None
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
            raise UnauthenticatedError(f"the token's alg is not one of {', '.join(ALGORITHMS)}")
        if kid is not None and not isinstance(kid, str):
            raise UnauthenticatedError("the token's kid is not a string")
        if "crit" in header or header.get("b64", True) is not True:
            raise UnauthenticatedError("the token's header requires an extension that this server does not support")
        return kid, algorithm


def check_signature(token: str, key: Key) -> bytes | None:
    """The payload of a token, if it was signed with this key and its algorithm; None otherwise (TK2)."""
    try:
        verified = _JWS.decode_complete(token, key.verifying, algorithms=[key.algorithm])
    except (PyJWTError, ValueError):
        return None
    payload: bytes = verified["payload"]
    return payload


def verifier_for(settings: Settings) -> TokenVerifier | None:
    """Build the verifier for the keys that the settings name; None if they name none.

    Raises:
        SettingsError: the keys cannot be read or are weak, or must not be fetched from this URL.
    """
    if settings.auth_key_file is not None:
        keys: KeySource = FileKeys(read_key_file(settings.auth_key_file))
    elif settings.auth_jwks_url is not None:
        from raffia.auth.jwks import PublishedKeys  # noqa: PLC0415 - imports httpx, which few servers need

        keys = PublishedKeys(settings.auth_jwks_url, settings.auth_jwks_max_age_s)
    else:
        return None
    return TokenVerifier(keys, claim_rules(settings), settings.max_token_bytes)


def claim_rules(settings: Settings) -> ClaimRules:
    """What claims are checked against, from the settings."""
    return ClaimRules(
        claim=settings.auth_claim,
        audiences=settings.auth_audience,
        issuer=settings.auth_issuer,
        leeway_s=settings.auth_leeway_s,
        max_lifetime_s=settings.auth_max_lifetime_s,
    )


def make_token(claims: Mapping[str, Any], keys: KeySet, rules: ClaimRules, now_s: float, max_bytes: int = 8192) -> str:
    """Sign claims with the first key that can sign (TK5).

    Args:
        claims: the token's claims.
        keys: the server's keys.
        rules: what the server checks claims against.
        now_s: Unix time in seconds.
        max_bytes: maximum length of a token.

    Raises:
        SettingsError: there is no signing key, or the server would refuse the token.
    """
    key = keys.signer()
    if key is None or key.signing is None:
        raise SettingsError("the key file contains public keys only; signing needs the secret or the private key")
    payload = json.dumps(claims, separators=(",", ":")).encode()
    headers = {"kid": key.kid} if key.kid is not None else None
    token = _JWS.encode(payload, key.signing, algorithm=key.algorithm, headers=headers)
    try:
        read_claims(payload, rules, now_s)
    except UnauthenticatedError as error:
        raise SettingsError(f"the server would refuse this token: {error}") from error
    if check_signature(token, key) != payload:
        raise SettingsError("the private and public key in the key file do not match")
    if len(token) > max_bytes:
        raise SettingsError(f"the token has {len(token)} bytes; the limit is {max_bytes}; name fewer documents")
    return token
