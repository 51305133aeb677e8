"""Bodies of requests, read within limits of size and time before anything looks at them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from raffia.errors import MalformedError, TooLargeError

MAX_JSON_BYTES = 16 * 1024
JSON_S = 20.0

M = TypeVar("M", bound=BaseModel)


class Pace(NamedTuple):
    """How slowly a body may arrive.

    Attributes:
        size_bytes: so many bytes of it, or the rest,
        within_s: arrive within so many seconds.
    """

    size_bytes: int
    within_s: float


async def read_body(request: Request, most: int, within_s: float, pace: Pace | None = None) -> bytes:
    """The whole body.

    Args:
        request: the request.
        most: limit of its size, in bytes.
        within_s: time limit for the whole body.
        pace: how slowly it may arrive meanwhile; None for any pace.

    Raises:
        TooLargeError: more than `most` bytes; the rest is not read.
        MalformedError: it did not come in time, or ends before its end.
    """
    said = request.headers.get("content-length", "")
    if said.isascii() and said.isdigit() and int(said[:18]) > most:
        raise TooLargeError(f"{said[:18]} bytes were announced; the limit is {most}")
    body = bytearray()
    loop = asyncio.get_running_loop()
    counted_bytes = 0  # up to where the pace was kept
    slow = asyncio.timeout(pace.within_s if pace is not None else None)
    try:
        async with asyncio.timeout(within_s), slow:
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise TooLargeError(f"more than {most} bytes came; that is the limit")
                if pace is not None and len(body) - counted_bytes >= pace.size_bytes:
                    counted_bytes = len(body)
                    slow.reschedule(loop.time() + pace.within_s)
    except TimeoutError:
        if pace is not None and slow.expired():
            raise MalformedError(
                f"fewer than {pace.size_bytes} bytes came within {pace.within_s:g} s; send faster"
            ) from None
        raise MalformedError(f"{len(body)} bytes came within {within_s:g} s and there are more; send faster") from None
    except ClientDisconnect:
        raise MalformedError(f"the body ended after {len(body)} bytes, before its end") from None
    return bytes(body)


def json_of(model: type[M]) -> Callable[[Request], Awaitable[M]]:
    """A dependency that reads a model.

    Raises (the dependency):
        MalformedError: the body does not fit.
        TooLargeError: it is over `MAX_JSON_BYTES`.
    """

    async def read(request: Request) -> M:
        body = await read_body(request, MAX_JSON_BYTES, JSON_S)
        try:
            return model.model_validate_json(body or b"{}")
        except ValidationError as error:
            found = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in error.errors()[:5])
            raise MalformedError(found) from None

    return read


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """For OpenAPI: a route that takes this model."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
