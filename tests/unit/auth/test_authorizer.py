"""Origins, open mode, tokens and the authorize hook: A1-A10 of auth.py, K1-K5 of hooks.py."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.support.tokens import SECRET, token

from raffia.auth.authorizer import Authorizer, check_open_mode, is_same_origin, normal_origin
from raffia.auth.hooks import Handshake, choose_subprotocol, load_hook, open_to_all
from raffia.errors import AuthUnavailableError, ForbiddenError, SettingsError, UnauthenticatedError
from raffia.settings import load_settings
from raffia.types import Access, DocumentId, Grant

DOCUMENT = DocumentId("team/notes")


async def everybody_reads(handshake: Handshake, token: str | None, document: DocumentId) -> Grant:
    return Grant(Access.READ, user="é😀")


def handshake(origin: str | None, host: str = "docs.example", address: str = "127.0.0.1") -> Handshake:
    headers = {"host": host} | ({"origin": origin} if origin is not None else {})
    return Handshake(address=address, path="/sync/x", headers=headers, origin=origin)


def allowed(authorizer: Authorizer, request: Handshake, scheme: str = "ws") -> bool:
    try:
        authorizer.check_origin(request, scheme)
    except ForbiddenError:
        return False
    return True


@pytest.mark.parametrize(
    ("origin", "host", "ok"),
    [
        ("https://docs.example", "docs.example", True),
        ("https://DOCS.example:443", "docs.example", True),
        ("http://docs.example", "docs.example", True),
        ("https://docs.example:8443", "docs.example:8443", True),
        ("https://partner.example", "docs.example", True),  # on the allow-list
        ("https://partner.example:444", "docs.example", False),
        ("http://partner.example", "docs.example", False),
        ("https://evil.example", "docs.example", False),
        ("https://docs.example.evil.example", "docs.example", False),
        ("https://docs.example:8443", "docs.example", False),
        ("http://localhost:5173", "docs.example", False),
        ("null", "docs.example", False),
        ("https://[broken", "docs.example", False),
        ("", "", False),
        (None, "docs.example", True),  # A4 decides
    ],
)
def test_a1_with_a_hook_same_origin_and_allow_list(origin: str | None, host: str, ok: bool) -> None:
    authorizer = Authorizer(load_settings(allowed_origins="https://partner.example"), everybody_reads)
    assert allowed(authorizer, handshake(origin, host)) is ok


def test_a1_tls_is_not_mixed_with_plain_pages() -> None:
    authorizer = Authorizer(load_settings(), everybody_reads)
    assert allowed(authorizer, handshake("https://docs.example"), "wss")
    assert not allowed(authorizer, handshake("http://docs.example"), "wss")


@pytest.mark.parametrize(
    ("origin", "host", "ok"),
    [
        (None, "127.0.0.1:8000", True),
        ("http://localhost:5173", "127.0.0.1:8000", True),
        ("http://127.0.0.1:8000", "127.0.0.1:8000", True),
        ("https://[::1]:3000", "localhost:8000", True),
        ("https://partner.example", "localhost:8000", True),
        ("https://evil.example", "127.0.0.1:8000", False),
        ("http://rebound.example:8000", "rebound.example:8000", False),  # DNS rebinding
        ("null", "127.0.0.1:8000", False),
    ],
)
def test_a2_open_on_loopback(origin: str | None, host: str, ok: bool) -> None:
    authorizer = Authorizer(load_settings(allowed_origins="https://partner.example"), None)
    assert allowed(authorizer, handshake(origin, host)) is ok


def test_a2_open_mode_without_the_flag_serves_this_machine_alone() -> None:
    closed = Authorizer(load_settings(), None)
    assert not allowed(closed, handshake(None, address="192.168.1.7"))
    assert allowed(closed, handshake(None, address=""))  # a Unix socket
    assert allowed(closed, handshake(None, address="::ffff:127.0.0.1"))
    flagged = Authorizer(load_settings(open_to_the_network=True), None)
    assert allowed(flagged, handshake(None, address="192.168.1.7"))


def test_a3_open_to_the_network_takes_the_same_origin_too() -> None:
    authorizer = Authorizer(load_settings(open_to_the_network=True), None)
    assert allowed(authorizer, handshake("http://box.lan:8000", "box.lan:8000"))
    assert allowed(authorizer, handshake("http://localhost:5173", "box.lan:8000"))
    assert not allowed(authorizer, handshake("http://evil.example", "box.lan:8000"))


async def test_a4_without_an_origin_a_token_is_needed() -> None:
    authorizer = Authorizer(load_settings(), everybody_reads)
    with pytest.raises(UnauthenticatedError):
        await authorizer.grant(handshake(None), None, DOCUMENT)
    with pytest.raises(UnauthenticatedError):
        await authorizer.grant(handshake(None), "", DOCUMENT)
    assert (await authorizer.grant(handshake(None), "tk", DOCUMENT)).user == "é😀"
    assert (await authorizer.grant(handshake("https://docs.example"), None, DOCUMENT)).access is Access.READ


def test_a5_open_mode_on_the_network_needs_its_flag() -> None:
    with pytest.raises(SettingsError, match="--open-to-the-network"):
        check_open_mode(load_settings(host="0.0.0.0"), None)
    check_open_mode(load_settings(host="0.0.0.0", open_to_the_network=True), None)
    check_open_mode(load_settings(host="0.0.0.0"), everybody_reads)
    check_open_mode(load_settings(host="localhost"), None)


def test_allow_list_is_checked_at_the_start() -> None:
    with pytest.raises(SettingsError, match="write origins as"):
        Authorizer(load_settings(allowed_origins="app.example"), None)
    assert allowed(Authorizer(load_settings(allowed_origins="*"), everybody_reads), handshake("https://any.example"))


def test_normal_origins() -> None:
    assert normal_origin("HTTPS://App.Example") == "https://app.example:443"
    assert normal_origin("http://[::1]") == "http://[::1]:80"
    assert normal_origin("null") is None
    for sloppy in (
        "http://evil.com\\@localhost", "http://localhost?.evil.com", "http://evil.com@localhost", "http://a#b",
        "http://localhost/.evil.com", "http://a b", "http://[::1", "http://", "//a", "http://a:b", "http://a\\b",
    ):  # fmt: skip
        assert normal_origin(sloppy) is None, sloppy
    assert normal_origin("http://a:99999") is None
    assert is_same_origin("http://a.example", "a.example:80", "ws")


@pytest.mark.parametrize(
    ("user", "says"),
    [
        (42, "of type int"),
        (b"ana", "of type bytes"),
        ("x\ud800", "that is not valid UTF-8 (character 1)"),
        ("é" * 257, "of 257 characters; the limit is 256"),
    ],
)
async def test_a7_a_user_that_cannot_be_stored_is_the_hooks_fault(
    user: Any, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def hook(*_: Any) -> Grant:
        return Grant(Access.EDIT, user=user)

    with pytest.raises(AuthUnavailableError, match="try again later"):
        await Authorizer(load_settings(), hook).grant(handshake(None), "tk", DOCUMENT)
    (record,) = caplog.records
    assert record.message == "authorize hook returned a user that cannot be stored"
    assert record.__dict__["user"].startswith(says)


@pytest.mark.parametrize("user", [None, "", "é😀" * 128])
async def test_a7_users_that_can_be_stored(user: str | None) -> None:
    async def hook(*_: Any) -> Grant:
        return Grant(Access.EDIT, user=user)

    assert (await Authorizer(load_settings(), hook).grant(handshake(None), "tk", DOCUMENT)).user == user


async def test_open_mode_grants_edit_without_a_name() -> None:
    grant = await Authorizer(load_settings(), None).grant(handshake(None), None, DOCUMENT)
    assert grant == Grant(Access.EDIT)
    assert grant.user is None


async def test_k1_the_hook_gets_handshake_token_and_document() -> None:
    seen: list[Any] = []

    def hook(handshake: Handshake, token: str | None, document: DocumentId) -> Grant:
        seen.append((handshake.query["room"], token, document, threading.current_thread() is threading.main_thread()))
        return Grant(Access.ADMIN)

    request = Handshake(query={"room": "é"}, origin="https://docs.example")
    assert (await Authorizer(load_settings(), hook).grant(request, "tk", DOCUMENT)).access is Access.ADMIN
    assert seen == [("é", "tk", DOCUMENT, False)]  # K4: on a thread


async def test_k2_none_and_other_things_are_forbidden() -> None:
    for answer in (None, True, "edit", Access.EDIT):
        hook: Any = lambda *_, answer=answer: answer  # noqa: E731 - one hook for each answer
        with pytest.raises(ForbiddenError):
            await Authorizer(load_settings(), hook).grant(handshake(None), "tk", DOCUMENT)


async def test_k2_errors_of_the_tree_pass_as_they_are() -> None:
    async def hook(*_: Any) -> Grant:
        raise UnauthenticatedError("token expired")

    with pytest.raises(UnauthenticatedError, match="token expired"):
        await Authorizer(load_settings(), hook).grant(handshake(None), "tk", DOCUMENT)


async def test_k3_a_hook_that_fails_or_hangs_means_later() -> None:
    async def fails(*_: Any) -> Grant:
        raise ConnectionError("database away, password=hunter2")

    async def hangs(*_: Any) -> Grant:
        await asyncio.Event().wait()
        raise AssertionError

    for hook, settings in ((fails, load_settings()), (hangs, load_settings(preauth_s=0.01))):
        with pytest.raises(AuthUnavailableError) as caught:
            await Authorizer(settings, hook).grant(handshake(None), "tk", DOCUMENT)
        assert caught.value.close_code == 1013
        assert "hunter2" not in str(caught.value)


async def test_k4_a_callable_object_may_be_async() -> None:
    class Hook:
        async def __call__(self, handshake: Handshake, token: str | None, document: DocumentId) -> Grant:
            return Grant(Access.COMMENT)

    assert not (await Authorizer(load_settings(), Hook()).grant(handshake(None), "tk", DOCUMENT)).may_write


def test_handshake_of_an_asgi_scope() -> None:
    scope: dict[str, Any] = {
        "path": "/sync/é",
        "query_string": b"token=a%2Bb&schema=1&schema=2&empty=",
        "headers": [(b"host", b"docs.example"), (b"x-a", b"1"), (b"x-a", b"2"), (b"origin", b"https://docs.example")],
        "client": ("10.0.0.7", 4711),
    }
    request = Handshake.of(scope)
    assert request.address == "10.0.0.7"
    assert request.query == {"token": "a+b", "schema": "2", "empty": ""}
    assert request.headers["x-a"] == "1, 2"
    assert request.origin == "https://docs.example"
    assert request.token == "a+b"
    assert Handshake.of(scope | {"client": None}).address == ""


def test_tokens_come_from_the_query_or_a_bearer_header() -> None:
    assert Handshake(headers={"authorization": "bearer  tk "}).token == "tk"
    assert Handshake(headers={"authorization": "Basic dTpw"}).token is None
    assert Handshake(headers={"authorization": "Bearer"}).token is None
    assert Handshake(query={"token": ""}).token is None


def test_hooks_are_loaded_by_name() -> None:
    assert load_hook("raffia.auth.hooks:open_to_all") is open_to_all
    for name in (
        "raffia.auth.hooks",
        "raffia.auth.hooks:",
        "raffia.auth.hooks:missing",
        "raffia.missing:hook",
        "raffia.auth.hooks:__name__",
    ):
        with pytest.raises(SettingsError, match="RAFFIA_AUTHORIZE"):
            load_hook(name)


def test_refusals_have_their_http_statuses() -> None:
    answers = {error: error.http_status for error in (ForbiddenError, UnauthenticatedError, AuthUnavailableError)}
    assert answers == {ForbiddenError: 403, UnauthenticatedError: 401, AuthUnavailableError: 503}


# -- keys


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "secret").write_text(SECRET)
    return {"auth_key_file": str(tmp_path / "secret")}


PAGE = handshake("https://docs.example")


async def test_a8_a_token_decides(keys: dict[str, str]) -> None:
    authorizer = Authorizer(load_settings(**keys), None)
    grant = await authorizer.grant(handshake(None), token(jti="t1", name="Zoë"), DOCUMENT)
    assert (grant.access, grant.user) == (Access.EDIT, "zoë😀")
    assert (grant.claims["jti"], grant.claims["name"]) == ("t1", "Zoë")
    assert grant.expires_s is not None
    for nothing in (None, ""):
        for request in (PAGE, handshake(None)):
            with pytest.raises(UnauthenticatedError):
                await authorizer.grant(request, nothing, DOCUMENT)
    with pytest.raises(UnauthenticatedError):
        await authorizer.grant(PAGE, "nonsense", DOCUMENT)
    with pytest.raises(UnauthenticatedError, match="expired"):
        await authorizer.grant(PAGE, token(lifetime_s=-31), DOCUMENT)


async def test_a8_another_document_looks_like_one_that_is_not_there(keys: dict[str, str]) -> None:
    authorizer = Authorizer(load_settings(**keys), None)
    said = set()
    for patterns in ({"other": "admin"}, {}, {"team/notes": "none", "*": "admin"}, {"team/notes/*": "edit"}):
        with pytest.raises(ForbiddenError) as caught:
            await authorizer.grant(PAGE, token(raffia=patterns), DOCUMENT)
        said.add(str(caught.value))
    assert said == {"no access to this document"}


async def test_a8_the_clock_is_the_gates(keys: dict[str, str]) -> None:
    made = token(now_s=1_790_000_000)
    at = {"s": 1_790_000_000.0}
    authorizer = Authorizer(load_settings(**keys, auth_leeway_s=30), None, clock=lambda: at["s"])
    assert (await authorizer.grant(PAGE, made, DOCUMENT)).expires_s == 1_790_000_630
    at["s"] += 629.9
    assert await authorizer.grant(PAGE, made, DOCUMENT)
    at["s"] += 0.1
    with pytest.raises(UnauthenticatedError):
        await authorizer.grant(PAGE, made, DOCUMENT)


async def test_a8_settings_are_checked_against(keys: dict[str, str]) -> None:
    settings = load_settings(
        **keys, auth_audience="raffia,zwei", auth_issuer="https://id.example", auth_claim="docs",
        auth_max_lifetime_s=900, max_token_bytes=400,
    )  # fmt: skip
    authorizer = Authorizer(settings, None)
    good = {"aud": "zwei", "iss": "https://id.example", "raffia": None, "docs": {"*": "read"}}
    assert (await authorizer.grant(PAGE, token(**good), DOCUMENT)).access is Access.READ
    for wrong in ({"aud": "drei"}, {"iss": "x"}, {"lifetime_s": 1000}, {"filler": "x" * 400}):
        with pytest.raises(UnauthenticatedError):
            await authorizer.grant(PAGE, token(**(good | wrong)), DOCUMENT)


async def test_a9_a_token_is_verified_before_the_hook_is_asked(keys: dict[str, str]) -> None:
    seen: list[Any] = []

    async def hook(handshake: Handshake, token: str | None, document: DocumentId) -> Grant | None:
        seen.append((None if handshake.claims is None else handshake.claims["sub"], token is not None))
        return Grant(Access.READ, user="hook") if handshake.claims else None

    authorizer = Authorizer(load_settings(**keys), hook)
    with pytest.raises(UnauthenticatedError):
        await authorizer.grant(PAGE, "nonsense", DOCUMENT)
    assert seen == []
    grant = await authorizer.grant(PAGE, token(now_s=None, raffia={"*": "admin"}), DOCUMENT)
    assert (grant.access, grant.user) == (Access.READ, "hook")  # the hook alone decides
    assert grant.expires_s is not None  # but no longer than the token
    with pytest.raises(ForbiddenError):
        await authorizer.grant(PAGE, None, DOCUMENT)  # a page with a cookie, say
    with pytest.raises(UnauthenticatedError):
        await authorizer.grant(handshake(None), None, DOCUMENT)  # A4
    assert seen == [("zoë😀", True), (None, False)]


@pytest.mark.parametrize(("hooks", "ends"), [(None, 600), (10, 10), (600.5, 600), (10_000, 600)])
async def test_a9_the_earlier_end_counts(keys: dict[str, str], hooks: float | None, ends: float) -> None:
    now_s = 1_790_000_000.0
    answer = Grant(Access.READ, expires_s=None if hooks is None else now_s + hooks)
    authorizer = Authorizer(load_settings(**keys, auth_leeway_s=0), lambda *_: answer, clock=lambda: now_s)
    assert (await authorizer.grant(PAGE, token(now_s=now_s), DOCUMENT)).expires_s == now_s + ends


@pytest.mark.parametrize("end", ["1990000000", True, float("nan"), float("inf"), [1], b""])
async def test_a10_an_end_that_is_no_time_is_the_hooks_fault(end: Any, caplog: pytest.LogCaptureFixture) -> None:
    authorizer = Authorizer(load_settings(), lambda *_: Grant(Access.EDIT, expires_s=end))
    with pytest.raises(AuthUnavailableError):
        await authorizer.grant(PAGE, "tk", DOCUMENT)
    assert "an expires_s that is not a time" in caplog.text


async def test_a10_an_end_in_the_past_is_no_access() -> None:
    authorizer = Authorizer(load_settings(), lambda *_: Grant(Access.EDIT, expires_s=1000), clock=lambda: 1000)
    with pytest.raises(UnauthenticatedError, match="sign in again"):
        await authorizer.grant(PAGE, "tk", DOCUMENT)


def test_a5_with_keys_it_is_not_open(keys: dict[str, str]) -> None:
    check_open_mode(load_settings(host="0.0.0.0", **keys), None)
    authorizer = Authorizer(load_settings(**keys), None)
    assert allowed(authorizer, handshake("https://docs.example", address="192.168.1.7"))
    assert not allowed(authorizer, handshake("http://localhost:5173"))
    assert not allowed(authorizer, handshake("https://evil.example"))


def test_keys_that_cannot_be_used_are_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "weak").write_text("geheim")
    with pytest.raises(SettingsError, match="a secret of 6 bytes"):
        Authorizer(load_settings(auth_key_file=tmp_path / "weak"), None)
    with pytest.raises(SettingsError, match="No such file"):
        Authorizer(load_settings(auth_key_file=tmp_path / "none"), None)
    with pytest.raises(SettingsError, match="https"):
        Authorizer(load_settings(auth_jwks_url="http://id.example/keys", auth_audience="raffia"), None)
    with pytest.raises(SettingsError, match="auth_audience"):
        load_settings(auth_jwks_url="https://id.example/keys")
    with pytest.raises(SettingsError, match="set one of them"):
        load_settings(auth_key_file="x", auth_jwks_url="https://id.example/keys", auth_audience="raffia")


# -- where tokens come from


def test_tokens_come_as_a_subprotocol_too() -> None:
    def offered(value: str, **more: Any) -> str | None:
        return Handshake(headers={"sec-websocket-protocol": value}, **more).token

    assert offered("raffia, raffia.token.a.b.c") == "a.b.c"
    assert offered("raffia.token.a.b.c") == "a.b.c"
    assert offered("raffia.token.") is None
    assert offered("raffia, raffia.auth.tokens.a, xraffia.token.b") is None
    assert offered("raffia.token.a", query={"token": "q"}) == "q"


def test_rest_takes_bearer_tokens_alone() -> None:
    request = Handshake(
        headers={"authorization": "Bearer tk", "sec-websocket-protocol": "raffia.token.a"}, query={"token": "q"}
    )
    assert request.bearer == "tk"
    assert Handshake(headers={"sec-websocket-protocol": "raffia.token.a"}, query={"token": "q"}).bearer is None


@pytest.mark.parametrize(
    ("offered", "answer"),
    [
        ([], None),
        (["raffia"], "raffia"),
        (["raffia.token.a.b.c", "raffia"], "raffia"),
        (["raffia.token.a.b.c", "other", "raffia"], "other"),
        (["raffia.token.a.b.c"], "raffia.token.a.b.c"),
    ],
)
def test_a_token_is_answered_only_where_a_browser_needs_it(offered: list[str], answer: str | None) -> None:
    assert choose_subprotocol(offered) == answer
