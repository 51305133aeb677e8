"""`raffia revoke`: revoke a user's tokens, one token, or the links to a document, on a running server.

The server has to do it: with SQLite only the server can open the data folder, and it has to end live sessions. The
command signs a token for one minute with the key file of the settings, and sends a REST request.

Rules (tests quote these ids):
    Z1  Exit status 0 means that the revocation is durable; with 2, one line on standard error says what went wrong.
    Z2  Proxy variables are ignored and redirects are not followed, because the request carries a token.
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
    """The URL at which this machine reaches the server with these settings."""
    scheme = "https" if settings.tls_certificate else "http"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 - this does not listen
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.port}{settings.root_path}"


def ask(url: str, token: str, body: dict[str, str]) -> dict[str, Any]:
    """Ask a server to revoke something.

    Raises:
        SettingsError: the server cannot be reached, or refuses, with its message.
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
            raise SettingsError(f"{url} refused ({answer.status_code}): {_message(answer)}")
        revoked: dict[str, Any] = answer.json()
    except (httpx.UnsupportedProtocol, httpx.InvalidURL):
        raise SettingsError(f"--server: {url!r} is not a URL; write http://127.0.0.1:8000") from None
    except (httpx.HTTPError, ValueError) as error:
        raise SettingsError(f"cannot reach {url}: {error}") from None
    return revoked


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return answer.text.strip()[:200] or answer.reason_phrase


def revoke(
    *,
    user: Annotated[str | None, typer.Option("--user", help="Revoke everything issued to this user until now.")] = None,
    token: Annotated[
        str | None, typer.Option("--token", metavar="JTI", help="Revoke the token with this id (jti).")
    ] = None,
    links: Annotated[
        str | None, typer.Option("--links", metavar="DOCUMENT", help="Revoke all links to this document.")
    ] = None,
    server: Annotated[
        str | None, typer.Option("--server", metavar="URL", help="A running server. [default: as in raffia serve]")
    ] = None,
    auth_key_file: Annotated[
        str | None,
        typer.Option("--auth-key-file", metavar="PATH", help="As in raffia serve; a secret or a private key."),
    ] = None,
) -> None:
    """Revoke a user's access, one token, or the links to a document; other replicas follow within 5 s."""
    given = {name: value for name, value in (("user", user), ("token", token), ("links", links)) if value is not None}
    with reported():
        if len(given) != 1:
            raise SettingsError("name what to revoke: one of --user, --token and --links")
        settings = signing_settings(auth_key_file)
        pattern = DocumentId("*") if links is None else document_id(links)
        lifetime_s = min(TOKEN_S, settings.auth_max_lifetime_s or TOKEN_S)
        made = mint(settings, [pattern], "admin", lifetime_s, time.time())
        revoked = ask(server or server_url(settings), made, given)
    what, ended = f"{revoked['kind']} {revoked['subject']}", revoked["ended"]
    typer.echo(f"revoked {what}: {ended} sessions ended at once, any others within 5 s")
