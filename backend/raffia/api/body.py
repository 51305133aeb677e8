"""Reads request bodies, with limits on size and time, before they are parsed."""

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
    """The minimum speed of a body.

    Attributes:
        size_bytes: number of bytes, or the rest of the body, that has to arrive in each period.
        within_s: length of the period, in seconds.
    """

    size_bytes: int
    within_s: float


async def read_body(request: Request, most: int, within_s: float, pace: Pace | None = None) -> bytes:
    """Read the whole body.

    Args:
        request: the request.
        most: maximum size in bytes.
        within_s: time limit for the whole body, in seconds.
        pace: minimum speed; None for no minimum.

    Raises:
        TooLargeError: more than `most` bytes; the rest is not read.
        MalformedError: the body did not arrive in time, or the client disconnected.
    """
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced[:18]) > most:
        raise TooLargeError(f"the body has {announced[:18]} bytes; the limit is {most}")
    body = bytearray()
    loop = asyncio.get_running_loop()
    counted_bytes = 0  # up to where the pace was kept
    slow = asyncio.timeout(pace.within_s if pace is not None else None)
    try:
        async with asyncio.timeout(within_s), slow:
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise TooLargeError(f"the body has more than {most} bytes, which is the limit")
                if pace is not None and len(body) - counted_bytes >= pace.size_bytes:
                    counted_bytes = len(body)
                    slow.reschedule(loop.time() + pace.within_s)
    except TimeoutError:
        if pace is not None and slow.expired():
            raise MalformedError(
                f"fewer than {pace.size_bytes} bytes of the body arrived within {pace.within_s:g} s; send faster"
            ) from None
        raise MalformedError(f"only {len(body)} bytes of the body arrived within {within_s:g} s; send faster") from None
    except ClientDisconnect:
        raise MalformedError(f"the connection was closed after {len(body)} bytes of the body") from None
    return bytes(body)


def json_of(model: type[M]) -> Callable[[Request], Awaitable[M]]:
    """A FastAPI dependency that parses the body into a model.

    The dependency raises:
        MalformedError: the body does not fit the model.
        TooLargeError: the body is larger than `MAX_JSON_BYTES`.
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
    """The OpenAPI description of a request body with this model."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    required = bool(schema.get("required")) or "minProperties" in schema  # without a body, {} is meant
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}
