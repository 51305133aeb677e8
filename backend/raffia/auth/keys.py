"""Keys that sign and verify tokens, from a file or a published set. Each key has exactly one algorithm.

Rules (tests quote these ids):
    KY1  The key determines the algorithm, never the token: a secret is HS256, an RSA key RS256, a P-256 key ES256, an
         Ed25519 key EdDSA. A token that names another algorithm is never checked with that key.
    KY2  A key file contains PEM blocks (public or private keys), a JWK set (`{"keys": [...]}`), or one secret per line.
         A line that begins like a PEM block, an SSH key or JSON is never taken for a secret.
    KY3  Weak keys are not used: secrets of fewer than 32 bytes or with fewer than 8 distinct bytes, and RSA keys of
         fewer than 2048 bits. In a key file they prevent the start; in a published set they are skipped.
    KY4  Several keys allow rotation: all of them verify tokens, and the first one that can signs new ones. A token's
         `kid` selects the key if keys have names; without it, all keys of its algorithm are tried.
    KY5  A published set contains no secrets: symmetric keys in it are ignored, as are encryption keys and keys of
         unsupported algorithms.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from raffia.errors import SettingsError

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

MIN_SECRET = 32
MIN_RSA_BITS = 2048
MAX_KEYS = 64
MAX_FILE_BYTES = 256 * 1024
ALGORITHMS = ("HS256", "RS256", "ES256", "EdDSA")

# No block may contain the beginning of another one, so that a block without an end is read once.
_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]++)-----(?:(?!-----BEGIN ).)*?-----END \1-----", re.DOTALL)
_SETTING = "--auth-key-file (RAFFIA_AUTH_KEY_FILE)"
_NOT_SECRETS = ("-----", "ssh-", "ecdsa-", "{", "[")


class BadKeyError(ValueError):
    """A key that cannot be used; the message gives the reason."""


@dataclass(frozen=True, slots=True, repr=False)
class Key:
    """One key.

    Attributes:
        kid: the name by which tokens refer to it; None if it has none.
        algorithm: the only algorithm it is used with (KY1).
        verifying: the key that verifies signatures.
        signing: the key that signs; None if only the public key is known.
    """

    kid: str | None
    algorithm: str
    verifying: PublicKey | bytes
    signing: PrivateKey | bytes | None = None

    def __repr__(self) -> str:
        return f"Key({self.kid!r}, {self.algorithm})"  # never the key material


class KeySet:
    """An ordered set of keys."""

    __slots__ = ("keys",)

    def __init__(self, keys: Iterable[Key]) -> None:
        self.keys = tuple(keys)

    def find(self, kid: str | None, algorithm: str) -> Sequence[Key]:
        """The keys that may have signed a token with this `kid` and algorithm (KY1, KY4)."""
        keys = [key for key in self.keys if key.algorithm == algorithm]
        if kid is None:
            return keys
        # A key without a name may be the right one, whatever name the issuer gives it.
        return [key for key in keys if key.kid == kid] or [key for key in keys if key.kid is None]

    def signer(self) -> Key | None:
        """The first key that can sign; None if none can."""
        return next((key for key in self.keys if key.signing is not None), None)


def read_key_file(path: Path) -> KeySet:
    """Read a key file (KY2).

    Raises:
        SettingsError: it cannot be read, or contains something else or a weak key.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise SettingsError(f"{_SETTING}: {path} is larger than {MAX_FILE_BYTES} bytes, so it is not a key file")
        keys = read_keys(content)
    except OSError as error:
        raise SettingsError(f"{_SETTING}: cannot read {path}: {error.strerror}") from error
    except BadKeyError as error:
        raise SettingsError(f"{_SETTING}: {path}: {error}") from error
    return KeySet(keys)


def read_keys(content: bytes) -> list[Key]:
    """Parse the content of a key file (KY2).

    Raises:
        BadKeyError: with the reason.
    """
    if b"-----BEGIN" in content:
        keys = _read_pem(content)
    elif content.lstrip().startswith(b"{"):
        keys = read_jwk_set(content, secrets_too=True)
    else:
        keys = _read_secrets(content)
    if not keys:
        raise BadKeyError(
            "contains no usable key; provide a PEM file, a JWK set, or a secret of at least 32 characters"
        )
    if len(keys) > MAX_KEYS:
        raise BadKeyError(f"contains {len(keys)} keys; the limit is {MAX_KEYS}")
    return keys


def _read_pem(content: bytes) -> list[Key]:
    keys: list[Key] = []
    for block in _PEM.finditer(content):
        label, pem = block[1].decode(), block[0]
        if label == "EC PARAMETERS":
            continue  # openssl writes them before the key, which includes them
        if not label.endswith(" KEY"):
            raise BadKeyError(f"contains a {label}; provide the public key (openssl x509 -pubkey -noout)")
        if b"ENCRYPTED" in pem:
            raise BadKeyError("contains a private key with a passphrase; provide one without")
        keys.append(_read_block(label, pem))
    return keys


def _read_block(label: str, pem: bytes) -> Key:
    try:
        if label.endswith("PRIVATE KEY"):
            private = load_pem_private_key(pem, None)
        else:
            public = load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadKeyError(f"contains a {label} that cannot be read") from error
    return _private_key(private) if label.endswith("PRIVATE KEY") else _public_key(public)


def _private_key(key: object) -> Key:
    if not isinstance(key, PrivateKey):
        raise BadKeyError(f"contains a private key of an unsupported type: {type(key).__name__}")
    public = key.public_key()
    return Key(None, algorithm_of(public), public, key)


def _public_key(key: object) -> Key:
    if not isinstance(key, PublicKey):
        raise BadKeyError(f"contains a public key of an unsupported type: {type(key).__name__}")
    # PEM has no names, and the issuer may use any `kid` for the private key.
    return Key(None, algorithm_of(key), key)


def algorithm_of(key: PublicKey) -> str:
    """The algorithm of an asymmetric key (KY1).

    Raises:
        BadKeyError: the key is too short, or on an unsupported curve (KY3).
    """
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < MIN_RSA_BITS:
            raise BadKeyError(f"contains an RSA key of {key.key_size} bits; use at least {MIN_RSA_BITS}")
        return "RS256"
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name != "secp256r1":
            raise BadKeyError(f"contains a key on the curve {key.curve.name}; ES256 needs P-256 (prime256v1)")
        return "ES256"
    return "EdDSA"


def _read_secrets(content: bytes) -> list[Key]:
    try:
        lines = [line.strip() for line in content.decode("ascii").splitlines()]
    except UnicodeDecodeError:
        raise BadKeyError(
            "is neither PEM nor JSON nor ASCII text; write secrets as text, as `raffia new-key` does"
        ) from None
    keys: list[Key] = []
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        if line.startswith(_NOT_SECRETS):
            raise BadKeyError(f"line {number} looks like a key in another format, not like a secret")
        keys.append(secret_key(line.encode(), None, f"line {number}"))
    return keys


def secret_key(secret: bytes, kid: str | None, where: str) -> Key:
    """An HS256 key.

    Args:
        secret: the secret.
        kid: its name; None for no name.
        where: how error messages refer to it.

    Raises:
        BadKeyError: the secret is too weak (KY3).
    """
    if len(secret) < MIN_SECRET:
        raise BadKeyError(
            f"{where} is a secret of {len(secret)} bytes; use at least {MIN_SECRET}, as `raffia new-key` does"
        )
    if len(set(secret)) < 8:
        raise BadKeyError(
            f"{where} is a secret with only {len(set(secret))} different bytes; make one with `raffia new-key`"
        )
    return Key(kid, "HS256", secret, secret)


def new_secret() -> str:
    """A new secret of 256 random bits, as text."""
    return secrets.token_urlsafe(32)


def read_jwk_set(content: bytes, *, secrets_too: bool) -> list[Key]:
    """Read a JWK set (RFC 7517).

    Args:
        content: the JSON text.
        secrets_too: whether it is a key file, in which every key has to be usable and secrets are allowed; in a
            published set, unusable keys and secrets are ignored (KY5).

    Raises:
        BadKeyError: not a JWK set; or a key file with a key that cannot be used.
    """
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError):
        raise BadKeyError("is not JSON") from None
    listed = parsed.get("keys") if isinstance(parsed, dict) else None
    if not isinstance(listed, list):
        raise BadKeyError('is not a JWK set: {"keys": [...]}')
    keys: list[Key] = []
    for number, item in enumerate(listed, 1):
        try:
            keys.append(_read_jwk(item, f"key {number}", secrets_too=secrets_too))
        except BadKeyError:
            if secrets_too:
                raise
    return keys[:MAX_KEYS] if not secrets_too else keys


def _read_jwk(item: Any, where: str, *, secrets_too: bool) -> Key:
    if not isinstance(item, dict):
        raise BadKeyError(f"{where} is not an object")
    kid = item.get("kid")
    if kid is not None and not isinstance(kid, str):
        raise BadKeyError(f"{where} has a kid that is not a string")
    if item.get("use", "sig") != "sig":
        raise BadKeyError(f"{where} is not for signatures")
    if item.get("kty") == "oct":
        if not secrets_too:
            raise BadKeyError(f"{where} is a secret, which must not be published")
        if item.get("alg", "HS256") != "HS256":
            raise BadKeyError(f"{where} is not for HS256")
        return secret_key(_unbase64(item.get("k"), where), kid, where)
    algorithm = _algorithm_of_jwk(item, where)
    try:
        key = PyJWK(item, algorithm=algorithm).key
    except (PyJWTError, ValueError, TypeError, KeyError, AttributeError, UnsupportedAlgorithm) as error:
        # PyJWT and cryptography raise all of these for keys that they cannot read.
        raise BadKeyError(f"{where} cannot be read") from error
    if isinstance(key, PrivateKey):
        return replace(_private_key(key), kid=kid)
    return replace(_public_key(key), kid=kid)


def _algorithm_of_jwk(item: dict[str, Any], where: str) -> str:
    kind = item.get("kty"), item.get("crv")
    algorithm = {("RSA", None): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}.get(kind)  # type: ignore[arg-type]
    if algorithm is None or item.get("alg", algorithm) != algorithm:
        raise BadKeyError(f"{where} has an unsupported type or algorithm; use one of {', '.join(ALGORITHMS)}")
    return algorithm


def _unbase64(value: object, where: str) -> bytes:
    if not isinstance(value, str):
        raise BadKeyError(f"{where} has no k")
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise BadKeyError(f"{where} has a k that is not base64url") from error
