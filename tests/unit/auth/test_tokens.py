"""Tokens: TK1-TK5 of tokens.py."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any

import jwt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.support.tokens import (
    SECRET,
    b64,
    claims,
    ec_key,
    ed_key,
    forged,
    jwk,
    private_pem,
    public_pem,
    rsa_key,
    token,
)

from raffia.auth.claims import ClaimRules, Claims
from raffia.auth.keys import Key, KeySet, read_keys
from raffia.auth.tokens import FileKeys, TokenVerifier, make_token
from raffia.errors import AuthUnavailableError, SettingsError, UnauthenticatedError

NOW_S = 1_790_000_000.0
KINDS = {"HS256": SECRET, "RS256": rsa_key, "ES256": ec_key, "EdDSA": ed_key}


def verifier(content: bytes = SECRET.encode(), rules: ClaimRules | None = None, **more: Any) -> TokenVerifier:
    return TokenVerifier(FileKeys(KeySet(read_keys(content))), rules or ClaimRules(), **more)


async def verify(text: str, content: bytes = SECRET.encode()) -> Claims:
    return await verifier(content).verify(text, NOW_S)


async def refused(text: str, content: bytes = SECRET.encode(), says: str = "") -> None:
    """A token is refused, and nothing of it stands in the message (TK3)."""
    with pytest.raises(UnauthenticatedError, match=says or None) as caught:
        await verify(text, content)
    assert not any(len(part) > 8 and part in str(caught.value) for part in text.split("."))


@pytest.mark.parametrize("algorithm", list(KINDS))
async def test_each_kind_of_key_verifies_its_tokens(algorithm: str) -> None:
    kind = KINDS[algorithm]
    key: Any = kind if isinstance(kind, str) else kind()
    content = kind.encode() if isinstance(kind, str) else public_pem(key)
    assert (await verify(token(key, algorithm, now_s=NOW_S), content)).user == "zoë😀"
    await refused(token(key, algorithm, now_s=NOW_S)[:-4] + "AAAA", content, "not signed with a key")


# -- TK1, TK2: the header


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", None, True, 0, [], ["HS256"], "HS512", "PS256"])
@pytest.mark.parametrize("secret", [b"", SECRET.encode()])
async def test_tk1_alg_none_and_others_are_refused(alg: Any, secret: bytes) -> None:
    await refused(forged({"alg": alg, "typ": "JWT"}, claims(NOW_S), secret))
    await refused(forged({"typ": "JWT"}, claims(NOW_S), secret))


@pytest.mark.parametrize("key", [rsa_key, ec_key, ed_key], ids=["rsa", "ec", "ed"])
async def test_tk2_a_public_key_is_no_secret(key: Any) -> None:
    """The confusion of algorithms: what everybody knows, the public key, used as the secret of HS256."""
    pem = public_pem(key())
    for content in (pem, json.dumps({"keys": [jwk(key())]}).encode()):
        for secret in (pem, pem.strip(), content, json.dumps(jwk(key())).encode()):
            await refused(forged({"alg": "HS256", "typ": "JWT"}, claims(NOW_S), secret), content, "not signed with a")


async def test_tk2_a_secret_beside_a_public_key_stays_with_its_algorithm() -> None:
    secret = {"kty": "oct", "k": base64.urlsafe_b64encode(SECRET.encode()).decode(), "kid": "s"}
    content = json.dumps({"keys": [secret, jwk(rsa_key(), "r")]}).encode()
    assert await verify(token(SECRET, kid="s", now_s=NOW_S), content)
    assert await verify(token(rsa_key(), "RS256", kid="r", now_s=NOW_S), content)
    await refused(token(SECRET, kid="r", now_s=NOW_S), content, "not signed with a key")
    await refused(token(rsa_key(), "RS256", kid="s", now_s=NOW_S), content, "not signed with a key")
    await refused(token(rsa_key(1), "RS256", kid="r", now_s=NOW_S), content, "not signed with a key")
    await refused(token(rsa_key(), "RS256", kid="unknown", now_s=NOW_S), content, "not signed with a key")


async def test_tk2_a_key_in_the_token_is_not_looked_at() -> None:
    stranger = rsa_key(1)
    for header in ({"jwk": jwk(stranger)}, {"jku": "https://evil.example/keys"}, {"x5u": "https://evil.example/"}):
        made = jwt.encode(claims(NOW_S), stranger, algorithm="RS256", headers=header)
        await refused(made, public_pem(rsa_key()), "not signed with a key")


@pytest.mark.parametrize(
    "more",
    [{"crit": ["exp"]}, {"crit": []}, {"b64": False}, {"b64": False, "crit": ["b64"]}, {"kid": 1}, {"kid": ["a"]}],
)
async def test_tk1_demands_and_wrong_types_in_the_header_are_refused(more: dict[str, object]) -> None:
    await refused(forged({"alg": "HS256"} | more, claims(NOW_S), SECRET.encode()))


@pytest.mark.parametrize(
    "header",
    [
        b'{"alg": "HS256", "alg": "HS256"}',
        b'{"alg": "none", "alg": "HS256"}',
        b'{"alg": "HS256", "kid": "a", "kid": "b"}',
        b'\xef\xbb\xbf{"alg": "HS256"}',
        '{"alg": "HS256"}'.encode("utf-16"),
    ],
)
async def test_tk1_a_header_that_can_be_read_in_two_ways_is_not_read(header: bytes) -> None:
    signed = f"{b64(header)}.{b64(json.dumps(claims(NOW_S)).encode())}"
    signature = hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).digest()
    await refused(f"{signed}.{b64(signature)}", says="not a signed JWT")


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "..", "...", "a.b", "a.b.c", "é.é.é", "\ud800.a.b", "eyJhbGciOiJIUzI1NiJ9..", " ", "null",
        "eyJhbGciOiJIUzI1NiJ9.e30.AA.AA", b64(b"[" * 4000) + ".e30.AA", b64(b"[]") + ".e30.AA",
        b64(b"\xff") + ".e30.AA",
    ],
)  # fmt: skip
async def test_tk1_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(UnauthenticatedError):
        await verify(text)


async def test_tk1_a_large_token_is_not_looked_at() -> None:
    made = token(now_s=NOW_S, filler="x" * 8192)
    await refused(made, says="the limit is 8192")
    assert await verifier(max_bytes=len(made)).verify(made, NOW_S)
    with pytest.raises(UnauthenticatedError, match="the limit is"):
        await verifier(max_bytes=len(made) - 1).verify(made, NOW_S)


@pytest.mark.parametrize("change", ["\n", " ", "=", "A"])
async def test_tk1_a_token_has_one_form(change: str) -> None:
    good = token(now_s=NOW_S)
    assert await verify(good)
    await refused(good + change)
    await refused(change + good)


async def test_tk2_the_payload_is_what_was_signed() -> None:
    header, payload, signature = token(now_s=NOW_S).split(".")
    changed = b64(json.dumps(claims(NOW_S, raffia={"*": "admin"})).encode())
    await refused(f"{header}.{changed}.{signature}", says="not signed")
    await refused(f"{header}.{payload}.", says="not a signed JWT")
    # Signed well, but nonsense: its claims are read strictly.
    await refused(forged({"alg": "HS256"}, None, SECRET.encode(), raw=b'{"exp":9e9,"exp":9e9}'), says="not JSON")


async def test_tk4_without_keys_nobody_is_refused() -> None:
    class Away:
        async def find(self, kid: str | None, algorithm: str) -> Sequence[Key]:
            raise AuthUnavailableError("later")

        async def close(self) -> None: ...

    away = TokenVerifier(Away(), ClaimRules())
    with pytest.raises(AuthUnavailableError):
        await away.verify(token(now_s=NOW_S), NOW_S)
    with pytest.raises(UnauthenticatedError):  # what is no token needs no key to be refused
        await away.verify("nonsense", NOW_S)


@settings(max_examples=300, deadline=None)
@given(position=st.integers(0, 10_000), character=st.characters(codec="utf-8"), cut=st.booleans())
async def test_tk3_a_token_that_was_changed_anywhere_is_refused(position: int, character: str, cut: bool) -> None:
    good = token(now_s=NOW_S)
    at = position % len(good)
    changed = good[:at] + character + good[at + (not cut) :]
    assume(changed != good)
    with pytest.raises(UnauthenticatedError):
        await verify(changed)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.text(alphabet="aA0-_.=eyJ", max_size=60)))
async def test_tk3_whatever_comes_is_refused_with_one_error(text: str) -> None:
    with pytest.raises(UnauthenticatedError):
        await verify(text)


# -- TK5: making one


@pytest.mark.parametrize("algorithm", list(KINDS))
async def test_tk5_what_is_made_is_good(algorithm: str) -> None:
    kind = KINDS[algorithm]
    content = kind.encode() if isinstance(kind, str) else private_pem(kind())
    made = make_token(claims(NOW_S), KeySet(read_keys(content)), ClaimRules(), NOW_S)
    assert jwt.get_unverified_header(made)["alg"] == algorithm
    assert (await verify(made, content)).user == "zoë😀"


async def test_tk5_the_name_of_the_key_stands_in_the_header() -> None:
    secret = {"kty": "oct", "k": base64.urlsafe_b64encode(SECRET.encode()).decode(), "kid": "2026-11"}
    made = make_token(claims(NOW_S), KeySet(read_keys(json.dumps({"keys": [secret]}).encode())), ClaimRules(), NOW_S)
    assert jwt.get_unverified_header(made)["kid"] == "2026-11"


def test_tk5_what_the_server_would_refuse_is_not_made() -> None:
    keys = KeySet(read_keys(SECRET.encode()))
    for rules, more, says in (
        (ClaimRules(audiences=("raffia",)), {}, "aud"),
        (ClaimRules(max_lifetime_s=60), {}, "the limit is 60 s"),
        (ClaimRules(), {"raffia": {"te*": "edit"}}, "nor a pattern"),
        (ClaimRules(), {"filler": "x" * 9000}, "the limit is 8192"),
    ):
        with pytest.raises(SettingsError, match=says):
            make_token(claims(NOW_S, **more), keys, rules, NOW_S)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="public keys only"):
        make_token(claims(NOW_S), KeySet(read_keys(public_pem(ec_key()))), ClaimRules(), NOW_S)
