"""Document ids in paths: a slash in an id is sent as `%2F` and does not end the segment.

Rules (tests quote these ids):
    PA1  ASGI servers decode the path, so that `/api/documents/a%2Flinks` would be the links of `a`. The path is
         therefore decoded again, segment by segment, from the raw path, and a slash within a segment stays `%2F`. Ids
         contain no percent signs, so this is not ambiguous.
"""

from __future__ import annotations

from urllib.parse import unquote

from starlette.types import Scope


def keep_slashes(scope: Scope) -> Scope:
    """The scope with slashes in ids kept as `%2F`; the same scope if there are none (PA1)."""
    raw: bytes = scope.get("raw_path") or b""
    if b"%2" not in raw or b"/api/" not in raw:
        return scope
    segments = raw.partition(b"?")[0].decode("latin-1").split("/")
    # A literal percent sign stays encoded too: `%252F` is not a slash.
    plain = [unquote(segment).replace("%", "%25").replace("/", "%2F") for segment in segments]
    return {**scope, "path": "/".join(plain)}
