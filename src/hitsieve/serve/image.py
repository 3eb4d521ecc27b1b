"""`/runs/ID/images/N`: one image of a run, what was found on it, and why it is, or is not, a hit."""

from __future__ import annotations

import json
import zlib
from typing import Any

import numpy.typing as npt
from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from hitsieve.pipeline.view.image import KINDS, Kind, NotShown, Picture, RunImages
from hitsieve.pipeline.words import headline, rows
from hitsieve.serve.figures import as_json
from hitsieve.serve.imagejson import facts_as_json, shown_as_json
from hitsieve.serve.opened import OpenedRuns
from hitsieve.serve.pages import page
from hitsieve.serve.refusals import NotFound
from hitsieve.serve.runs import Runs, Served

FRESH = {"Cache-Control": "private, max-age=300"}
"""Who goes back to an image need not ask for it again."""


def router(runs: Runs) -> APIRouter:
    """Routes of this subject."""
    routes = APIRouter()
    opened = OpenedRuns(runs)

    @routes.get("/runs/{identity}/images")
    def first(request: Request, identity: str) -> Response:
        with opened.images(identity) as (_, images):
            _, hit = images.around(-1, "hit")
        return RedirectResponse(f"{request.app.state.base}/runs/{identity}/images/{hit or 0}", 303)

    @routes.get("/runs/{identity}/images/{number}")
    def one(
        request: Request, identity: str, number: int, next: Kind | None = None, previous: Kind | None = None
    ) -> Response:
        with opened.images(identity) as (served, images):
            if next is not None or previous is not None:
                to = _beyond(served, images, number, next=next, previous=previous)
                return RedirectResponse(f"{request.app.state.base}/runs/{identity}/images/{to}", 303)
            _check(served, images, number)
            account = images.account(number)
            context = {
                "record": served.record,
                "number": number,
                "n_images": len(images),
                "headline": headline(account),
                "rows": rows(account),
                "state": account.state.name.lower(),
                "kinds": KINDS,
            }
        return page(request, "image.html", context)

    _add_data(routes, opened)
    return routes


def _add_data(routes: APIRouter, opened: OpenedRuns) -> None:
    """Routes that the script of the page asks."""

    @routes.get("/api/runs/{identity}/images/{number}")
    def facts(identity: str, number: int) -> Response:
        with opened.images(identity) as (served, images):
            _check(served, images, number)
            return _packed(as_json(facts_as_json(images.facts(number))).encode(), "application/json", FRESH)

    @routes.get("/api/runs/{identity}/images/{number}/pixels")
    def pixels(
        identity: str,
        number: int,
        level: int | None = Query(None, ge=0, le=30),
        column: int = Query(0, ge=0, le=100_000),
        row: int = Query(0, ge=0, le=100_000),
    ) -> Response:
        with opened.images(identity) as (served, images):
            _check(served, images, number)
            # The image itself is let go before the cells are packed: many may be asked for at once.
            cells, told = _cells(_picture(images, number), level, column, row)
        body = cells.astype(cells.dtype.newbyteorder("<"), copy=False).tobytes()
        headers = {**FRESH, "X-Picture": json.dumps(told)}
        return _packed(body, "application/octet-stream", headers)

    @routes.get("/api/runs/{identity}/images/{number}/profile")
    def profile(identity: str, number: int) -> Response:
        with opened.images(identity) as (served, images):
            _check(served, images, number)
            try:
                shown = images.shown(number)
            except NotShown as error:
                raise NotFound(error.what, mend=error.mend) from None
            return _packed(as_json(shown_as_json(shown)).encode(), "application/json", FRESH)


def _beyond(served: Served, images: RunImages, number: int, *, next: Kind | None, previous: Kind | None) -> int:
    """The next image of a kind, or else the previous one."""
    # Numbers in an address may be of any size.
    number = min(max(number, -1), len(images))
    kind: Kind = next or previous or "image"
    to = images.around(number, kind)[next is not None]
    if to is None:
        called = {"hit": "a hit", "miss": "a miss", "image": "there"}.get(kind, kind)
        what = f"no image of {served.record.stem} {'after' if next else 'before'} image {number} is {called}"
        raise NotFound(what, mend="go the other way")
    return to


def _check(served: Served, images: RunImages, number: int) -> None:
    if not 0 <= number < len(images):
        what = f"run {served.record.stem} has no image {str(number)[:24]}"
        raise NotFound(what, mend=f"its images are 0 to {len(images) - 1}")


def _picture(images: RunImages, number: int) -> Picture:
    try:
        return images.picture(number)
    except NotShown as error:
        raise NotFound(error.what, mend=error.mend) from None


def _cells(picture: Picture, level: int | None, column: int, row: int) -> tuple[npt.NDArray[Any], dict[str, Any]]:
    """Cells of a tile, or of the whole image without a level, and what a browser must know to draw them."""
    pyramid = picture.pyramid
    if level is None:
        cells, level = pyramid.overview(), pyramid.levels - 1
    elif pyramid.has(level, column, row):
        cells = pyramid.tile(level, column, row)
    else:
        raise NotFound(f"the image has no tile {column}, {row} of level {level}")
    told = {
        "level": level,
        "levels": pyramid.levels,
        "shape": list(cells.shape),
        "dtype": cells.dtype.name,
        "offset": pyramid.offset,
        "no_data": pyramid.no_data,
        "contrast": pyramid.contrast(),
        "place": str(picture.place),
        "original": picture.original,
        "why_not_original": picture.why_not_original,
    }
    return cells, told


def _packed(body: bytes, media_type: str, headers: dict[str, str]) -> Response:
    """An answer that all browsers unpack by themselves."""
    squeezer = zlib.compressobj(1, zlib.DEFLATED, 31)
    packed = squeezer.compress(body) + squeezer.flush()
    return Response(packed, media_type=media_type, headers={**headers, "Content-Encoding": "gzip"})
