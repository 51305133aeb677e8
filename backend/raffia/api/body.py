"""Request bodies, read within limits of size and time before they are parsed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from raffia.errors import MalformedError, TooLargeError

MAX_JSON_BYTES = 16 * 1024
JSON_S = 20.0

M = TypeVar("M", bound=BaseModel)


async def read_body(request: Request, most: int, within_s: float) -> bytes:
    """The whole body.

    Args:
        request: whose body to read.
        most: maximum size in bytes.
        within_s: time limit in seconds.

    Raises:
        TooLargeError: more than `most` bytes; the rest is not read.
        MalformedError: the body did not arrive in time, or the client disconnected.
    """
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced[:18]) > most:
        raise TooLargeError(f"the body has {announced[:18]} bytes; the limit is {most}")
    body = bytearray()
    try:
        async with asyncio.timeout(within_s):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise TooLargeError(f"the body has more than {most} bytes, which is the limit")
    except TimeoutError:
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
    """OpenAPI for a route whose body is this model."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
