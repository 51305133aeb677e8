"""Keys that tokens are verified with, from a file or a published set. Each key has one algorithm, for good.

Rules (tests quote these ids):
    KY1  The key says the algorithm, never the token: a secret is HS256, an RSA key RS256, a P-256 key ES256, an Ed25519
         key EdDSA. A token that names another algorithm than a key's is never checked with it.
    KY2  A file is one of three: PEM blocks (public or private keys), a JWK set (`{"keys": [...]}`), or secrets, one a
         line. What looks like a key is never taken for a secret.
    KY3  Weak keys are refused at the start: secrets under 32 characters or of one that is repeated, RSA under 2048
         bits.
    KY4  Several keys make a rotation: all of them verify, the first one that can signs. A token's `kid` picks the key
         where keys have one; without it those of its algorithm are tried.
    KY5  A published set holds no secrets: symmetric keys in it are passed over, as are keys for encryption and keys of
         algorithms that we don't take.
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

# No block holds the beginning of another, so that one without an end is read once.
_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]++)-----(?:(?!-----BEGIN ).)*?-----END \1-----", re.DOTALL)
_NOT_SECRETS = ("-----", "ssh-", "ecdsa-", "{", "[")


class BadKeyError(ValueError):
    """A key that is not taken, with the reason."""


@dataclass(frozen=True, slots=True, repr=False)
class Key:
    """One key.

    Attributes:
        kid: what tokens call it; None when it has no name.
        algorithm: the one algorithm that it is for (KY1).
        verifying: what checks signatures.
        signing: what makes them; None where only the public half is known.
    """

    kid: str | None
    algorithm: str
    verifying: PublicKey | bytes
    signing: PrivateKey | bytes | None = None

    def __repr__(self) -> str:
        return f"Key({self.kid!r}, {self.algorithm})"  # never what it is made of


class KeySet:
    """Some keys, in order."""

    __slots__ = ("keys",)

    def __init__(self, keys: Iterable[Key]) -> None:
        self.keys = tuple(keys)

    def find(self, kid: str | None, algorithm: str) -> Sequence[Key]:
        """The keys that a token of this `kid` and algorithm may have been signed with (KY1, KY4)."""
        keys = [key for key in self.keys if key.algorithm == algorithm]
        if kid is None:
            return keys
        # A key without a name may be the one, whatever the token's maker calls it.
        return [key for key in keys if key.kid == kid] or [key for key in keys if key.kid is None]

    def signer(self, kid: str | None = None) -> Key | None:
        """The first key that can sign, or that of this name."""
        return next((key for key in self.keys if key.signing is not None and kid in (None, key.kid)), None)


def read_key_file(path: Path, what: str = "--auth-key-file (RAFFIA_AUTH_KEY_FILE)") -> KeySet:
    """Read a file of keys (KY2).

    Raises:
        SettingsError: it cannot be read, or holds something else or something weak.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise SettingsError(f"{what}: {path} is larger than {MAX_FILE_BYTES} bytes; that is no file of keys")
        keys = read_keys(content)
    except OSError as error:
        raise SettingsError(f"{what}: cannot read {path}: {error.strerror}") from error
    except BadKeyError as error:
        raise SettingsError(f"{what}: {path}: {error}") from error
    return KeySet(keys)


def read_keys(content: bytes) -> list[Key]:
    """Read what a file of keys holds (KY2).

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
        raise BadKeyError("holds no key that can be used; give a PEM, a JWK set, or a secret of 32 characters")
    if len(keys) > MAX_KEYS:
        raise BadKeyError(f"holds {len(keys)} keys; the limit is {MAX_KEYS}")
    return keys


def _read_pem(content: bytes) -> list[Key]:
    keys: list[Key] = []
    for block in _PEM.finditer(content):
        label, pem = block[1].decode(), block[0]
        if label == "EC PARAMETERS":
            continue  # openssl writes them in front of the key, which repeats them
        if not label.endswith(" KEY"):
            raise BadKeyError(f"holds a {label}; give the public key (openssl x509 -pubkey -noout)")
        if b"ENCRYPTED" in pem:
            raise BadKeyError("holds a private key with a passphrase; give one without")
        keys.append(_read_block(label, pem))
    return keys


def _read_block(label: str, pem: bytes) -> Key:
    try:
        if label.endswith("PRIVATE KEY"):
            private = load_pem_private_key(pem, None)
        else:
            public = load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadKeyError(f"holds a {label} that cannot be read") from error
    return _private_key(private) if label.endswith("PRIVATE KEY") else _public_key(public)


def _private_key(key: object) -> Key:
    if not isinstance(key, PrivateKey):
        raise BadKeyError(f"holds a private key of a kind that is not taken: {type(key).__name__}")
    public = key.public_key()
    return Key(None, algorithm_of(public), public, key)


def _public_key(key: object) -> Key:
    if not isinstance(key, PublicKey):
        raise BadKeyError(f"holds a public key of a kind that is not taken: {type(key).__name__}")
    # Without a name: PEM has none, and whoever signs with the other half may call it as they like.
    return Key(None, algorithm_of(key), key)


def algorithm_of(key: PublicKey) -> str:
    """The algorithm of an asymmetric key (KY1).

    Raises:
        BadKeyError: too small, or of another curve (KY3).
    """
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < MIN_RSA_BITS:
            raise BadKeyError(f"holds an RSA key of {key.key_size} bits; take {MIN_RSA_BITS} or more")
        return "RS256"
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name != "secp256r1":
            raise BadKeyError(f"holds a key on the curve {key.curve.name}; ES256 takes P-256 (prime256v1)")
        return "ES256"
    return "EdDSA"


def _read_secrets(content: bytes) -> list[Key]:
    try:
        lines = [line.strip() for line in content.decode("ascii").splitlines()]
    except UnicodeDecodeError:
        raise BadKeyError(
            "is neither PEM nor JSON nor text; write a secret as text, as `raffia new-key` does"
        ) from None
    keys: list[Key] = []
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        if line.startswith(_NOT_SECRETS):
            raise BadKeyError(f"line {number} looks like a key of another form, not like a secret")
        keys.append(secret_key(line.encode(), None, f"line {number}"))
    return keys


def secret_key(secret: bytes, kid: str | None, where: str) -> Key:
    """A key for HS256.

    Raises:
        BadKeyError: too easily guessed (KY3).
    """
    if len(secret) < MIN_SECRET:
        raise BadKeyError(
            f"{where} is a secret of {len(secret)} bytes; take {MIN_SECRET} or more, from `raffia new-key`"
        )
    if len(set(secret)) < 8:
        raise BadKeyError(f"{where} is a secret of {len(set(secret))} different bytes; make one with `raffia new-key`")
    return Key(kid, "HS256", secret, secret)


def new_secret() -> str:
    """A secret of 256 bits, as text."""
    return secrets.token_urlsafe(32)


def read_jwk_set(content: bytes, *, secrets_too: bool) -> list[Key]:
    """Read a JWK set (RFC 7517).

    Args:
        content: JSON.
        secrets_too: whether symmetric keys are taken: from a file of ours, never from a published set (KY5).

    Raises:
        BadKeyError: not a JWK set; or, of a file of ours, a key in it is not taken.
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
        raise BadKeyError(f"{where} has a kid that is not a text")
    if item.get("use", "sig") != "sig":
        raise BadKeyError(f"{where} is not for signatures")
    if item.get("kty") == "oct":
        if not secrets_too:
            raise BadKeyError(f"{where} is a secret that everybody can read")
        if item.get("alg", "HS256") != "HS256":
            raise BadKeyError(f"{where} is not for HS256")
        return secret_key(_unbase64(item.get("k"), where), kid, where)
    algorithm = _algorithm_of_jwk(item, where)
    try:
        key = PyJWK(item, algorithm=algorithm).key
    except (PyJWTError, ValueError, TypeError, KeyError, AttributeError, UnsupportedAlgorithm) as error:
        # PyJWT and cryptography say the same thing in many ways.
        raise BadKeyError(f"{where} cannot be read") from error
    if isinstance(key, PrivateKey):
        return replace(_private_key(key), kid=kid)
    return replace(_public_key(key), kid=kid)


def _algorithm_of_jwk(item: dict[str, Any], where: str) -> str:
    kind = item.get("kty"), item.get("crv")
    algorithm = {("RSA", None): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}.get(kind)  # type: ignore[arg-type]
    if algorithm is None or item.get("alg", algorithm) != algorithm:
        raise BadKeyError(f"{where} is of a kind or for an algorithm that is not taken; take one of {ALGORITHMS}")
    return algorithm


def _unbase64(value: object, where: str) -> bytes:
    if not isinstance(value, str):
        raise BadKeyError(f"{where} has no k")
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise BadKeyError(f"{where} has a k that is not base64url") from error
