"""pycrdt-websocket under uvicorn, on 127.0.0.1:$PORT, as its documentation mounts it."""

from __future__ import annotations

import os

import uvicorn
import uvloop
from pycrdt.websocket import ASGIServer, WebsocketServer  # type: ignore[import-not-found]  # in its own .venv


async def main() -> None:
    websocket_server = WebsocketServer()
    config = uvicorn.Config(
        ASGIServer(websocket_server), host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning"
    )
    async with websocket_server:
        await uvicorn.Server(config).serve()


if __name__ == "__main__":
    uvloop.run(main())
