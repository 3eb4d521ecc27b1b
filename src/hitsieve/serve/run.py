"""`/runs/ID`: a run from its first to its last image."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from hitsieve.pipeline.view.along import MOST_BINS, stretch
from hitsieve.pipeline.view.byfile import by_file
from hitsieve.pipeline.view.grid import Grid, Window, grid_of, view_grid
from hitsieve.pipeline.view.overview import Overview, read_overview
from hitsieve.serve.facts import rooms_of
from hitsieve.serve.figures import as_json, grid_json, stretch_json
from hitsieve.serve.pages import page
from hitsieve.serve.refusals import NotFound
from hitsieve.serve.runs import Runs, Served

MOST = 2**40
"""Beyond any number of an image."""
Number = Annotated[int, Query(ge=0, le=MOST)]
GridText = Annotated[str, Query(max_length=40)]


def router(runs: Runs) -> APIRouter:
    """Routes of the page of a run."""
    routes = APIRouter()

    @routes.get("/runs/{identity}")
    def run_page(request: Request, identity: str, grid: GridText = "") -> Response:
        served = runs.served(identity)
        overview = overview_of(runs, served)
        base = request.app.state.base
        charts = {
            "api": f"{base}/api/runs/{identity}",
            "images": f"{base}/runs/{identity}/images",
            "n_images": len(overview),
            "grid_text": grid,
        }
        some = served.summary.n_hits > 0 and served.outputs.hits.exists()
        told = {"id": identity, "links": True, "charts": charts, "choose": some}
        return page(request, "run.html", contents(overview, grid) | told)

    @routes.get("/api/runs/{identity}/overview")
    def along(
        identity: str,
        first: Number = 0,
        last: Number | None = None,
        bins: Annotated[int, Query(ge=1, le=MOST_BINS)] = 400,
    ) -> Response:
        overview = overview_of(runs, runs.served(identity))
        return _answer(stretch_json(overview, stretch(overview, first, last, bins)))

    @routes.get("/api/runs/{identity}/grid")
    def from_above(
        identity: str,
        grid: GridText = "",
        first_column: Number = 0,
        last_column: Number = MOST,
        first_row: Number = 0,
        last_row: Number = MOST,
    ) -> Response:
        overview = overview_of(runs, runs.served(identity))
        of = grid_in_use(overview, grid)
        if of is None:
            raise NotFound(
                "where the sample was is not known: the run's master has no positions that make a grid",
                mend="state the grid: ?grid=COLUMNSxROWS, or ?grid=COLUMNSxROWS,snake",
            )
        window = Window(first_column, last_column, first_row, last_row)
        return _answer(grid_json(of, view_grid(overview, of, window)))

    return routes


def contents(overview: Overview, grid: str = "") -> dict[str, Any]:
    """What the template of the page, and of the report, is filled with.

    Parameters
    ----------
    overview : Overview
    grid : str
        The grid that the visitor states; empty: none.

    Raises
    ------
    SettingsError
        The grid is none.
    """
    of = grid_in_use(overview, grid)
    return {
        "summary": overview.summary,
        "files": by_file(overview),
        "n_files": len(overview.files),
        "has_lattices": bool(overview.cell),
        "grid": of,
        "grid_text": grid,
        "settings": rooms_of(overview.summary.settings),
    }


def grid_in_use(overview: Overview, text: str) -> Grid | None:
    """The grid that is stated, else the one that the run's master tells; None where it tells none."""
    return grid_of(text, len(overview)) if text else overview.grid


def overview_of(runs: Runs, served: Served) -> Overview:
    """What a page needs of the images of a run; read once.

    Raises
    ------
    NotFound, Gone, Forbidden
        There are no images to show, the annotated master is not there any more, or it is not to be shown.
    SourceError
        It cannot be read.
    """
    return runs.remember(served, "overview", lambda: _read(runs, served), large=True)


def _read(runs: Runs, served: Served) -> Overview:
    before = served.summary.verdict_on
    if before is not None and not served.outputs.annotated.exists():
        what = f"{served.record.stem} is another verdict on {before}, written without --hits: it has no images to show"
        raise NotFound(what, mend="look at that run, or call hitsieve rethink again with --hits")
    with runs.open_results(served) as stored:
        return read_overview(stored)


def _answer(told: dict[str, Any]) -> Response:
    return Response(as_json(told), media_type="application/json")
