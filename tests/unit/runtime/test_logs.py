"""Logs: LG1-LG5 of logs.py."""

from __future__ import annotations

import json
import logging
import math
import re
import subprocess
import sys
import time

import pytest
from tests.support.tokens import token

from raffia.runtime.logs import clean, get_logger, redact, redacted_server_logs

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
        f"'{JWT[:30]}' is cut before its first dot",
        f"/sync/a%20{JWT}",
        f"/sync/aaa{JWT}",
    ],
)
def test_lg2_secrets_are_replaced(text: str) -> None:
    assert not leaks(redact(text))
    assert "***" in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "/sync/notes?schema=2&name=Zoë",
        "tokens = 3",
        "a plain line",
        "/x?broken",
        "the bearer",
        "raffia.auth.tokens",
        "Eyjafjallajökull",
    ],
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


UNSEEN = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))] + list(
    "\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)


def test_lg4_fields_are_cut_before_they_are_redacted() -> None:
    assert clean("é" * 300) == "é" * 300
    assert clean("é" * 301) == "é" * 299 + "…"
    # Wherever the cut falls, no part of a token is left that was not there before it.
    for before in range(301 - len(JWT), 301):
        for start in ("Bearer ", "/sync/a?token=", "raffia.token.", "", "%20"):
            shown = clean((start + JWT).rjust(before + len(start) + len(JWT), "ü"))
            assert len(shown) <= 310
            assert "eyJ" not in shown, (before, start, shown)


def test_lg4_redacting_reads_each_character_once() -> None:
    def seconds(text: str) -> float:
        best = math.inf
        for _ in range(3):
            began = time.process_time()
            redact(text)
            best = min(best, time.process_time() - began)
        return best

    for piece in ("eyJaaaaaaaa-", "eyJ", "bearer ", "raffia.token.", "?aaaa", "token", "key=", "?tokentokenkey"):
        assert seconds(piece * (80_000 // len(piece))) < 8 * max(seconds(piece * (20_000 // len(piece))), 0.002), piece


@pytest.mark.parametrize("form", ["json", "text"])
def test_lg5_control_characters_are_escaped_in_every_place(form: str) -> None:
    done = run_python(
        "import logging\n"
        "from raffia.runtime.logs import configure_logging, get_logger\n"
        f"configure_logging('info', {form!r})\n"
        f"log, server, unseen = get_logger('raffia.x'), logging.getLogger('uvicorn.error'), {UNSEEN!r}\n"
        "for char in unseen:\n"
        "    word = f'a{char}b'\n"
        "    log.info('field', path=word)\n"
        "    log.info('deep', deep={'a': [word]}, error=ValueError(word))\n"
        "    server.warning('argument %s', word)\n"
        "    server.warning('other argument %s %r', ('::1', word), ValueError(word))\n"
        "    server.warning('message ' + word)\n"
        "    try:\n        raise ValueError(word)\n"
        "    except ValueError:\n        log.exception('traceback')\n        server.exception('traceback')\n"
    )
    assert [char for char in UNSEEN if char != "\n" and char in done.stderr] == []
    lines = done.stderr.split("\n")
    assert lines.pop() == ""
    if form == "json":
        events = [json.loads(line) for line in lines]
        assert len(events) == 7 * len(UNSEEN)
        shown = [event["path"] for event in events if event["event"] == "field"]
        assert shown[:3] == ["a\\x00b", "a\\x01b", "a\\x02b"]
        assert shown[-1] == "a\\u2069b"
    else:
        # A line that begins a new event has a time, so no text from outside can begin one.
        begun = [line for line in lines if not line.startswith(("  | ", "Traceback "))]
        assert len(begun) == 7 * len(UNSEEN)
        assert all(re.match(r"\d{4}-\d\d-\d\dT", line) for line in begun)


def test_lg5_the_lines_of_a_server_that_others_run_are_escaped_too() -> None:
    done = run_python(
        "import logging\n"
        "from raffia.runtime.logs import clean, get_logger, redacted_server_logs\n"
        "logging.basicConfig(format='LINE %(message)s %(path)s', level='INFO', "
        "handlers=[logging.StreamHandler()], force=True)\n"
        "logging.getLogger().handlers[0].formatter = logging.Formatter('LINE %(message)s', defaults={'path': ''})\n"
        f"word = 'a\\x85\\u2028\\x9b31m\\nLINE forged {JWT}'\n"
        "with redacted_server_logs():\n"
        "    server = logging.getLogger('uvicorn.error')\n"
        "    server.warning('%s', word)\n"
        "    server.warning('%(word)s', {'word': word})\n"
        "    server.warning('%s', ValueError(word))\n"
        "    try:\n        raise ValueError(word)\n"
        "    except ValueError:\n        server.exception('failed')\n"
        "logging.getLogger().handlers[0].formatter = logging.Formatter('LINE %(path)s')\n"
        "get_logger('raffia.x').warning('own', path=word)\n"
        "try:\n        raise ValueError(word)\n"
        "except ValueError:\n        get_logger('raffia.x').exception('failed', path='')\n"
    )
    assert [line for line in done.stderr.split("\n") if line.startswith("LINE forged")] == []
    assert len([line for line in done.stderr.split("\n") if line.startswith("LINE ")]) == 6
    assert not set(done.stderr) & {"\x85", "\u2028", "\x9b"}
    assert not leaks(done.stderr), done.stderr
