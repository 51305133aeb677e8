"""How REST reports errors: `{"error": {"reason": ..., "message": ...}}`, with the status of the error tree.

Rules (tests quote these ids):
    AE1  Every error below `/api` has this form: errors that Raffia raises, bodies that do not fit the model, unknown
         paths and methods. Server errors are logged, and the response gives no details.
    AE2  401 has `www-authenticate`, 503 has `retry-after`; errors are not cached.
"""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from raffia.embed import Raffia
from raffia.errors import InternalError, MalformedError, QuarantinedError, RaffiaError
from raffia.runtime.logs import get_logger

log = get_logger("raffia.api")

PREFIX: Final = "/api/"
NOT_KEPT: Final = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


class ErrorDetail(BaseModel):
    """What went wrong."""

    reason: str = Field(description="Stable identifier, such as `forbidden`.")
    message: str = Field(description="What happened, and what to do about it.")


class ErrorAnswer(BaseModel):
    """The body of an error response."""

    error: ErrorDetail


_SAID: Final = {
    400: "Malformed.",
    401: "Not signed in: no token, or one that is invalid, expired or revoked.",
    403: "Not allowed, or no such document: the same answer; or deleted (`deleted`).",
    413: "Too large.",
    415: "A file type that is not supported.",
    503: "Not possible now: try again later; or a setting is missing (`not-configured`).",
}


def refusals(*more: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI descriptions of a route's errors: those that every route has, and `more`."""
    return {status: {"model": ErrorAnswer, "description": _SAID[status]} for status in (400, 401, 403, *more, 503)}


def answer(error: RaffiaError) -> JSONResponse:
    """The response for an error."""
    headers = dict(NOT_KEPT)
    if error.http_status == 401:
        headers["www-authenticate"] = "Bearer"
    elif error.http_status == 503:
        headers["retry-after"] = "1"
    message = str(error)
    if isinstance(error, QuarantinedError):
        message = "this is damaged and not served; the server's log and raffia check have details"
    elif isinstance(error, InternalError):
        message = "internal error; the server's log has details"
    return JSONResponse({"error": {"reason": error.reason, "message": message}}, error.http_status, headers=headers)


def say_errors(app: FastAPI) -> None:
    """Make an app report its errors in this form (AE1)."""
    app.add_exception_handler(RaffiaError, _refused)
    app.add_exception_handler(RequestValidationError, _unfit)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _failed)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RaffiaError)
    raffia: Raffia = request.app.state.raffia
    raffia.metrics.refusals[error.reason] += 1
    if isinstance(error, InternalError) and not isinstance(error, QuarantinedError):  # those are logged once (HU3)
        log.error("request failed", path=request.url.path, detail=str(error))
    return answer(error)


async def _unfit(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:5])
    return await _refused(request, MalformedError(found))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if not request.url.path.startswith(PREFIX) and PREFIX not in request.url.path:
        return PlainTextResponse(f"{error.detail}\n", error.status_code, headers=error.headers)
    reason = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "malformed")
    body = {"error": {"reason": reason, "message": str(error.detail)}}
    return JSONResponse(body, error.status_code, headers={**(error.headers or {}), **NOT_KEPT})


async def _failed(_request: Request, error: Exception) -> Response:
    return answer(InternalError(str(error)))
