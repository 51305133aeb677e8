"""Health checks: whether the process is alive, and whether it should get new connections.

Rules (tests quote these ids):
    HL1  `/healthz` is 200 as long as the event loop runs.
    HL2  `/readyz` is 503 when the journal has been unavailable for longer than `ready_grace_s`, and while the process
         starts or stops; its body gives the reason. Connected clients are still served.
    HL3  Both answer HEAD too, as monitors ask.
"""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from raffia.api.dependencies import RaffiaDep

router = APIRouter(tags=["health"])


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz")
async def healthz() -> JSONResponse:  # noqa: D103 - the docstring would become its description in OpenAPI
    return JSONResponse({"status": "ok"}, headers={"cache-control": "no-store"})


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", responses={503: {"description": "The process should not get new connections."}})
async def readyz(raffia: RaffiaDep) -> JSONResponse:  # noqa: D103
    reason = raffia.unready_reason()
    if reason is None:
        return JSONResponse({"status": "ready"}, headers={"cache-control": "no-store"})
    return JSONResponse({"status": "unready", "reason": reason}, 503, headers={"cache-control": "no-store"})
