"""`/`: all datasets, found, sorted and shown in parts."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from hitsieve.serve.pages import page
from hitsieve.serve.runs import Runs


def router(runs: Runs) -> APIRouter:
    """Routes of the catalogue."""
    routes = APIRouter()

    @routes.get("/")
    def datasets(request: Request, q: str = "") -> Response:
        with runs.catalogue() as catalogue:
            part = catalogue.part(q)
        return page(request, "catalogue.html", {"records": part.records, "n_found": part.n_found})

    return routes
