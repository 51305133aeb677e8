"""Keys and tokens for tests, made with PyJWT alone, as an issuer or an attacker would make them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

SECRET = "geheim-0123456789-abcdefghijklmnopqrstuv"


@cache
def rsa_key(number: int = 0, bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@cache
def ec_key(number: int = 0) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def ed_key() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


def private_pem(key: Any) -> bytes:
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def public_pem(key: Any) -> bytes:
    return bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def jwk(key: Any, kid: str | None = None, **more: object) -> dict[str, object]:
    """The public half as a JWK."""
    kinds = {
        rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm,
        ec.EllipticCurvePrivateKey: jwt.algorithms.ECAlgorithm,
        ed25519.Ed25519PrivateKey: jwt.algorithms.OKPAlgorithm,
    }
    maker = next(made for kind, made in kinds.items() if isinstance(key, kind))
    public: dict[str, object] = json.loads(maker.to_jwk(key.public_key()))
    return public | ({"kid": kid} if kid is not None else {}) | more


def claims(now_s: float | None = None, lifetime_s: float = 600, **more: object) -> dict[str, object]:
    """Claims that are valid for ten minutes and allow editing `team/*`; None removes a claim."""
    now = time.time() if now_s is None else now_s
    made: dict[str, object] = {"sub": "zoë😀", "raffia": {"team/*": "edit"}, "exp": now + lifetime_s, "iat": now}
    return {name: value for name, value in (made | more).items() if value is not None}


def token(key: Any = SECRET, algorithm: str = "HS256", kid: str | None = None, **more: Any) -> str:
    """A token with `claims(**more)`."""
    return jwt.encode(claims(**more), key, algorithm=algorithm, headers={"kid": kid} if kid is not None else None)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def forged(header: object, payload: object, secret: bytes = b"", *, raw: bytes | None = None) -> str:
    """A token with any header, always signed with HMAC."""
    signed = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(payload).encode() if raw is None else raw)}"
    signature = hmac.new(secret, signed.encode(), hashlib.sha256).digest() if secret else b""
    return f"{signed}.{b64(signature)}"
