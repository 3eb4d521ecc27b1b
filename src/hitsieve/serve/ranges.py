"""A file as an answer, or the part of it that was asked for (RFC 9110, section 14)."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import AsyncIterator
from email.utils import formatdate
from io import FileIO
from pathlib import Path

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from hitsieve.serve.refusals import Gone, refuse

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
    tag = f'"{told.st_mtime_ns:x}-{told.st_size:x}-{told.st_ino:x}"'
    headers = {
        "accept-ranges": "bytes",
        "etag": tag,
        "last-modified": formatdate(told.st_mtime, usegmt=True),
        "content-disposition": f'attachment; filename="{_plain(path.name)}"',
    }
    if tag in request.headers.get("if-none-match", ""):
        file.close()
        return Response(status_code=304, headers=headers)
    span = _span(request, told.st_size, (tag, headers["last-modified"]))
    if span is None:
        file.close()
        what = f"{path.name} has {told.st_size:,} bytes"
        return refuse(request, 416, what, headers={"content-range": f"bytes */{told.st_size}"})
    first, after = span
    headers["content-length"] = str(after - first)
    partial = span != (0, told.st_size)
    if partial:
        headers["content-range"] = f"bytes {first}-{after - 1}/{told.st_size}"
    sent = span if request.method == "GET" else (0, 0)
    kind = _TYPES.get(path.suffix, "application/octet-stream")
    return StreamingResponse(_blocks(file, sent), 206 if partial else 200, headers, kind)


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


def opened(path: Path) -> FileIO:
    """Open a file that is one: no link, no pipe."""

    def plainly(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)

    try:
        file = FileIO(str(path), opener=plainly)
    except OSError as error:
        raise Gone(f"{path.name} cannot be opened: {(error.strerror or str(error)).lower()}") from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise Gone(f"{path.name} is no file any more")
    return file


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
