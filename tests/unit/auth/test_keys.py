"""Keys: KY1-KY5 of keys.py."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from tests.support.tokens import SECRET, ec_key, ed_key, jwk, private_pem, public_pem, rsa_key

from raffia.auth.keys import BadKeyError, KeySet, new_secret, read_jwk_set, read_key_file, read_keys
from raffia.errors import SettingsError


def oct_jwk(secret: str, **more: object) -> dict[str, object]:
    return {"kty": "oct", "k": base64.urlsafe_b64encode(secret.encode()).decode().rstrip("=")} | more


def jwks(*keys: object) -> bytes:
    return json.dumps({"keys": keys}).encode()


@pytest.mark.parametrize(
    ("key", "algorithm"), [(rsa_key, "RS256"), (ec_key, "ES256"), (ed_key, "EdDSA")], ids=["rsa", "ec", "ed"]
)
def test_ky1_the_key_says_the_algorithm(key: Any, algorithm: str) -> None:
    made = key()
    contents = (public_pem(made), private_pem(made), jwks(jwk(made)))
    for content, signs in zip(contents, (False, True, False), strict=True):
        (read,) = read_keys(content)
        assert read.algorithm == algorithm
        assert (read.signing is not None) is signs
        keys = KeySet([read])
        assert keys.find(None, algorithm) == [read]
        assert keys.find("whatever", algorithm) == [read]  # it has no name
        for other in {"HS256", "RS256", "ES256", "EdDSA", "none"} - {algorithm}:
            assert not keys.find(None, other)
        assert (keys.signer() is None) is not signs


def test_ky2_secrets_one_a_line() -> None:
    first, second = read_keys(f"{SECRET}\n\n  {new_secret()}\r\n".encode())
    assert first.signing == first.verifying == SECRET.encode()
    assert second.algorithm == "HS256"
    keys = KeySet([first, second])
    assert keys.signer() is first
    assert keys.find(None, "HS256") == [first, second]
    assert SECRET not in repr(first)


def test_ky2_several_pem_blocks() -> None:
    content = b"# old\n" + public_pem(rsa_key()) + private_pem(ec_key()) + public_pem(ec_key(1))
    keys = KeySet(read_keys(content))
    assert [key.algorithm for key in keys.keys] == ["RS256", "ES256", "ES256"]
    signer = keys.signer()
    assert signer is not None
    assert signer.algorithm == "ES256"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no usable key"),
        (b"\n \n", "no usable key"),
        (b"short", "use at least 32"),
        (SECRET.encode() + b"\nshort\n", "line 2 is a secret of 5 bytes"),
        (b"a" * 64, "1 different bytes"),
        (b"abab" * 16, "2 different bytes"),
        ("é".encode() * 32, "neither PEM nor JSON nor ASCII text"),
        (b"\xff" * 64, "neither PEM"),
        (b"ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQC7 ana@example", "looks like a key"),
        (b"-----END PUBLIC KEY----- and more text than 32", "looks like a key"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA", "no usable key"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "cannot be read"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "openssl x509 -pubkey"),
        (b"{", "not JSON"),
        (b'{"kty": "RSA"}', "not a JWK set"),
        (b'{"keys": {}}', "not a JWK set"),
        (b'{"keys": []}', "no usable key"),
        (b'{"keys": [1]}', "key 1 is not an object"),
        (b'{"keys": [{"kty": "RSA", "n": "AQAB", "e": "?"}]}', "key 1 cannot be read"),
        (b'{"keys": [{"kty": "EC", "crv": "P-256"}]}', "key 1 cannot be read"),
        (b'{"keys": [{"kty": "EC", "crv": "P-521"}]}', "unsupported type"),
        (jwks(oct_jwk("short")), "key 1 is a secret of 5 bytes"),
        (b'{"keys": [{"kty": "oct"}]}', "has no k"),
        (b'{"keys": [{"kty": "oct", "k": "***"}]}', "not base64url"),
        (jwks(oct_jwk(SECRET, alg="HS512")), "not for HS256"),
        (jwks(oct_jwk(SECRET, kid=1)), "kid that is not a string"),
    ],
)
def test_ky2_ky3_what_is_weak_or_something_else_is_refused(content: bytes, says: str) -> None:
    with pytest.raises(BadKeyError, match=says):
        read_keys(content)


def test_ky3_small_or_unknown_keys_are_refused() -> None:
    locked = rsa_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    for content, says in (
        (public_pem(rsa_key(0, 1024)), "1024 bits"),
        (jwks(jwk(rsa_key(0, 1024))), "1024 bits"),
        (public_pem(ec.generate_private_key(ec.SECP384R1())), "secp384r1"),
        (public_pem(dsa.generate_private_key(2048)), "unsupported type"),
        (private_pem(dsa.generate_private_key(2048)), "unsupported type"),
        (locked, "passphrase"),
    ):
        with pytest.raises(BadKeyError, match=says):
            read_keys(content)


def test_ky4_kid_picks_the_key() -> None:
    keys = KeySet(read_keys(jwks(jwk(rsa_key(0), "a"), jwk(rsa_key(1), "b"), oct_jwk(SECRET, kid="a"))))
    assert [key.kid for key in keys.find("b", "RS256")] == ["b"]
    assert [key.algorithm for key in keys.find("a", "RS256")] == ["RS256"]
    assert [key.algorithm for key in keys.find("a", "HS256")] == ["HS256"]
    assert not keys.find("c", "RS256")
    assert not keys.find("b", "HS256")
    assert len(keys.find(None, "RS256")) == 2


def test_ky5_a_published_set_keeps_what_can_be_used() -> None:
    content = jwks(
        jwk(rsa_key(), "good"),
        jwk(rsa_key(1), "enc", use="enc"),
        jwk(rsa_key(1), "other", alg="RS512"),
        jwk(rsa_key(0, 1024), "small"),
        oct_jwk(SECRET, kid="secret"),
        "nonsense",
        jwk(ec_key(), "ec", use="sig", alg="ES256"),
    )
    assert [key.kid for key in read_jwk_set(content, secrets_too=False)] == ["good", "ec"]


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "schlüssel.key"
    with pytest.raises(SettingsError, match=r"RAFFIA_AUTH_KEY_FILE.*No such file"):
        read_key_file(path)
    path.write_text(new_secret())
    assert len(read_key_file(path).keys) == 1
    path.write_text("\n".join(new_secret() for _ in range(65)))
    with pytest.raises(SettingsError, match="65 keys; the limit is 64"):
        read_key_file(path)
    path.write_bytes(b"x" * 300_000)
    with pytest.raises(SettingsError, match="larger than"):
        read_key_file(path)
    with pytest.raises(SettingsError, match="cannot read"):
        read_key_file(tmp_path)
