"""Logs: L1-L3 of logs.py."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest

from weft.logs import get_logger, redact, redacted_server_logs

SECRET = "geheim-é-1234"


@pytest.mark.parametrize(
    "text",
    [
        f'127.0.0.1:1 - "WebSocket /sync/notes?token={SECRET}" [accepted]',
        f"/sync/notes?schema=2&access_token={SECRET}&x=1",
        f"?TOKEN={SECRET}",
        f"/x?api_key={SECRET}#top",
        f"ticket={SECRET}",
    ],
)
def test_l2_secrets_are_replaced(text: str) -> None:
    assert SECRET not in redact(text)
    assert "***" in redact(text)


@pytest.mark.parametrize("text", ["/sync/notes?schema=2&name=Zoë", "tokens = 3", "a plain line", "/x?broken"])
def test_l2_everything_else_stays(text: str) -> None:
    assert redact(text) == text


def test_l2_the_servers_own_lines_are_redacted_while_weft_runs(
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


def test_l1_fields_reach_the_standard_library(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        get_logger("weft.test").info("document opened", document="notes/é😀", size_bytes=3)
    record = caplog.records[0]
    assert (record.name, record.getMessage(), record.__dict__["document"]) == (
        "weft.test",
        "document opened",
        "notes/é😀",
    )


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)


def test_json_lines_hold_fields_and_no_secrets() -> None:
    done = run_python(
        "import logging\n"
        "from weft.logs import configure_logging, get_logger\n"
        "configure_logging('info', 'auto')\n"
        "get_logger('weft.x').info('opened', document='é😀')\n"
        f"logging.getLogger('uvicorn.access').warning('%s', '/sync?token={SECRET}')\n"
        "try:\n    1 / 0\nexcept ZeroDivisionError:\n    get_logger('weft.x').exception('failed')\n"
        "get_logger('weft.x').debug('hidden')\n"
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["opened", "/sync?token=***", "failed"]
    assert lines[0] | {"timestamp": 0} == {
        "event": "opened", "document": "é😀", "level": "info", "logger": "weft.x", "timestamp": 0,
    }  # fmt: skip
    assert "ZeroDivisionError" in json.dumps(lines[2])
    assert done.stdout == ""


def test_l3_importing_weft_configures_nothing() -> None:
    done = run_python(
        "import logging\nbefore = list(logging.root.handlers), logging.root.level\n"
        "import weft.logs, weft.auth\n"
        "assert (list(logging.root.handlers), logging.root.level) == before\n"
        "assert not logging.getLogger('weft').handlers\nprint('ok')"
    )
    assert done.stdout == "ok\n"
