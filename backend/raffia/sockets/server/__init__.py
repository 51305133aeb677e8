"""Our uvicorn WebSocket protocol; nothing outside app.py knows that it exists."""
