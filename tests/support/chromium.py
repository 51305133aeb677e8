"""Tabs of a headless Chromium, driven through its DevTools protocol: no driver, no package, one process per test.

Rules:
    X1  Every tab has a context of its own, with its own storage, like another person's browser.
    X2  Waiting is `until(expression)`, with a deadline; its failure shows what the page shows.
    X3  What a tab asks for over the network is recorded, with what its content policy forbade.
"""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import tempfile
import time
from collections import deque
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from websockets.sync.client import ClientConnection, connect

DEADLINE_S = 20.0
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # tests run as root in containers; the pages are our own
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
    "--no-first-run",
    "--remote-debugging-port=0",
)


class Chromium:
    """One browser process, as a context manager."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="weft-chromium-", ignore_cleanup_errors=True)
        self._process: subprocess.Popen[str] | None = None
        self._stack = ExitStack()
        self._socket: ClientConnection | None = None
        self._ids = itertools.count(1)
        self._tabs: dict[str, Tab] = {}

    def __enter__(self) -> Self:
        program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        if program is None:
            raise RuntimeError("chromium is not installed; `make test` installs it on Debian, or names it")
        log = Path(self._folder.name) / "log.txt"
        with log.open("w") as stream:
            self._process = subprocess.Popen(
                [program, *FLAGS, f"--user-data-dir={self._folder.name}/profile", "about:blank"],
                stdout=subprocess.DEVNULL,
                stderr=stream,
            )
        deadline = time.monotonic() + DEADLINE_S
        mark = "DevTools listening on "
        while mark not in (text := log.read_text(errors="replace")):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._process.kill()
                raise RuntimeError(f"chromium did not start:\n{text[-2000:]}")
            time.sleep(0.02)
        url = text.split(mark, 1)[1].split()[0]
        self._socket = self._stack.enter_context(connect(url, max_size=None, proxy=None, compression=None))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._folder.cleanup()

    def call(self, method: str, *, session: str = "", **params: Any) -> dict[str, Any]:
        """Send one command and wait for its answer; events that come meanwhile go to their tabs."""
        if self._socket is None:
            raise RuntimeError("chromium is not running")
        number = next(self._ids)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv(DEADLINE_S))
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return dict(answer["result"])
            if (tab := self._tabs.get(answer.get("sessionId", ""))) is not None:
                tab.event(answer["method"], answer["params"])

    def open(self, url: str) -> Tab:
        """Open a tab as another person (X1)."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = self._tabs[session] = Tab(self, session)
        for domain in ("Network", "Page", "Runtime", "Log"):
            tab.call(f"{domain}.enable")
        tab.go(url)
        return tab


class Tab:
    """One page.

    Attributes:
        requests: URLs that it asked for, sockets included (X3).
        problems: exceptions and errors on its console.
    """

    def __init__(self, browser: Chromium, session: str) -> None:
        self._browser = browser
        self._session = session
        self.requests: list[str] = []
        self.problems: deque[str] = deque(maxlen=50)

    def event(self, method: str, params: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Network.webSocketCreated":
            self.requests.append(params["url"])
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.problems.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One DevTools command for this page."""
        return self._browser.call(method, session=self._session, **params)

    def go(self, url: str) -> None:
        """Load a page."""
        self.call("Page.navigate", url=url)

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression; RuntimeError when it throws."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"].get("exception", {}).get("description", str(answer)))
        return answer["result"].get("value")

    def until(self, expression: str, deadline_s: float = DEADLINE_S) -> None:
        """Wait until an expression is truthy (X2)."""
        deadline = time.monotonic() + deadline_s
        while True:
            try:
                if self.run(f"Boolean({expression})"):
                    return
                last = ""
            except RuntimeError as error:  # perhaps the page is being replaced
                last = str(error)
            if time.monotonic() > deadline:
                body = self.run("document.body ? document.body.innerText : ''")
                raise AssertionError(f"not within {deadline_s:g} s: {expression} {last}\n{body}\n{[*self.problems]}")
            time.sleep(0.03)

    def type(self, text: str) -> None:
        """Put text where the focus is, as an input method does."""
        self.call("Input.insertText", text=text)

    def press(self, key: str, *, modifiers: int = 0) -> None:
        """Press one key; modifiers: 1 Alt, 2 Ctrl, 4 Meta, 8 Shift."""
        codes = {"Backspace": 8, "ArrowLeft": 37, "z": 90, "y": 89}
        common = {"key": key, "modifiers": modifiers, "windowsVirtualKeyCode": codes[key]}
        self.call("Input.dispatchKeyEvent", type="rawKeyDown", **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)
