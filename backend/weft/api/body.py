"""Bodies of requests, read within a limit before anything looks at them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from weft.errors import MalformedError, TooLargeError

MAX_JSON_BYTES = 16 * 1024

M = TypeVar("M", bound=BaseModel)


async def read_body(request: Request, most: int) -> bytes:
    """The whole body.

    Raises:
        TooLargeError: more than `most` bytes; the rest is not read.
    """
    said = request.headers.get("content-length", "")
    if said.isascii() and said.isdigit() and int(said[:18]) > most:
        raise TooLargeError(f"{said[:18]} bytes were announced; the limit is {most}")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise TooLargeError(f"more than {most} bytes came; that is the limit")
    return bytes(body)


def json_of(model: type[M]) -> Callable[[Request], Awaitable[M]]:
    """A dependency that reads a model.

    Raises (the dependency):
        MalformedError: the body does not fit.
        TooLargeError: it is over `MAX_JSON_BYTES`.
    """

    async def read(request: Request) -> M:
        body = await read_body(request, MAX_JSON_BYTES)
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
