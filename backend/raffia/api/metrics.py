"""`/metrics` in Prometheus's text format: Raffia's metrics and those of the process.

With `metrics_token` set, it needs `Authorization: Bearer <token>`; with `metrics` off, the route does not exist.
"""

from __future__ import annotations

import hmac

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, PlatformCollector, ProcessCollector

from raffia.api.dependencies import RaffiaDep
from raffia.embed import Raffia
from raffia.runtime.metrics import MetricsCollector, expose

router = APIRouter(tags=["metrics"])


def metrics_registry(raffia: Raffia) -> CollectorRegistry:
    """The registry that `/metrics` of one Raffia exposes."""
    registry = CollectorRegistry()
    registry.register(MetricsCollector(raffia.metrics))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return registry


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"description": "The metrics.", "content": {"text/plain": {}}},
        401: {
            "description": "`--metrics-token` is set, and the request does not have it.",
            "content": {"text/plain": {}},
        },
    },
)
async def metrics(request: Request, raffia: RaffiaDep) -> Response:  # noqa: D103 - it would be shown in OpenAPI
    token = raffia.settings.metrics_token
    given = request.headers.get("authorization", "").encode()
    if token is not None and not hmac.compare_digest(given, f"Bearer {token.get_secret_value()}".encode()):
        return Response("metrics need a bearer token\n", 401, headers={"www-authenticate": "Bearer"})
    raffia.read_metrics()
    exposed = expose(request.app.state.metrics_registry)
    return Response(exposed, headers={"content-type": CONTENT_TYPE_LATEST, "cache-control": "no-store"})
