"""The claims of a token, checked strictly, and the documents that they give access to.

    {"exp": 1790000000, "sub": "zoë", "raffia": {"team/*": "edit", "notes/1": "read"}}

Rules (tests quote these ids):
    CM1  `exp` is required. `exp`, `nbf` and `iat` are numbers; booleans and strings that look like numbers are
         refused. With a maximum lifetime set, a token that is valid for longer than that is refused, counted from now
         and from its `iat`: revocations are kept for that long, and such a token would outlive its revocation.
    CM2  With an audience set, `aud` has to name it; without one, a token that has an `aud` is refused, because it was
         issued for another service. With an issuer set, `iss` has to match it.
    CM3  A claim of the wrong type invalidates the token: `"edit": true` or a level in capitals is never interpreted.
    CM4  A pattern is a document id, a document id followed by `/*`, or `*`. `team/*` matches every document below
         `team/`, at any depth, but not `team` itself. Names are compared character by character.
    CM5  Of the patterns that match, the most specific one applies: the document's own id, else the longest pattern. So
         `{"team/*": "edit", "team/plan": "read"}` does not allow editing the plan. `none` excludes a document.
    CM6  A JSON object with duplicate names invalidates the token: different parsers might use different values. So does
         JSON that is not UTF-8 or begins with a byte order mark.
    CM7  No error contains a pattern: error texts are logged, and ids of documents may be confidential.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from raffia.errors import UnauthenticatedError
from raffia.types import DOCUMENT_ID, MAX_DOCUMENT_ID, MAX_USER, Access, DocumentId

LEVELS: dict[str, Access | None] = {
    "none": None,
    "read": Access.READ,
    "comment": Access.COMMENT,
    "edit": Access.EDIT,
    "admin": Access.ADMIN,
}
KEPT = ("jti", "lnk", "name", "color")
MAX_TIME_S = float(1 << 53)


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """What claims are checked against.

    Attributes:
        claim: name of the claim that holds patterns and levels.
        audiences: one of them must be in `aud`; empty for none.
        issuer: required value of `iss`; None for any.
        leeway_s: how far clocks may differ, in seconds.
        max_lifetime_s: longest time from now, and from `iat`, to `exp`, in seconds; None for no limit.
    """

    claim: str = "raffia"
    audiences: tuple[str, ...] = ()
    issuer: str | None = None
    leeway_s: float = 0.0
    max_lifetime_s: float | None = None


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a token that has been verified.

    Attributes:
        user: `sub`; None for a token without a user.
        expires_s: Unix time in seconds at which the grant ends, leeway included.
        patterns: maps patterns to levels; None for no access.
        kept: claims that stay with the grant, if the token has them: token id, link id, name, colour and time of issue.
        all: all claims, as they are in the token.
    """

    user: str | None
    expires_s: float
    patterns: Mapping[str, Access | None]
    kept: dict[str, object] = field(default_factory=dict)
    all: Mapping[str, Any] = field(default_factory=dict)

    @property
    def issued_s(self) -> float | None:
        """`iat`, Unix time in seconds; None if the token has none."""
        issued_s = self.all.get("iat")
        return None if issued_s is None else float(issued_s)

    def access(self, document: DocumentId) -> Access | None:
        """The level for a document; None for no access (CM4, CM5)."""
        patterns = self.patterns
        if document in patterns:
            return patterns[document]
        end = len(document)
        while (end := document.rfind("/", 0, end)) >= 0:
            pattern = document[: end + 1] + "*"
            if pattern in patterns:
                return patterns[pattern]
        return patterns.get("*")


def read_claims(payload: bytes, rules: ClaimRules, now_s: float) -> Claims:
    """Read and check the payload of a token whose signature is valid.

    Args:
        payload: the JSON that was signed.
        rules: what the claims are checked against.
        now_s: Unix time in seconds.

    Raises:
        UnauthenticatedError: malformed, not valid now, or not for this server (closes 4401).
    """
    try:
        claims = json_object(payload)
    except (ValueError, RecursionError):
        raise UnauthenticatedError("the token's claims are not JSON, not an object, or have duplicate names") from None
    expires_s = _check_times(claims, rules, now_s)
    _check_audience(claims, rules)
    return Claims(
        user=_text(claims, "sub"),
        expires_s=expires_s,
        patterns=read_patterns(claims.get(rules.claim, {}), rules.claim),
        kept={name: claims[name] for name in KEPT if _text(claims, name) is not None}
        | ({"iat": claims["iat"]} if "iat" in claims else {}),
        all=claims,
    )


def read_patterns(value: object, claim: str = "raffia") -> dict[str, Access | None]:
    """Read the claim that maps patterns to levels (CM3, CM4).

    Raises:
        UnauthenticatedError: not patterns and levels.
    """
    if not isinstance(value, dict):
        raise UnauthenticatedError(f"the token's claim {claim} is not an object of patterns and levels")
    patterns: dict[str, Access | None] = {}
    for pattern, level in value.items():
        if not is_pattern(pattern):
            raise UnauthenticatedError(
                f"the token's claim {claim} has a name that is neither a document id nor a pattern; a * can only be "
                "the last part"
            )
        if not isinstance(level, str) or level not in LEVELS:
            raise UnauthenticatedError(f"the token's claim {claim} has a level that is not one of {', '.join(LEVELS)}")
        patterns[pattern] = LEVELS[level]
    return patterns


def is_pattern(text: str) -> bool:
    """Whether this is a document id or a pattern (CM4)."""
    if text == "*":
        return True
    name = text.removesuffix("/*")
    return len(text) <= MAX_DOCUMENT_ID and DOCUMENT_ID.fullmatch(name) is not None


def json_object(encoded: bytes) -> dict[str, Any]:
    """Read a JSON object (CM6).

    Raises:
        ValueError: it is not a JSON object or not UTF-8, begins with a byte order mark, or repeats a name in an object.
        RecursionError: it is nested too deeply.
    """
    # As text: from bytes, `json` guesses UTF-16 and UTF-32.
    found = json.loads(encoded.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    if not isinstance(found, dict):
        raise ValueError("not an object")  # noqa: TRY004 - as for other JSON that is not what it should be
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate name")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _check_times(claims: dict[str, Any], rules: ClaimRules, now_s: float) -> float:
    """Check `exp`, `nbf` and `iat` (CM1); returns when the grant ends."""
    expires_s = _time(claims, "exp")
    if expires_s is None:
        raise UnauthenticatedError("the token has no exp; issue tokens that expire")
    if expires_s + rules.leeway_s <= now_s:
        raise UnauthenticatedError(f"the token expired {now_s - expires_s:.0f} s ago; sign in again")
    if rules.max_lifetime_s is not None and expires_s > now_s + rules.max_lifetime_s + rules.leeway_s:
        raise UnauthenticatedError(
            f"the token is valid for another {expires_s - now_s:.0f} s; the limit is {rules.max_lifetime_s:g} s"
        )
    issued_s = _time(claims, "iat")
    if rules.max_lifetime_s is not None and issued_s is not None and expires_s - issued_s > rules.max_lifetime_s:
        raise UnauthenticatedError(
            f"the token was issued for {expires_s - issued_s:.0f} s; the limit is {rules.max_lifetime_s:g} s"
        )
    for name in ("nbf", "iat"):
        from_s = _time(claims, name)
        if from_s is not None and from_s > now_s + rules.leeway_s:
            raise UnauthenticatedError(f"the token's {name} is {from_s - now_s:.0f} s in the future; check the clocks")
    return expires_s + rules.leeway_s


def _check_audience(claims: dict[str, Any], rules: ClaimRules) -> None:
    """Check `aud` and `iss` (CM2)."""
    audience = claims.get("aud", ())
    named = [audience] if isinstance(audience, str) else audience
    if not isinstance(named, list | tuple) or not all(isinstance(name, str) for name in named):
        raise UnauthenticatedError("the token's aud is neither a string nor a list of strings")
    if ("aud" in claims or rules.audiences) and not set(named) & set(rules.audiences):
        raise UnauthenticatedError("the token's aud does not name this server")
    if rules.issuer is not None and claims.get("iss") != rules.issuer:
        raise UnauthenticatedError("the token's iss is not the issuer that this server trusts")


def _time(claims: dict[str, Any], name: str) -> float | None:
    if name not in claims:
        return None
    value = claims[name]
    # True is an int in Python, and a string such as "1e9" is easily taken for a number.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnauthenticatedError(f"the token's {name} is not a number")
    if not 0 <= value <= MAX_TIME_S or not math.isfinite(value):
        raise UnauthenticatedError(f"the token's {name} is not a time in seconds")
    return float(value)


def _text(claims: dict[str, Any], name: str) -> str | None:
    """The value of a string claim; None if the token does not have it."""
    if name not in claims:
        return None
    value = claims[name]
    if not isinstance(value, str) or not value:
        raise UnauthenticatedError(f"the token's {name} is not a string")
    if len(value) > MAX_USER:
        raise UnauthenticatedError(f"the token's {name} has {len(value)} characters; the limit is {MAX_USER}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UnauthenticatedError(f"the token's {name} is not valid UTF-8") from None
    return value
