"""`raffia token` and `raffia new-key`: MN1-MN3 of cli/token.py and cli/new_key.py."""

from __future__ import annotations

from pathlib import Path

import jwt
import pytest
from tests.support.tokens import SECRET, ec_key, private_pem, public_pem
from typer.testing import CliRunner, Result

from raffia.auth.authorizer import Authorizer
from raffia.auth.hooks import Handshake
from raffia.cli.main import app
from raffia.cli.token import span_s
from raffia.errors import SettingsError
from raffia.settings import Settings, load_settings
from raffia.types import Access, DocumentId


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"RAFFIA_{name.upper()}", raising=False)


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    (tmp_path / "secret").write_text(SECRET)
    return str(tmp_path / "secret")


def raffia(*arguments: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), env=env)


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("1h", 3600), (" 7D ", 604_800)])
def test_spans(text: str, seconds: float) -> None:
    assert span_s(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-1h", "1w", "h", "1h30m", "1e9", "inf", "٣"])
def test_what_is_no_span(text: str) -> None:
    with pytest.raises(SettingsError, match="--for"):
        span_s(text)


async def test_mn1_the_token_alone_is_printed_and_the_server_takes_it(key_file: str) -> None:
    env = {
        "RAFFIA_AUTH_KEY_FILE": key_file,
        "RAFFIA_AUTH_AUDIENCE": "raffia,b",
        "RAFFIA_AUTH_ISSUER": "https://a.example",
    }
    who = ("--user", "zoë", "--name", "Zoë 😀", "--color", "#f00")
    done = raffia(
        "token", "--document", "team/*", "--document", "notes/1", "--can", "edit", "--for", "1h", *who, env=env
    )
    assert done.exit_code == 0, done.output
    (line,) = done.stdout.splitlines()
    claims = jwt.decode(line, options={"verify_signature": False})
    assert 3599 <= claims["exp"] - claims["iat"] <= 3600
    assert claims["raffia"] == {"team/*": "edit", "notes/1": "edit"}
    assert (claims["sub"], claims["name"], claims["aud"]) == ("zoë", "Zoë 😀", "raffia")
    authorizer = Authorizer(
        load_settings(auth_key_file=key_file, auth_audience="raffia", auth_issuer="https://a.example"), None
    )
    grant = await authorizer.grant(Handshake(), line, DocumentId("team/x"))
    assert (grant.access, grant.user, grant.claims["color"]) == (Access.EDIT, "zoë", "#f00")
    assert grant.claims["jti"] == claims["jti"]


def test_a_private_key_signs_for_a_server_that_takes_its_keys_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "ec.pem").write_bytes(private_pem(ec_key()))
    env = {"RAFFIA_AUTH_JWKS_URL": "https://id.example/keys", "RAFFIA_AUTH_AUDIENCE": "raffia"}
    done = raffia("token", "--document", "*", "--auth-key-file", str(tmp_path / "ec.pem"), env=env)
    assert jwt.get_unverified_header(done.stdout.strip())["alg"] == "ES256"
    without = raffia("token", "--document", "*", env=env)
    assert (without.exit_code, without.stdout) == (2, "")
    assert "no key to sign with" in without.stderr


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--document", "te*"], "neither a document id nor a pattern"),
        (["--document", "a", "--can", "Edit"], "'Edit' is not one of none, read, comment, edit, admin"),
        (["--document", "a", "--for", "soon"], "write 90s, 15m, 1h or 7d"),
        (["--document", "a", "--user", "x" * 257], "257 characters; the limit is 256"),
        (["--document", "a", "--for", "2h"], "the limit is 3600 s"),
        (["--document", "a", "--auth-key-file", "nowhere"], "cannot read nowhere"),
        (["--document", "a", "--auth-key-file", "PUBLIC"], "public keys only"),
    ],
)
def test_mn2_errors_are_one_line_and_no_token(tmp_path: Path, key_file: str, flags: list[str], says: str) -> None:
    (tmp_path / "public.pem").write_bytes(public_pem(ec_key()))
    flags = [str(tmp_path / "public.pem") if flag == "PUBLIC" else flag for flag in flags]
    done = raffia("token", *flags, env={"RAFFIA_AUTH_KEY_FILE": key_file, "RAFFIA_AUTH_MAX_LIFETIME_S": "3600"})
    assert (done.exit_code, done.stdout) == (2, "")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_mn3_a_new_key_is_its_owners_alone_and_replaces_nothing(tmp_path: Path) -> None:
    path = tmp_path / "schlüssel"
    done = raffia("new-key", str(path))
    assert (done.exit_code, done.stdout) == (0, "")
    assert f"RAFFIA_AUTH_KEY_FILE={path}" in done.stderr
    assert path.stat().st_mode & 0o777 == 0o600
    secret = path.read_text()
    assert len(secret.strip()) >= 43
    assert secret.strip() not in done.stderr
    again = raffia("new-key", str(path))
    assert again.exit_code == 2
    assert "exists; name a new file" in again.stderr
    assert path.read_text() == secret
    assert raffia("token", "--document", "a", "--auth-key-file", str(path)).exit_code == 0
    assert "cannot write" in raffia("new-key", str(tmp_path / "no" / "folder")).stderr
