"""Targets for what comes before a document: WebSocket frames, tokens and their claims."""

from __future__ import annotations

import base64
import json
import random

import jwt
from tests.unit.sockets.server.test_frames import read as read_frames
from tests.unit.sockets.server.test_frames import theirs as read_frames_theirs
from websockets.exceptions import ProtocolError
from websockets.frames import Close

from raffia.auth.claims import ClaimRules, Claims, is_pattern, read_claims
from raffia.auth.keys import KeySet, secret_key
from raffia.auth.tokens import FileKeys, TokenVerifier, make_token
from raffia.errors import UnauthenticatedError
from raffia.sockets.server.frames import CLOSE, FrameError
from raffia.types import DocumentId
from tools.fuzz.corpus import Corpus
from tools.fuzz.mutate import mutate_one
from tools.fuzz.parts import join, mutate_parts, split
from tools.fuzz.targets import check

NOW_S = 1_800_000_000.0
LIMIT_BYTES = 1000


def _frame(rng: random.Random, payload: bytes) -> bytes:
    first = rng.choice((0x80, 0x80, 0x80, 0)) | rng.choice((0, 1, 1, 2, 2, 2, 8, 9, 10))
    mask = rng.choice((b"\x00\x00\x00\x00", b"\x37\xfa\x21\x3d"))
    size = len(payload)
    head = bytes((first, 0x80 | size)) if size < 126 else bytes((first, 0xFE)) + size.to_bytes(2, "big")
    return head + mask + bytes(octet ^ mask[at % 4] for at, octet in enumerate(payload))


class Frames:
    """The frame reader: how the stream is cut makes no difference (FR7), and the websockets library agrees.

    The first byte chooses how the stream is cut; the rest is the stream.
    """

    def __init__(self, corpus: Corpus) -> None:
        self._payloads = [*corpus.ywebsocket[:40], "é😀".encode(), b"\x03\xe8", b"\x0f\xa0\xc3\xa9", b"", b"x" * 130]

    def make(self, rng: random.Random) -> bytes:
        frames = [_frame(rng, rng.choice(self._payloads)[:500]) for _ in range(rng.randint(1, 5))]
        return rng.randbytes(1) + b"".join(frames)

    def alter(self, rng: random.Random, data: bytes) -> bytes:
        return mutate_one(rng, data)

    def seeds(self) -> list[bytes]:
        rng = random.Random(10)
        return [self.make(rng) for _ in range(20)]

    def run(self, data: bytes) -> None:
        step, stream = 1 + data[0] % 7 if data else 1, data[1:]
        whole = read_frames([stream])
        pieces = read_frames([stream[at : at + step] for at in range(0, len(stream), step)])
        check(pieces == whole, "pieces make a difference")
        events, code = whole
        for kind, payload in events:
            if kind == CLOSE:
                Close.parse(payload)
            else:
                check(len(payload) <= LIMIT_BYTES, "a message over the limit")
        try:
            their_events, their_code = read_frames_theirs(stream)
        except ProtocolError:
            return
        # Theirs notices invalid text at the end of a message, ours at once; so only what came before is compared.
        if code is None and their_code is None:
            check(events == their_events, "websockets reads something else")
        # A close frame within a message ends the connection for us (FR2), and is an error for them.
        if their_code is not None and not any(kind == CLOSE for kind, _ in events):
            check(code is not None, "websockets refuses it")
        if code is not None:
            raise FrameError(code, "refused")


RULES = (
    ClaimRules(),
    ClaimRules(audiences=("raffia", "é"), issuer="me", leeway_s=5.0, max_lifetime_s=3600.0),
    ClaimRules(claim="é"),
)
_VALUES = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        1 << 60,
        1 << 5000,
        1.5,
        1e308,
        1e-320,
        NOW_S,
        NOW_S + 60,
        "",
        "é",
        "raffia",
        "\ud83d",
    ),
    *("1800000060", [], ["raffia"], ["raffia", 1], {}, {"*": "edit"}, {"a/*": "admin"}, {"a*": "read"}, {"a": "EDIT"}),
    *({"*": True}, {"../x": "read"}, "x" * 300),
)
_NAMES = ("exp", "nbf", "iat", "aud", "iss", "sub", "jti", "name", "color", "raffia", "é", "other")


def _claims(rng: random.Random) -> dict[str, object]:
    claims: dict[str, object] = {
        "exp": NOW_S + 60,
        "aud": "raffia",
        "iss": "me",
        "sub": "zoë",
        "raffia": {"a/*": "edit"},
    }
    for _ in range(rng.randrange(4)):
        claims[rng.choice(_NAMES)] = rng.choice(_VALUES)
    if rng.random() < 0.5:
        claims.pop("aud", None)
    return claims


def judge(claims: Claims, rules: ClaimRules) -> None:
    """Check what holds for all accepted claims (CM1-CM5)."""
    check(claims.expires_s > NOW_S, "a token that has expired is good")
    if rules.max_lifetime_s is not None:
        check(claims.expires_s <= NOW_S + rules.max_lifetime_s + 2 * rules.leeway_s, "a token is good for too long")
    check(all(map(is_pattern, claims.patterns)), "a pattern that is none")
    for name in ("a", "a/b", "a/b/c", "x", "../x", "*"):
        access = claims.access(DocumentId(name))
        check(access is None or access in claims.patterns.values(), "access that nobody gave")
    json.dumps(claims.kept).encode()


class ClaimsJson:
    """Claims: valid by all rules, or refused; the first byte chooses the settings."""

    def __init__(self, corpus: Corpus) -> None:
        del corpus

    def make(self, rng: random.Random) -> bytes:
        return rng.randbytes(1) + json.dumps(_claims(rng), ensure_ascii=rng.random() < 0.5).encode(
            errors="surrogatepass"
        )

    def alter(self, rng: random.Random, data: bytes) -> bytes:
        if rng.random() < 0.4:
            return mutate_one(rng, data)
        try:
            claims = json.loads(data[1:])
            if rng.random() < 0.2 and isinstance(claims.get("raffia"), dict):
                claims["raffia"][rng.choice(("a", "a/b", "*", "a/*", "*/a", "é", "a/", "-"))] = rng.choice(_VALUES)
            claims[rng.choice(_NAMES)] = rng.choice(_VALUES)
            return data[:1] + json.dumps(claims).encode()
        except (ValueError, AttributeError, TypeError, IndexError, RecursionError):
            return mutate_one(rng, data)

    def seeds(self) -> list[bytes]:
        base = {"exp": NOW_S + 60, "raffia": {"a/*": "edit", "*": "none", "x": "admin"}, "sub": "zoë"}
        full = base | {"aud": ["raffia"], "iss": "me", "jti": "1", "name": "Zoë 😀", "color": "#fff", "iat": NOW_S}
        return [b"\x00" + json.dumps(base).encode(), b"\x01" + json.dumps(full).encode()]

    def run(self, data: bytes) -> None:
        rules = RULES[data[0] % len(RULES) if data else 0]
        claims = read_claims(data[1:], rules, NOW_S)
        judge(claims, rules)
        check(dict(claims.all) == json.loads(data[1:]), "claims that do not stand there")


class Tokens:
    """Whole tokens. Two parts, header and claims, are signed and verified; any other input is used as a token."""

    def __init__(self, corpus: Corpus) -> None:
        del corpus
        self._secret = b"0123456789abcdef0123456789abcdef-fuzz"
        self._keys = KeySet([secret_key(self._secret, "k1", "here")])
        self._verifier = TokenVerifier(FileKeys(self._keys), ClaimRules(), max_bytes=4096)
        self._hs256 = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)

    def make(self, rng: random.Random) -> bytes:
        header: dict[str, object] = {"alg": "HS256", "typ": "JWT", "kid": "k1"}
        if rng.random() < 0.6:
            header[rng.choice(("alg", "kid", "crit", "b64", "jwk", "jku", "typ", "x5u", "zip"))] = rng.choice(
                (None, True, False, "none", "HS512", "RS256", ["exp"], [], {"k": "AA"}, "http://127.0.0.1/", 1, "k1")
            )
        return join((json.dumps(header).encode(), json.dumps(_claims(rng)).encode()))

    def alter(self, rng: random.Random, data: bytes) -> bytes:
        return mutate_parts(rng, data, lambda rng: split(self.make(rng))[0], mutate_one)

    def seeds(self) -> list[bytes]:
        claims = {"exp": NOW_S + 60, "raffia": {"*": "edit"}}
        token = make_token(claims, self._keys, ClaimRules(), NOW_S)
        return [token.encode(), join((b'{"alg":"HS256"}', json.dumps(claims).encode()))]

    def run(self, data: bytes) -> None:
        parts = split(data)
        if len(parts) == 2:
            signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
            signature = base64.urlsafe_b64encode(self._hs256.sign(signed, self._secret)).rstrip(b"=")
            token = (signed + b"." + signature).decode()
        else:
            token = data.decode("latin-1")
        try:
            claims = _now(self._verifier.verify(token, NOW_S))
        except UnauthenticatedError as error:
            check(len(token) < 12 or token not in str(error), "a message holds the token")
            raise
        judge(claims, ClaimRules())
        if len(parts) == 2:
            header = json.loads(parts[0])
            check(header["alg"] == "HS256" and "crit" not in header, "a header that is not taken")
            check(dict(claims.all) == json.loads(parts[1]), "claims that do not stand there")
        else:
            signed, _, signature = data.rpartition(b".")
            good = base64.urlsafe_b64encode(self._hs256.sign(signed, self._secret)).rstrip(b"=")
            check(signature == good, "a signature that nobody made")


def _now(work: object) -> Claims:
    """The result of a coroutine that waits for nothing."""
    try:
        work.send(None)  # type: ignore[attr-defined]
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")
