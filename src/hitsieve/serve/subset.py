"""`/runs/ID/subset`: hits that a visitor chooses, as a file that is made while it is sent; and the form for it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from starlette.concurrency import iterate_in_threadpool
from starlette.responses import JSONResponse, Response, StreamingResponse

from hitsieve.errors import HitsieveError, SettingsError
from hitsieve.pipeline.view.subset import Choice, HitNumbers, NothingChosenError, compose, count_chosen
from hitsieve.serve.kept import Kept
from hitsieve.serve.pages import page
from hitsieve.serve.ranges import ranged
from hitsieve.serve.refusals import Gone
from hitsieve.serve.runs import Runs, Served
from hitsieve.write import ComposedFile, HitsToChoose

MOST_KEPT = 4
"""Choices whose metadata are kept for the next request: a download may come in several parts."""
MOST_COUNTED = 16
"""Files whose numbers are kept to count with: some 20 bytes a hit."""
BLOCK = 1 << 18
"""Bytes that are sent at a time, at least: images may be small."""
LONGEST = 200
"""Letters of a value."""
_KINDS: dict[str, Callable[[str], Any]] = {
    "first": int,
    "random": int,
    "seed": int,
    "pump": str,
    "d_max": float,
    "min_lattices": int,
}
_WORDS: dict[Any, str] = {int: "a whole number", float: "a number"}


def router(runs: Runs) -> APIRouter:
    """Routes of chosen hits."""
    routes = APIRouter()
    kept, numbers = Kept(MOST_KEPT), Kept(MOST_COUNTED)

    @routes.get("/runs/{identity}/choose")
    def form(request: Request, identity: str) -> Response:
        served = runs.served(identity)
        _hits_of(runs, served)
        given = {name: request.query_params.get(name, "")[:LONGEST] for name in _KINDS}
        told = {"id": identity, "stem": served.record.stem, "summary": served.summary, "given": given}
        return page(request, "choose.html", told)

    @routes.get("/api/runs/{identity}/chosen")
    def chosen(request: Request, identity: str) -> Response:
        served = runs.served(identity)
        choice, hits = choice_of(request.query_params), _hits_of(runs, served)
        with _briefly(hits):
            found = count_chosen(numbers.get(_key(hits), lambda: _numbers_of(runs, served, hits)), choice)
        told = {"n_hits": found.n_hits, "n_of": found.n_of, "n_bytes": found.n_bytes, "name": _name(served, choice)}
        return JSONResponse({**told, "query": urlencode(choice.given)})

    @routes.api_route("/runs/{identity}/subset", methods=["GET", "HEAD"])
    def file(request: Request, identity: str) -> Response:
        served = runs.served(identity)
        choice, hits = choice_of(request.query_params), _hits_of(runs, served)
        with _briefly(hits):
            composed = kept.get((*_key(hits), choice), lambda: _composed(runs, served, hits, choice))
            composed.check()
        return _answer(request, composed, _name(served, choice))

    return routes


def choice_of(query: Mapping[str, str]) -> Choice:
    """The choice that an address names; what is empty is not given.

    Raises
    ------
    SettingsError
        It makes no sense.
    """
    unknown = sorted(set(query) - set(_KINDS))
    if unknown:
        raise SettingsError(f"hits are not chosen by {unknown[0][:LONGEST]!r}", mend=f"give {', '.join(_KINDS)}")
    values: dict[str, Any] = {}
    for name, kind in _KINDS.items():
        text = query.get(name, "").strip()
        if not text:
            continue
        try:
            values[name] = kind(text[: LONGEST + 1])
        except ValueError:
            what = f"{name}: {text[:LONGEST]!r} is not {_WORDS[kind]}"
            raise SettingsError(what, mend="give one") from None
    return Choice(**values)


def _hits_of(runs: Runs, served: Served) -> Path:
    return runs.allowed(served.outputs.hits, of=served.record)


@contextmanager
def _opened(runs: Runs, served: Served, hits: Path) -> Iterator[HitsToChoose]:
    with HitsToChoose(hits) as file:
        runs.check_opened(hits, file.fileno(), of=served.record)
        yield file


def _numbers_of(runs: Runs, served: Served, hits: Path) -> HitNumbers:
    with _opened(runs, served, hits) as file:
        return HitNumbers.of(file)


def _composed(runs: Runs, served: Served, hits: Path, choice: Choice) -> ComposedFile:
    with _opened(runs, served, hits) as file:
        return compose(file, choice)


def _key(hits: Path) -> tuple[Path, int, int, int]:
    """What changes with a file."""
    try:
        told = hits.stat()
    except OSError as error:
        raise Gone(f"{hits.name} cannot be read: {(error.strerror or str(error)).lower()}") from None
    return hits, told.st_mtime_ns, told.st_size, told.st_ino


@contextmanager
def _briefly(hits: Path) -> Iterator[None]:
    """Name the file without its folder where something is wrong; that nothing is chosen is no fault of the file."""
    try:
        yield
    except HitsieveError as error:
        kind = SettingsError if isinstance(error, NothingChosenError) else type(error)
        raise kind(error.what.replace(str(hits), hits.name), mend=error.mend) from None


def _answer(request: Request, composed: ComposedFile, name: str) -> Response:
    """The file, or the part of it that was asked for."""
    headers = {"etag": f'"{composed.tag}"', "content-disposition": f'attachment; filename="{name}"'}
    spanned = ranged(request, composed.size, headers, name)
    if isinstance(spanned, Response):
        return spanned
    status, (first, after) = spanned
    sent = _pieces(composed, first, after) if request.method == "GET" else _nothing()
    return StreamingResponse(sent, status, headers, "application/x-hdf5")


async def _nothing() -> AsyncIterator[bytes]:
    for _ in ():
        yield b""


async def _pieces(composed: ComposedFile, first: int, after: int) -> AsyncIterator[bytes]:
    try:
        async for piece in iterate_in_threadpool(_blocks(composed.read(first, after))):
            yield piece
    except HitsieveError as error:
        # The connection breaks, and whoever asked knows that the file is not whole.
        raise OSError(f"a chosen part of the hits was cut short: {error}") from None


def _blocks(pieces: Iterator[bytes]) -> Iterator[bytes]:
    held = bytearray()
    for piece in pieces:
        held += piece
        if len(held) >= BLOCK:
            yield bytes(held)
            held.clear()
    yield bytes(held)


def _name(served: Served, choice: Choice) -> str:
    """A file name that says what is in it."""
    said = [f"{name.replace('_', '-')}-{value}" for name, value in choice.given.items()]
    return re.sub(r"[^A-Za-z0-9._+=@-]", "_", "_".join([served.record.stem, *said, "chosen"])) + ".h5"
