"""`/files/ID/NAME`: the files of a run, whole or in part."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from hitsieve.serve.ranges import file_answer
from hitsieve.serve.runs import Runs


def router(runs: Runs) -> APIRouter:
    """Routes of downloads."""
    routes = APIRouter()

    @routes.api_route("/files/{identity}/{name}", methods=["GET", "HEAD"])
    def file(request: Request, identity: str, name: str) -> Response:
        return file_answer(runs.file(identity, name), request)

    return routes
