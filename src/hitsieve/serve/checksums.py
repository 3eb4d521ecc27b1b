"""`/api/runs/ID/files/NAME/sha256`: the checksum of a file, computed when somebody asks for it."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from io import FileIO

import anyio.to_thread
from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from hitsieve.serve.plainly import opened
from hitsieve.serve.refusals import Gone, refuse
from hitsieve.serve.runs import Runs

BLOCK = 4 << 20
"""Bytes that are read and hashed at a time."""
MOST_KEPT = 1000
"""Checksums that are remembered, until their files change."""
Stamp = tuple[int, int, int, int]


def router(runs: Runs) -> APIRouter:
    """Routes of checksums."""
    routes = APIRouter()
    known: OrderedDict[Stamp, str] = OrderedDict()
    busy = anyio.Semaphore(1)

    @routes.get("/api/runs/{identity}/files/{name}/sha256")
    async def sha256(request: Request, identity: str, name: str) -> Response:
        path = await run_in_threadpool(runs.file, identity, name)
        with opened(path) as file:
            told = os.fstat(file.fileno())
            stamp = (told.st_dev, told.st_ino, told.st_mtime_ns, told.st_size)
            if stamp in known:
                return _told(name, told.st_size, known[stamp])
            try:
                busy.acquire_nowait()
            except anyio.WouldBlock:
                what = "the checksum of another file is being computed"
                mend = "ask again when it is done, or fetch the file and use sha256sum"
                return refuse(request, 503, what, mend, headers={"Retry-After": "10"})
            try:
                digest = await _digest(file, request)
            finally:
                busy.release()
            if digest is None:
                # Nobody reads it.
                return Response(status_code=503)
            after = os.fstat(file.fileno())
            if (after.st_mtime_ns, after.st_size) != stamp[2:]:
                raise Gone(f"{name} changed while it was read", mend="ask again")
            known[stamp] = digest
            while len(known) > MOST_KEPT:
                known.popitem(last=False)
            return _told(name, told.st_size, digest)

    return routes


def _told(name: str, size: int, digest: str) -> Response:
    return JSONResponse({"name": name, "size": size, "sha256": digest})


async def _digest(file: FileIO, request: Request) -> str | None:
    """SHA-256, hexadecimal; None where the visitor left. Neither that nor the end of the server waits for the file."""
    digest = hashlib.sha256()

    def step() -> bool:
        block = file.read(BLOCK)
        digest.update(block)
        return bool(block)

    while await anyio.to_thread.run_sync(step):
        if await request.is_disconnected():
            return None
    return digest.hexdigest()
