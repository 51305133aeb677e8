"""Logs: LG1-LG3 of logs.py."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest
from tests.support.tokens import token

from raffia.runtime.logs import get_logger, redact, redacted_server_logs

SECRET = "geheim-é-1234"
JWT = token(sub=SECRET)


def leaks(text: str) -> bool:
    """Whether a part of the secret or of the token stands in a text."""
    return SECRET in text or any(part[5:25] in text for part in JWT.split("."))


@pytest.mark.parametrize(
    "text",
    [
        f'127.0.0.1:1 - "WebSocket /sync/notes?token={SECRET}" [accepted]',
        f"/sync/notes?schema=2&access_token={SECRET}&x=1",
        f"?TOKEN={SECRET}",
        f"/x?api_key={SECRET}#top",
        f"ticket={SECRET}",
        f"Authorization: Bearer {JWT}",
        f"{{'authorization': 'bearer {JWT}'}}",
        f"sec-websocket-protocol: raffia, raffia.token.{JWT}",
        f"hook failed for {JWT}!",
        f"'{JWT[:-20]}' is cut short",
    ],
)
def test_lg2_secrets_are_replaced(text: str) -> None:
    assert not leaks(redact(text))
    assert "***" in redact(text)


@pytest.mark.parametrize(
    "text",
    ["/sync/notes?schema=2&name=Zoë", "tokens = 3", "a plain line", "/x?broken", "the bearer", "raffia.auth.tokens"],
)
def test_lg2_everything_else_stays(text: str) -> None:
    assert redact(text) == text


def test_lg2_the_servers_own_lines_are_redacted_while_raffia_runs(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = logging.getLogger("uvicorn.access")
    for name in ("uvicorn", "uvicorn.access", "uvicorn.error"):
        # Whatever configured logging in this process before: levels, handlers that keep lines to themselves.
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)
        monkeypatch.setattr(logging.getLogger(name), "disabled", False)
        caplog.set_level("INFO", logger=name)
    with caplog.at_level("INFO"), redacted_server_logs():
        access.info('%s - "%s %s HTTP/%s" %d', "1.2.3.4:5", "GET", f"/sync/a?token={SECRET}", "1.1", 426)
        logging.getLogger("uvicorn.error").info('%s - "WebSocket %s" 403', ("::1", 5), f"/sync/a?token={SECRET}")
    assert "token=***" in caplog.text
    assert SECRET not in caplog.text
    assert access.filters == []


def test_lg1_fields_reach_the_standard_library(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        get_logger("raffia.test").info("document opened", document="notes/é😀", size_bytes=3)
    record = caplog.records[0]
    assert (record.name, record.getMessage(), record.__dict__["document"]) == (
        "raffia.test",
        "document opened",
        "notes/é😀",
    )


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)


def test_json_lines_hold_fields_and_no_secrets() -> None:
    done = run_python(
        "import logging\n"
        "from raffia.runtime.logs import configure_logging, get_logger\n"
        "configure_logging('info', 'auto')\n"
        "get_logger('raffia.x').info('opened', document='é😀')\n"
        f"logging.getLogger('uvicorn.access').warning('%s', '/sync?token={SECRET}')\n"
        "try:\n    1 / 0\nexcept ZeroDivisionError:\n    get_logger('raffia.x').exception('failed')\n"
        "get_logger('raffia.x').debug('hidden')\n"
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["opened", "/sync?token=***", "failed"]
    assert lines[0] | {"timestamp": 0} == {
        "event": "opened", "document": "é😀", "level": "info", "logger": "raffia.x", "timestamp": 0,
    }  # fmt: skip
    assert "ZeroDivisionError" in json.dumps(lines[2])
    assert done.stdout == ""


@pytest.mark.parametrize(("level", "lines"), [("info", 0), ("debug", 2)])
def test_a_line_for_each_request_is_for_debugging(level: str, lines: int) -> None:
    done = run_python(
        "import logging\n"
        "from raffia.runtime.logs import configure_logging\n"
        f"configure_logging({level!r}, 'json')\n"
        "for name in ('uvicorn.access', 'httpx'):\n    logging.getLogger(name).info('GET / 200')\n"
    )
    assert len(done.stderr.splitlines()) == lines


@pytest.mark.parametrize("form", ["json", "text"])
def test_lg2_no_field_and_no_traceback_holds_a_token(form: str) -> None:
    done = run_python(
        "from raffia.runtime.logs import configure_logging, get_logger\n"
        f"configure_logging('info', {form!r})\n"
        "log = get_logger('raffia.x')\n"
        f"log.info('asked', token_field='raffia.token.{JWT}', deep={{'a': ['Bearer {JWT}']}})\n"
        "def hook(token, secret):\n"
        "    raise ValueError(f'cannot decode {token}')\n"
        f"try:\n    hook({JWT!r}, {SECRET!r})\n"
        "except ValueError:\n    log.exception('authorize hook failed')\n"
    )
    assert "cannot decode ***" in done.stderr
    assert "authorize hook failed" in done.stderr
    assert not leaks(done.stderr), done.stderr


def test_lg3_importing_raffia_configures_nothing() -> None:
    done = run_python(
        "import logging\nbefore = list(logging.root.handlers), logging.root.level\n"
        "import raffia.runtime.logs, raffia.auth.authorizer\n"
        "assert (list(logging.root.handlers), logging.root.level) == before\n"
        "assert not logging.getLogger('raffia').handlers\nprint('ok')"
    )
    assert done.stdout == "ok\n"
