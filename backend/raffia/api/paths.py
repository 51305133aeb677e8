"""Ids of documents in paths: a slash in them comes as `%2F` and does not end a segment.

Rules (tests quote these ids):
    PA1  Servers decode paths before anybody sees them: `/api/documents/a%2Flinks` would be the links of `a`. So the
         path is decoded again, segment by segment, from what was sent, and a slash within a segment stays `%2F`. No id
         holds a percent sign, so nothing else is meant by it.
"""

from __future__ import annotations

from urllib.parse import unquote

from starlette.types import Scope


def keep_slashes(scope: Scope) -> Scope:
    """The scope with such a path, if it has one (PA1)."""
    raw: bytes = scope.get("raw_path") or b""
    if b"%2" not in raw or b"/api/" not in raw:
        return scope
    segments = raw.partition(b"?")[0].decode("latin-1").split("/")
    # A percent sign of its own stays encoded too: `%252F` is no slash.
    plain = [unquote(segment).replace("%", "%25").replace("/", "%2F") for segment in segments]
    return {**scope, "path": "/".join(plain)}
