"""A file as an answer, or the part of it that was asked for (RFC 9110, section 14)."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from email.utils import formatdate
from io import FileIO
from pathlib import Path

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from hitsieve.serve.plainly import opened
from hitsieve.serve.refusals import refuse

BLOCK = 1 << 20
"""Bytes that are read at a time."""
_RANGE = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*")
_TYPES = {".h5": "application/x-hdf5", ".json": "application/json", ".parquet": "application/vnd.apache.parquet"}


def file_answer(path: Path, request: Request) -> Response:
    """Answer a request for a file.

    It is opened before its length is told, so that a run that is written anew meanwhile is sent as it was.

    Raises
    ------
    Gone
        It cannot be opened, or is no file.
    """
    file = opened(path)
    told = os.fstat(file.fileno())
    headers = {
        "etag": f'"{told.st_mtime_ns:x}-{told.st_size:x}-{told.st_ino:x}"',
        "last-modified": formatdate(told.st_mtime, usegmt=True),
        "content-disposition": f'attachment; filename="{_plain(path.name)}"',
    }
    found = ranged(request, told.st_size, headers, path.name)
    if isinstance(found, Response):
        file.close()
        return found
    status, span = found
    sent = span if request.method == "GET" else (0, 0)
    kind = _TYPES.get(path.suffix, "application/octet-stream")
    return StreamingResponse(_blocks(file, sent), status, headers, kind)


def ranged(request: Request, size: int, headers: dict[str, str], name: str) -> tuple[int, tuple[int, int]] | Response:
    """Which part of so many bytes is asked for: the status, first byte and the one after the last.

    Parameters
    ----------
    request : Request
    size : int
        Bytes of the whole.
    headers : dict of str
        Has etag, and may have last-modified; those that tell of the part are added.
    name : str
        What it is called.

    Returns
    -------
    (int, (int, int)) or Response
        The answer where nothing is to be sent: it is known already, or there are no such bytes.
    """
    headers["accept-ranges"] = "bytes"
    if headers["etag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    span = _span(request, size, (headers["etag"], headers.get("last-modified", headers["etag"])))
    if span is None:
        return refuse(request, 416, f"{name} has {size:,} bytes", headers={"content-range": f"bytes */{size}"})
    first, after = span
    headers["content-length"] = str(after - first)
    if span == (0, size):
        return 200, span
    headers["content-range"] = f"bytes {first}-{after - 1}/{size}"
    return 206, span


async def _blocks(file: FileIO, span: tuple[int, int]) -> AsyncIterator[bytes]:
    at, after = span
    with file:
        while at < after:
            block = await anyio.to_thread.run_sync(os.pread, file.fileno(), min(BLOCK, after - at), at)
            if not block:
                # The connection breaks, and whoever asked knows that it is not whole.
                raise OSError(f"{file.name} was cut short while it was sent")
            at += len(block)
            yield block


def _span(request: Request, size: int, stamps: tuple[str, str]) -> tuple[int, int] | None:
    """First byte and the one after the last; None where there are none of these.

    Several ranges at once, and what is no range, are answered with the whole file, as the standard allows.
    """
    asked = _RANGE.fullmatch(request.headers.get("range", ""))
    condition = request.headers.get("if-range")
    if asked is None or (condition is not None and condition not in stamps):
        return 0, size
    first, last = asked.groups()
    if not first and not last:
        return 0, size
    if not first:
        return (max(0, size - int(last)), size) if int(last) and size else None
    if last and int(last) < int(first):
        return 0, size
    return (int(first), min(size, int(last) + 1) if last else size) if int(first) < size else None


def _plain(name: str) -> str:
    """A file name that may stand in a header."""
    return re.sub(r"[^A-Za-z0-9._+=@ -]", "_", name)
