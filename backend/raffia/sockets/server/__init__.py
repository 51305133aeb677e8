"""Raffia's uvicorn protocols. Outside this package, only `cli/serve.py` uses uvicorn."""
