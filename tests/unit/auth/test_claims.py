"""Claims: CM1-CM6 of claims.py."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.tokens import claims

from raffia.auth.claims import ClaimRules, Claims, is_pattern, read_claims, read_patterns
from raffia.errors import UnauthenticatedError
from raffia.types import Access, DocumentId

NOW_S = 1_790_000_000.0


def read(rules: ClaimRules | None = None, **more: Any) -> Claims:
    return read_claims(json.dumps(claims(NOW_S, **more)).encode(), rules or ClaimRules(), NOW_S)


def access(patterns: dict[str, str], document: str) -> Access | None:
    return read(raffia=patterns).access(DocumentId(document))


def test_what_a_token_says() -> None:
    said = read(name="Zoë 😀", color="#f00", jti="t1", other=[1])
    assert said.user == "zoë😀"
    assert said.expires_s == NOW_S + 600
    assert said.kept == {"name": "Zoë 😀", "color": "#f00", "jti": "t1", "iat": NOW_S}
    assert said.all["other"] == [1]
    assert said.access(DocumentId("team/plan")) is Access.EDIT


# -- CM1: time


@pytest.mark.parametrize("exp", [None, True, False, "1990000000", [1], {}, -1, 1e300])
def test_cm1_exp_is_required_and_a_number(exp: Any) -> None:
    with pytest.raises(UnauthenticatedError, match="exp"):
        read(exp=exp)


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "true", '"1"', "null"])
def test_cm1_times_are_numbers_and_nothing_that_looks_like_one(name: str, value: str) -> None:
    made = {key: json.dumps(item) for key, item in claims(NOW_S).items()} | {name: value}
    payload = "{" + ",".join(f'"{key}":{item}' for key, item in made.items()) + "}"
    with pytest.raises(UnauthenticatedError):
        read_claims(payload.encode(), ClaimRules(leeway_s=60), NOW_S)


@pytest.mark.parametrize(
    ("more", "leeway_s", "good"),
    [
        ({"exp": NOW_S}, 0, False),
        ({"exp": NOW_S + 1}, 0, True),
        ({"exp": NOW_S - 29}, 30, True),
        ({"exp": NOW_S - 30}, 30, False),
        ({"nbf": NOW_S + 1}, 0, False),
        ({"nbf": NOW_S + 30}, 30, True),
        ({"nbf": NOW_S}, 0, True),
        ({"iat": NOW_S + 31}, 30, False),
        ({"iat": NOW_S + 30}, 30, True),
        ({"iat": None}, 0, True),
    ],
)
def test_cm1_clocks_may_differ_by_the_leeway(more: dict[str, Any], leeway_s: float, good: bool) -> None:
    rules = ClaimRules(leeway_s=leeway_s)
    if good:
        assert read(rules, **more).expires_s > NOW_S
    else:
        with pytest.raises(UnauthenticatedError):
            read(rules, **more)


def test_cm1_the_leeway_belongs_to_the_end_of_the_session_too() -> None:
    assert read(ClaimRules(leeway_s=30)).expires_s == NOW_S + 630


def test_cm1_the_longest_lifetime_counts_from_now() -> None:
    rules = ClaimRules(max_lifetime_s=3600)
    assert read(rules, exp=NOW_S + 3600).expires_s == NOW_S + 3600
    with pytest.raises(UnauthenticatedError, match="valid for another 3601 s; the limit is 3600 s"):
        read(rules, exp=NOW_S + 3601)


# -- CM2: for whom and by whom


@pytest.mark.parametrize(
    ("audiences", "aud", "good"),
    [
        ((), None, True),
        ((), "raffia", False),
        ((), [], False),
        (("raffia",), "raffia", True),
        (("raffia",), ["other", "raffia"], True),
        (("raffia", "second"), "second", True),
        (("raffia",), None, False),
        (("raffia",), "Raffia", False),
        (("raffia",), "raffia2", False),
        (("raffia",), [], False),
        (("raffia",), ["raffia", 1], False),
        (("raffia",), {"raffia": True}, False),
        (("raffia",), True, False),
    ],
)
def test_cm2_audience(audiences: tuple[str, ...], aud: Any, good: bool) -> None:
    rules = ClaimRules(audiences=audiences)
    if good:
        read(rules, aud=aud)
    else:
        with pytest.raises(UnauthenticatedError, match="aud"):
            read(rules, aud=aud)


def test_cm2_an_audience_of_null_is_an_audience() -> None:
    with pytest.raises(UnauthenticatedError, match="aud"):
        read_claims(json.dumps(claims(NOW_S) | {"aud": None}).encode(), ClaimRules(), NOW_S)


@pytest.mark.parametrize(("iss", "good"), [("https://id.example", True), ("https://evil.example", False), (None, False),
                                           (["https://id.example"], False)])  # fmt: skip
def test_cm2_issuer(iss: Any, good: bool) -> None:
    rules = ClaimRules(issuer="https://id.example")
    if good:
        read(rules, iss=iss)
    else:
        with pytest.raises(UnauthenticatedError, match="iss"):
            read(rules, iss=iss)


# -- CM3: types


@pytest.mark.parametrize(
    "level", [True, False, 1, 3, None, "", "Edit", "EDIT", "edit ", "write", "owner", ["edit"], {"edit": True}]
)
def test_cm3_a_level_that_is_none_refuses_the_token(level: Any) -> None:
    with pytest.raises(UnauthenticatedError):
        read_claims(json.dumps(claims(NOW_S) | {"raffia": {"team/*": level}}).encode(), ClaimRules(), NOW_S)


@pytest.mark.parametrize("value", [True, 1, "edit", "*", ["team/*"], None])
def test_cm3_the_claim_is_an_object(value: Any) -> None:
    with pytest.raises(UnauthenticatedError, match="not an object"):
        read_claims(json.dumps(claims(NOW_S) | {"raffia": value}).encode(), ClaimRules(), NOW_S)


def test_cm3_admin_false_is_no_admin() -> None:
    said = read(raffia={"notes": "read"}, admin=False, can="edit", role="admin")
    assert said.access(DocumentId("notes")) is Access.READ
    with pytest.raises(UnauthenticatedError):
        read(raffia={"notes": {"admin": False}})


@pytest.mark.parametrize("name", ["sub", "jti", "name", "color"])
@pytest.mark.parametrize("value", [1, True, [], {}, "", "é" * 257, "\ud800"])
def test_cm3_texts_are_texts(name: str, value: Any) -> None:
    with pytest.raises(UnauthenticatedError, match=f"the token's {name} "):
        read(**{name: value})


def test_a_token_without_the_claim_opens_nothing() -> None:
    assert read(raffia=None).access(DocumentId("team/plan")) is None
    assert read(raffia={}).access(DocumentId("team/plan")) is None
    other = read(ClaimRules(claim="https://app.example/raffia"), **{"https://app.example/raffia": {"a": "read"}})
    assert other.access(DocumentId("a")) is Access.READ
    assert other.access(DocumentId("team/plan")) is None  # `raffia` is not the name of the claim there


def test_nobody_needs_a_name() -> None:
    assert read(sub=None).user is None


# -- CM4, CM5: patterns


@pytest.mark.parametrize("pattern", ["*", "a", "team/*", "team/x/*", "Team/a.b:c@d-e_f", "a/" * 60 + "*"])
def test_cm4_patterns(pattern: str) -> None:
    assert is_pattern(pattern)


@pytest.mark.parametrize(
    "pattern",
    ["", "/", "/*", "**", "*/a", "te*", "team/*x", "team/*/x", "team/", "team//*", "team/**", "team/?", "team/[ab]",
     "é/*", "team/.*", "../*", "team/*\n", "team\n/*", " team/*", "team/* ", "team\0/*", "a" * 300, "a/" * 130 + "*"],
)  # fmt: skip
def test_cm4_everything_else_refuses_the_token(pattern: str) -> None:
    assert not is_pattern(pattern)
    with pytest.raises(UnauthenticatedError):
        read_patterns({pattern: "edit"})


@pytest.mark.parametrize(
    ("document", "there"),
    [
        ("team/a", True),
        ("team/a/b/c", True),
        ("team", False),
        ("teams/x", False),
        ("team-x/a", False),
        ("Team/a", False),
        ("other/team/a", False),
        ("team:a", False),
    ],
)
def test_cm4_a_pattern_is_what_lies_below(document: str, there: bool) -> None:
    assert access({"team/*": "edit"}, document) is (Access.EDIT if there else None)


def test_cm4_an_id_is_compared_character_by_character() -> None:
    assert access({"note:1": "edit"}, "note_1") is None
    assert access({"notes/1": "edit"}, "notes/1/2") is None
    assert access({"notes/1": "edit"}, "notes/10") is None
    assert access({"a.c": "edit"}, "abc") is None


def test_cm5_the_most_specific_pattern_counts_in_any_order() -> None:
    rules = {"*": "read", "team/*": "edit", "team/plan": "read", "team/secret/*": "none", "team/secret/mine": "admin"}
    for patterns in (rules, dict(reversed(rules.items()))):
        assert access(patterns, "x") is Access.READ
        assert access(patterns, "team/x") is Access.EDIT
        assert access(patterns, "team/plan") is Access.READ
        assert access(patterns, "team/plan/x") is Access.EDIT
        assert access(patterns, "team/secret/x") is None
        assert access(patterns, "team/secret/x/y") is None
        assert access(patterns, "team/secret/mine") is Access.ADMIN
        assert access(patterns, "team/secrets") is Access.EDIT


# -- CM6


@pytest.mark.parametrize(
    "payload",
    [
        b'{"exp": 1990000000, "exp": 1990000000}',
        b'{"exp": 1990000000, "raffia": {"a": "read", "a": "edit"}}',
        b'{"exp": 1990000000, "x": [{"y": 1, "y": 2}]}',
        b"[]",
        b'"exp"',
        b"",
        b"\xff",
        b'{"exp": 1990000000} x',
        b"[" * 100_000,
        '{"exp": 1990000000}'.encode("utf-16"),
        '{"exp": 1990000000}'.encode("utf-16-le"),
        '{"exp": 1990000000}'.encode("utf-32-be"),
        b"\xef\xbb\xbf" + b'{"exp": 1990000000}',
    ],
)
def test_cm6_what_can_be_read_in_two_ways_is_not_read(payload: bytes) -> None:
    with pytest.raises(UnauthenticatedError):
        read_claims(payload, ClaimRules(), NOW_S)


@pytest.mark.parametrize("value", [{"team/secret/**": "edit"}, {"team/secret": "Edit"}, {"team/secret": 1}])
def test_cm7_no_error_says_a_pattern(value: dict[str, object]) -> None:
    with pytest.raises(UnauthenticatedError) as caught:
        read_patterns(value)
    assert "secret" not in str(caught.value)
