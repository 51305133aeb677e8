"""Raffia's uvicorn protocols. The rest of the package knows nothing of uvicorn."""
