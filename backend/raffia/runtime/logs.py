"""Logging: structured events in one format for Raffia and its ASGI server, without secrets.

Modules log through `get_logger`. Events go through the standard library's logging, so that a host app can handle and
format them like its own. Only the `raffia` command configures handlers.

Rules (tests quote these ids):
    LG1  An event is a short constant text; variable data is in its fields.
    LG2  Values of URL parameters that carry secrets (`?token=`) are replaced before a line is written, also in the
        server's access log, since that is how the y-websocket client sends its token.
        So are bearer tokens, `raffia.token.…` subprotocols and everything that looks like a JWT, in the message, the
        fields and the traceback. Tracebacks do not show variables, since one of them could be a token.
    LG3  Importing Raffia configures nothing: it adds no handlers and sets no levels.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, cast

import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import Processor

REDACTED = "***"
_SECRET = re.compile(
    r"(?i)((?:^|[?&;\s\"'])(?:\w*token|ticket|jwt|auth|authorization|\w*key|secret|password|code|sig|signature)=)"
    r"[^&;#\s\"']+"
)
_TOKEN = re.compile(r"(?i)(\bbearer\s+|\braffia\.token\.)[\w.~+/=-]+|\beyJ[\w-]{8,}\.[\w-]*(?:\.[\w-]*)?")
_HINTS = re.compile(r"(?i)=|bearer|raffia\.token|eyJ")
_SERVER_LOGGERS = ("uvicorn.access", "uvicorn.error")


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A structured logger whose events go through `logging.getLogger(name)`.

    Fields must not be called `name`, `msg` or another attribute of `logging.LogRecord`.
    """
    logger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[structlog.stdlib.filter_by_level, structlog.stdlib.render_to_log_kwargs],
        wrapper_class=structlog.stdlib.BoundLogger,
        context_class=dict,
    )
    return cast("structlog.stdlib.BoundLogger", logger)


def redact(text: str) -> str:
    """Replace the values of URL parameters that carry secrets, and tokens (LG2)."""
    if _HINTS.search(text) is None:
        return text
    return _TOKEN.sub(lambda found: f"{found[1] or ''}{REDACTED}", _SECRET.sub(rf"\g<1>{REDACTED}", text))


class RedactSecrets(logging.Filter):
    """Redacts a record's message and arguments before it is formatted (LG2)."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record in place; every record passes."""
        if isinstance(record.msg, str):
            record.msg = redact(record.msg)
        if isinstance(record.args, tuple):
            record.args = tuple(redact(arg) if isinstance(arg, str) else arg for arg in record.args)
        return True


@contextmanager
def redacted_server_logs() -> Iterator[None]:
    """Redact uvicorn's log lines while in the block, whoever runs uvicorn (LG2)."""
    redactor = RedactSecrets()
    loggers = [logging.getLogger(name) for name in _SERVER_LOGGERS]
    for logger in loggers:
        logger.addFilter(redactor)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(redactor)


def configure_logging(level: str, form: Literal["auto", "text", "json"]) -> None:
    """Send all log lines of the process to standard error: as text on a terminal, as JSON elsewhere.

    Args:
        level: the lowest level to log, in lower case.
        form: the format; `auto` chooses by whether standard error is a terminal.
    """
    as_text = form == "text" or (form == "auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _drop_colours,
    ]
    tracebacks = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
    rendering: list[Processor] = (
        [
            structlog.processors.format_exc_info,
            _redact_fields,
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ]
        if as_text
        else [tracebacks, _redact_fields, structlog.processors.JSONRenderer(ensure_ascii=False)]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    handler.addFilter(RedactSecrets())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # A line for each request and connection is only useful for debugging, and a reconnect storm causes many.
    for name in ("uvicorn", "httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.DEBUG if level == "debug" else logging.WARNING)


def _drop_colours(_logger: Any, _method: str, event: Any) -> Any:
    event.pop("color_message", None)  # uvicorn's second copy of each line, with escape codes
    return event


def _redact_fields(_logger: Any, _method: str, event: Any) -> Any:
    """Redact every field, including tracebacks (LG2)."""
    return {name: _redacted(value) for name, value in event.items()}


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {name: _redacted(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(item) for item in value]
    return value
