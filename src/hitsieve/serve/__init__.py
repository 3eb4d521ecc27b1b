"""Pages in the browser: the catalogue, each run, each image, a running series; read-only."""

from __future__ import annotations

try:
    from hitsieve.serve.app import create_app
    from hitsieve.serve.server import Server
    from hitsieve.serve.tokens import read_token
except ModuleNotFoundError as error:
    if error.name not in ("fastapi", "jinja2", "uvicorn"):
        raise
    what = f"hitsieve serve needs {error.name}: pip install fastapi jinja2 plotly uvicorn"
    raise ModuleNotFoundError(what, name=error.name) from error

__all__ = ["Server", "create_app", "read_token"]
