"""WebSocket endpoints and connections in both dialects, on any ASGI server."""
