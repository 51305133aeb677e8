"""Bodies of requests, read within limits of size and time before anything looks at them."""

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

    Raises:
        TooLargeError: more than `most` bytes; the rest is not read.
        MalformedError: it did not come in time, or ends before its end.
    """
    said = request.headers.get("content-length", "")
    if said.isascii() and said.isdigit() and int(said[:18]) > most:
        raise TooLargeError(f"{said[:18]} bytes were announced; the limit is {most}")
    body = bytearray()
    try:
        async with asyncio.timeout(within_s):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise TooLargeError(f"more than {most} bytes came; that is the limit")
    except TimeoutError:
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
