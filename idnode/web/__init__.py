"""The node over HTTP. FastAPI, Starlette and uvicorn are known here only."""
