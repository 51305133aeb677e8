"""`raffia revoke`: take back a user's tokens, one token, or the links to a document, at a running server.

The server does it: with SQLite it alone has the data folder, and its live sessions end at once. The command makes
itself a token for one minute with the key file of the settings and asks over REST.

Rules (tests quote these ids):
    Z1  Exit status 0 means that it is durable; 2 says what went wrong, in one line.
    Z2  Proxies from the environment and redirects are not followed: a token travels with the question.
"""

from __future__ import annotations

import ssl
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raffia.cli.failure import reported
from raffia.cli.token import mint, signing_settings
from raffia.errors import SettingsError
from raffia.settings import Settings
from raffia.types import DocumentId, document_id

if TYPE_CHECKING:
    import httpx

TOKEN_S = 60.0
DEADLINE_S = 30.0


def server_url(settings: Settings) -> str:
    """Where the server of these settings is reached from this machine."""
    scheme = "https" if settings.tls_certificate else "http"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 - not listened on
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.port}{settings.root_path}"


def ask(url: str, token: str, body: dict[str, str]) -> dict[str, Any]:
    """Ask a server to revoke something.

    Raises:
        SettingsError: it cannot be reached, or refuses, with what it says.
    """
    import httpx  # noqa: PLC0415 - only this command needs it

    try:
        answer = httpx.post(
            f"{url.rstrip('/')}/api/revocations",
            json=body,
            headers={"authorization": f"Bearer {token}"},
            verify=ssl.create_default_context(),
            trust_env=False,
            follow_redirects=False,
            timeout=DEADLINE_S,
        )
        if not answer.is_success:
            raise SettingsError(f"{url} refuses ({answer.status_code}): {_message(answer)}")
        said: dict[str, Any] = answer.json()
    except (httpx.UnsupportedProtocol, httpx.InvalidURL):
        raise SettingsError(f"--server: {url!r} is no URL; write http://127.0.0.1:8000") from None
    except (httpx.HTTPError, ValueError) as error:
        raise SettingsError(f"cannot ask {url}: {error}") from None
    return said


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return answer.text.strip()[:200] or answer.reason_phrase


def revoke(
    *,
    user: Annotated[str | None, typer.Option("--user", help="Everything issued to this user until now.")] = None,
    token: Annotated[str | None, typer.Option("--token", metavar="JTI", help="The token of this id (jti).")] = None,
    links: Annotated[
        str | None, typer.Option("--links", metavar="DOCUMENT", help="All links to this document until now.")
    ] = None,
    server: Annotated[
        str | None, typer.Option("--server", metavar="URL", help="A running server. [default: as for raffia serve]")
    ] = None,
    auth_key_file: Annotated[
        str | None,
        typer.Option("--auth-key-file", metavar="PATH", help="As for raffia serve; a secret or private key."),
    ] = None,
) -> None:
    """Take access back, at once and on all replicas: of a user, of one token, or of a document's links."""
    given = {name: value for name, value in (("user", user), ("token", token), ("links", links)) if value is not None}
    with reported():
        if len(given) != 1:
            raise SettingsError("say what to revoke: one of --user, --token and --links")
        settings = signing_settings(auth_key_file)
        pattern = DocumentId("*") if links is None else document_id(links)
        lifetime_s = min(TOKEN_S, settings.auth_max_lifetime_s or TOKEN_S)
        made = mint(settings, [pattern], "admin", lifetime_s, time.time())
        said = ask(server or server_url(settings), made, given)
    typer.echo(f"revoked {said['kind']} {said['subject']}: {said['ended']} sessions ended there, others within 5 s")
