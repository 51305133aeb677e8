"""Logging: structured events in one format for Raffia and its ASGI server, without secrets.

Modules log through `get_logger`. Events go through the standard library's logging, so that a host app can handle and
format them like its own. Only the `raffia` command configures handlers.

Rules (tests quote these ids):
    LG1  An event is a short constant text; variable data is in its fields.
    LG2  Values of URL parameters that carry secrets (`?token=`) are replaced before a line is written, even in the
         server's access log, since that is how the y-websocket client sends its token. So are bearer tokens,
         `raffia.token.…` subprotocols and everything that begins like a JWT, in the message, the fields and the
         traceback. Tracebacks do not show variables, since one of them could be a token.
    LG3  Importing Raffia configures nothing: it adds no handlers and sets no levels.
    LG4  A field is cut to `MAX_FIELD` characters, and each line of a message or traceback to `MAX_LINE`, before
         anything else examines it. Text at the cut that begins like a token is replaced too. All patterns are linear in
         the text.
    LG5  Text can neither imitate another line nor reach a terminal as a command: control characters (C0, C1, DEL), line
         and paragraph separators, bidirectional controls and lone surrogates are written as `\\x1b` or `\\u2028`, in
         the text format, in JSON and in the server's own lines. Only messages and tracebacks have several lines; all
         but the first are indented with a bar.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from numbers import Number
from typing import Any, Literal, cast

import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import Processor

REDACTED = "***"
MAX_FIELD = 300  # characters of a field or of an argument of a message
MAX_LINE = 2000  # characters of a line of a message or of a traceback
# Possessive or followed by nothing that can fail, so that no character is read again and again (LG4).
_SECRET = re.compile(
    r"(?i)((?:^|[?&;\s\"'])(?:\w*token|ticket|jwt|auth|authorization|\w*key|secret|password|code|sig|signature)=)"
    r"[^&;#\s\"']++"
)
_TOKEN = re.compile(r"((?i:\bbearer\s++|\braffia\.token\.))[\w.~+/=-]++|eyJ[\w-]{8}[\w.-]*+")
_TOKEN_AT_CUT = re.compile(r"eyJ[\w.-]{0,7}\Z")
_HINTS = re.compile(r"(?i)=|bearer|raffia\.token|eyJ")
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_CONTINUED = "  | "
_SERVER_LOGGERS = ("uvicorn.access", "uvicorn.error")


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A structured logger whose events go through `logging.getLogger(name)`.

    Fields must not be called `name`, `msg` or another attribute of `logging.LogRecord`.
    """
    own = logging.getLogger(name)
    own.addFilter(_CLEANER)  # a host app formats the traceback, but never one that holds a token
    logger = structlog.wrap_logger(
        own,
        processors=[structlog.stdlib.filter_by_level, _clean_fields, structlog.stdlib.render_to_log_kwargs],
        wrapper_class=structlog.stdlib.BoundLogger,
        context_class=dict,
    )
    return cast("structlog.stdlib.BoundLogger", logger)


def redact(text: str, *, is_cut: bool = False) -> str:
    """Replace the values of URL parameters that carry secrets, and tokens (LG2).

    Args:
        is_cut: whether more followed, so that the text can end in the first characters of a token.
    """
    if _HINTS.search(text) is None:
        return text
    text = _SECRET.sub(lambda found: found[1] + REDACTED, text)
    text = _TOKEN.sub(lambda found: (found[1] or "") + REDACTED, text)
    return _TOKEN_AT_CUT.sub(REDACTED, text) if is_cut else text


def clean(text: str, limit: int = MAX_FIELD) -> str:
    """One line of at most about `limit` characters that is safe to write: cut, redacted, escaped (LG2, LG4, LG5)."""
    is_cut = len(text) > limit
    shown = redact(text[: limit - 1], is_cut=True) + "…" if is_cut else redact(text)
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), shown)


def clean_lines(text: str) -> str:
    """The same for a message or a traceback, which may have several lines (LG5)."""
    first, *more = text.split("\n")
    return ("\n" + _CONTINUED).join(
        [clean(first, MAX_LINE), *(clean(line.removeprefix(_CONTINUED), MAX_LINE) for line in more)]
    )


class _Shown:
    """A message argument that is not text; it is cleaned when it is converted to text."""

    __slots__ = ("_value",)

    def __init__(self, value: object) -> None:
        self._value = value

    def __str__(self) -> str:
        return clean(str(self._value))

    def __repr__(self) -> str:
        return clean(repr(self._value))


class CleanRecords(logging.Filter):
    """Cleans a record's message, arguments and traceback before anything formats them (LG2, LG4, LG5)."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record in place; every record passes."""
        record.msg = clean_lines(str(record.msg))
        if isinstance(record.args, tuple):
            record.args = tuple(_clean_argument(arg) for arg in record.args)
        elif isinstance(record.args, Mapping):
            record.args = {name: _clean_argument(arg) for name, arg in record.args.items()}
        if record.exc_info and record.exc_info[0] is not None and not record.exc_text:
            # Formatters of the standard library show this text instead of making one of `exc_info`.
            record.exc_text = clean_lines(_FORMATTER.formatException(record.exc_info))
        return True


_FORMATTER = logging.Formatter()
_CLEANER = CleanRecords()


def _clean_argument(value: object) -> object:
    if isinstance(value, str):
        return clean(value)
    return value if value is None or isinstance(value, Number) else _Shown(value)


@contextmanager
def redacted_server_logs() -> Iterator[None]:
    """Clean uvicorn's own log lines while Raffia runs, even if a host app runs uvicorn (LG2, LG5)."""
    loggers = [logging.getLogger(name) for name in _SERVER_LOGGERS]
    for logger in loggers:
        logger.addFilter(_CLEANER)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(_CLEANER)


def configure_logging(level: str, form: Literal["auto", "text", "json"]) -> None:
    """Send all log lines of the process to standard error.

    Args:
        level: the lowest level to log, in lower case.
        form: the format; `auto` means text if standard error is a terminal, JSON otherwise.
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
            _clean_fields,
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ]
        if as_text
        else [tracebacks, _clean_fields, structlog.processors.JSONRenderer(ensure_ascii=False)]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    handler.addFilter(_CLEANER)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # A line for each request and connection is only useful for debugging, and a reconnect storm causes many.
    for name in ("uvicorn", "httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.DEBUG if level == "debug" else logging.WARNING)


def _drop_colours(_logger: Any, _method: str, event: Any) -> Any:
    event.pop("color_message", None)  # uvicorn's second copy of each line, with escape codes
    return event


def _clean_fields(_logger: Any, _method: str, event: Any) -> Any:
    """Clean every field, tracebacks among them (LG2, LG4, LG5)."""
    return {name: value if name in _NO_FIELDS else _clean_field(name, value) for name, value in event.items()}


_NO_FIELDS = frozenset(("exc_info", "stack_info", "stacklevel"))  # what `Logger.log` itself takes
_LINES = frozenset(("event", "exception", "stack"))


def _clean_field(name: str, value: Any) -> Any:
    if name in _LINES and isinstance(value, str):
        return clean_lines(value)
    return _clean_value(value, MAX_LINE if name in _LINES else MAX_FIELD)


def _clean_value(value: Any, limit: int) -> Any:
    if isinstance(value, str):
        return clean(value, limit)
    if value is None or isinstance(value, Number):
        return value
    if isinstance(value, Mapping):
        return {name: _clean_value(item, limit) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean_value(item, limit) for item in value]
    return clean(repr(value), limit)
