"""`/metrics` in Prometheus's text form: Raffia's own numbers and the process's.

With `metrics_token` set it asks for `Authorization: Bearer <token>`; with `metrics` off it is not there.
"""

from __future__ import annotations

import hmac

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, PlatformCollector, ProcessCollector

from raffia.embed import Raffia
from raffia.runtime.metrics import MetricsCollector, expose


def metrics_router(raffia: Raffia) -> APIRouter:
    """`/metrics` of one Raffia, with a registry of its own."""
    router = APIRouter(tags=["metrics"])
    registry = CollectorRegistry()
    registry.register(MetricsCollector(raffia.metrics))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    token = raffia.settings.metrics_token
    wanted = f"Bearer {token.get_secret_value()}".encode() if token else None

    @router.get("/metrics")
    async def metrics(request: Request) -> Response:
        given = request.headers.get("authorization", "").encode()
        if wanted is not None and not hmac.compare_digest(given, wanted):
            return Response("metrics need a bearer token\n", 401, headers={"www-authenticate": "Bearer"})
        raffia.read_metrics()
        return Response(expose(registry), headers={"content-type": CONTENT_TYPE_LATEST, "cache-control": "no-store"})

    return router
