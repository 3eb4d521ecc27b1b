"""`/runs/ID/report`: the page of a run as one file that opens without a server, and without a network."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter
from starlette.responses import Response

from hitsieve.errors import OutputError, SettingsError
from hitsieve.pipeline.view.along import MOST_BINS, stretch
from hitsieve.pipeline.view.grid import view_grid
from hitsieve.pipeline.view.overview import Overview, read_overview
from hitsieve.serve.figures import grid_json, stretch_json
from hitsieve.serve.pages import STATIC, plotly_js, render
from hitsieve.serve.run import GridText, contents, grid_in_use, overview_of
from hitsieve.serve.runs import Runs
from hitsieve.write import SUMMARY_SUFFIX, open_results
from hitsieve.write.export import writing_files

_MODULES = ("numbers.js", "tables.js", "charts.js", "grid.js", "run.js")
"""Scripts of the page, each after those that it imports."""
_SUFFIXES = (".html", ".htm")
_OURS = b'<meta name="generator" content="hitsieve '
_HEAD = 2048
"""Bytes of a report within which it says that it is one."""


@dataclass(frozen=True, slots=True)
class Written:
    """A report that was written."""

    path: Path
    n_bytes: int


def router(runs: Runs) -> APIRouter:
    """Routes of the report."""
    routes = APIRouter()

    @routes.get("/runs/{identity}/report")
    def report(identity: str, grid: GridText = "") -> Response:
        served = runs.served(identity)
        text = report_of(overview_of(runs, served), grid)
        name = quote(f"{served.outputs.summary.name.removesuffix(SUMMARY_SUFFIX)}_report.html")
        headers = {"content-disposition": f"attachment; filename*=UTF-8''{name}"}
        return Response(text, media_type="text/html; charset=utf-8", headers=headers)

    return routes


def write_report(
    results: str | Path, output: Path | None = None, *, grid: str = "", overwrite: bool = False
) -> Written:
    """Write the report of a finished run.

    Parameters
    ----------
    results : str or Path
        Any output of the run, or the folder that holds them.
    output : Path, optional
        HTML file, or a folder for <stem>_report.html; by default the folder of the results.
    grid : str
        As for `report_of`.
    overwrite : bool
        Replace the file whatever it is. Without it only a report is replaced.

    Returns
    -------
    Written

    Raises
    ------
    SourceError
        There is no such run, or it cannot be read.
    SettingsError
        The grid is none, the file is not named as HTML, or the package plotly is not installed.
    OutputError
        The report would replace another file, or cannot be written.
    """
    with open_results(results) as stored:
        summary = stored.outputs.summary
        # The name of the file, and not what stands in it: that is text that anybody may have written.
        stem = summary.name.removesuffix(SUMMARY_SUFFIX)
        target = _target(output or summary.parent, stem, overwrite=overwrite)
        inputs = (*stored.outputs, *stored.source_paths, *stored.source_files)
        overview = read_overview(stored)
    text = report_of(overview, grid)
    with writing_files([target], overwrite=overwrite or _is_report(target), inputs=inputs) as write:
        write(target, text)
    return Written(target, len(text))


def _target(output: Path, stem: str, *, overwrite: bool) -> Path:
    """File of the report; refused where it would replace what is none."""
    target = output / f"{stem}_report.html" if output.is_dir() else output
    if target.suffix.lower() not in _SUFFIXES:
        raise SettingsError(
            f"{target}: a report is an HTML file", mend="give a name that ends in .html, or a folder that exists"
        )
    if target.is_file() and not overwrite and not _is_report(target):
        mend = "give --overwrite, or another file with --output"
        raise OutputError(f"{target}: exists, and is no report that hitsieve wrote", mend=mend)
    return target


def _is_report(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return _OURS in file.read(_HEAD)
    except OSError:
        return False


def report_of(overview: Overview, grid: str = "") -> bytes:
    """The page of a run, with all that it needs: HTML, UTF-8.

    Its own policy lets no script run but the two that it brings along, by their hashes, and nothing be fetched.

    Parameters
    ----------
    overview : Overview
    grid : str
        The grid of a grid scan, as COLUMNSxROWS or COLUMNSxROWS,snake; by default as the run's master tells.

    Raises
    ------
    SettingsError
        The grid is none, or the package plotly is not installed.
    """
    of = grid_in_use(overview, grid)
    charts = {
        "n_images": len(overview),
        "stretch": stretch_json(overview, stretch(overview, bins=MOST_BINS)),
        "grid": None if of is None else grid_json(of, view_grid(overview, of)),
    }
    scripts = (_plotly(), _inline(_joined()))
    style = "\n".join((STATIC / name).read_text(encoding="utf-8") for name in ("style.css", "run.css"))
    told = {"scripts": scripts, "hashes": [_hash(text) for text in scripts], "style": style, "charts": charts}
    return render("report.html", contents(overview, grid) | told | {"links": False, "id": ""}).encode()


@cache
def _plotly() -> str:
    return _inline(plotly_js().read_text(encoding="utf-8"))


def _joined() -> str:
    """The modules of the page as one script: a file on disk may not import others."""
    texts = ((STATIC / name).read_text(encoding="utf-8") for name in _MODULES)
    return "\n".join(re.sub(r"^import .*\n|^export ", "", text, flags=re.MULTILINE) for text in texts)


def _inline(script: str) -> str:
    """A script as it can stand in a page: what would end its element, or hide its end, is written otherwise."""
    return re.sub(r"<(?=/script|!--)", r"\\x3c", script.replace("\r\n", "\n"), flags=re.IGNORECASE)


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
