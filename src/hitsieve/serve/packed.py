"""A large script, sent packed to browsers that can unpack it, and once only."""

from __future__ import annotations

import gzip
from functools import lru_cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response

LEVEL = 6


def script(path: Path, request: Request) -> Response:
    """Answer with a script."""
    told = path.stat()
    tag = f'"{told.st_mtime_ns:x}-{told.st_size:x}"'
    headers = {"etag": tag, "vary": "accept-encoding"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return FileResponse(path, media_type="text/javascript", headers=headers)
    headers["content-encoding"] = "gzip"
    return Response(_packed(path, tag), media_type="text/javascript", headers=headers)


@lru_cache(maxsize=2)
def _packed(path: Path, tag: str) -> bytes:
    return gzip.compress(path.read_bytes(), LEVEL, mtime=0)
