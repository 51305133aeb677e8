"""Places where tokens decide, and what their owner does over REST.

Rules:
    GP1  At the end no token stands in what a server has logged.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
from playwright.async_api import Request

from tests.browser.people import Person
from tests.browser.scene import Place
from tests.support.server import RaffiaServer
from tests.support.tokens import SECRET, token

TOKEN = re.compile(r"eyJ[\w-]{8,}")


def env_of(folder: Path) -> dict[str, str]:
    """Settings of a server that wants tokens, and logs all that it can."""
    key = folder / "secret"
    key.write_text(SECRET)
    return {"RAFFIA_AUTH_KEY_FILE": str(key), "RAFFIA_AUTH_LEEWAY_S": "0", "RAFFIA_LOG_LEVEL": "debug"}


def owner(lifetime_s: float = 600) -> str:
    """A token that may do everything with `team/…`."""
    return token(sub="owner", raffia={"team/*": "admin"}, lifetime_s=lifetime_s)


async def create(place: Place, kind: str, title: str) -> str:
    """A document of the owner's; its id."""
    async with httpx.AsyncClient(base_url=place.http, headers={"authorization": f"Bearer {owner()}"}) as client:
        answer = await client.post("/api/documents", json={"kind": kind, "title": title, "folder": "team/"})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])


def check_logs(servers: list[RaffiaServer]) -> None:
    """GP1."""
    for server in servers:
        text = server.log_path.read_text()
        assert TOKEN.findall(text) == []
        assert SECRET not in text


class Watch:
    """Everything that a person's pages tell to servers and show in the address bar: no token may be in an address."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.leaks: list[str] = []
        person.page.on("request", self._on_request)
        person.page.on("websocket", lambda socket: self._look("websocket", socket.url))

    def _on_request(self, request: Request) -> None:
        # The browser's own address has a fragment, which it does not send.
        self._look("request", request.url.split("#")[0])
        self._look("referer", request.headers.get("referer", ""))

    def _look(self, what: str, text: str) -> None:
        if TOKEN.search(text):
            self.leaks.append(f"{what}: {text}")

    def check(self) -> None:
        """No address of a request, no Referer and not the address bar holds a token."""
        self._look("address bar", self.person.page.url)
        assert not self.leaks, "\n".join(self.leaks)


def link_in(text: Any) -> str:
    """The fragment of a link that was copied, as `#token=…`."""
    found = re.fullmatch(r"http://127\.0\.0\.1:\d+/[db]/[^#]+(#token=[\w.-]+)", str(text))
    assert found, text
    return found[1]
