"""`/live`: the running series, told by server-sent events."""

from __future__ import annotations

import asyncio
import atexit
import json
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Request
from fastapi import Path as InPath
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from hitsieve.errors import HitsieveError, SettingsError
from hitsieve.serve.kept import Kept
from hitsieve.serve.pages import page
from hitsieve.serve.refusals import NotFound, refuse
from hitsieve.serve.runs import Runs
from hitsieve.write import SUMMARY_SUFFIX

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from hitsieve.pipeline.live.following import Following

PAUSE = 1.0
"""Time (s) between two looks at what has changed."""
BEAT = 5
"""So many looks without a change are told of."""
MOST_LISTENERS = 32
MOST_PICTURES = 16
"""Kept for those who ask for the same."""
Whole = Annotated[int, InPath(ge=0, le=10**12)]
RETRY = 2000
"""Time (ms) after which a browser asks again."""
HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}
_SEEN = re.compile(r"([0-9a-f]{8})-(\d{1,15})")


def router(runs: Runs, live: str | None, spool: Path | None = None) -> APIRouter:
    """Routes of the live page.

    Parameters
    ----------
    runs : Runs
        Those of series that have ended are found among them.
    live : str, optional
        Where `hitsieve live` publishes; None: there is no such page.
    spool : Path, optional
        Folder of what it receives; None: there are no pictures.

    Raises
    ------
    SettingsError
        The address makes no sense.
    """
    routes = APIRouter()
    listeners = None if live is None else _Listeners(_follow(live), runs)

    @routes.get("/live")
    def live_page(request: Request) -> Response:
        _there(listeners)
        return page(request, "live.html", {"address": live, "pictures": spool is not None})

    @routes.get("/api/live/events")
    async def events(request: Request) -> Response:
        return _there(listeners).answer(request)

    kept = Kept(MOST_PICTURES)

    @routes.get("/api/live/series/{number}/images/{image}.png")
    def picture(number: Whole, image: Whole) -> Response:
        name = _there(listeners).name_of(number)
        if spool is None or name is None:
            raise NotFound("there is no picture of it", mend="name the folder of received series with --live-spool")
        try:
            drawn = kept.get((number, image), lambda: _glimpse(spool, name, image))
        except HitsieveError:
            # It reaches the disk some seconds after its verdict, and is gone when its series is done.
            return Response(status_code=204, headers={"cache-control": "no-store"})
        return Response(drawn, 200, {"cache-control": "private, max-age=600"}, "image/png")

    return routes


def _glimpse(spool: Path, name: str, image: int) -> bytes:
    from hitsieve.pipeline.live.glimpse import glimpse

    return glimpse(spool, name, image)


def _follow(address: str) -> Following:
    try:
        from hitsieve.pipeline.live.following import Following
    except ModuleNotFoundError as error:
        raise SettingsError(f"--live needs {error.name}", mend="pip install cbor2 prometheus-client pyzmq") from None
    following = Following(address)
    atexit.register(following.close)
    return following


def _there(listeners: _Listeners | None) -> _Listeners:
    if listeners is None:
        raise NotFound("no running series is followed here", mend="start hitsieve serve with --live tcp://HOST:PORT")
    return listeners


class _Counted(StreamingResponse):
    """Takes its place before anything else of it happens: of many that come at once, none slips in between."""

    def __init__(self, listeners: _Listeners, *given: Any) -> None:
        super().__init__(*given)
        self._listeners = listeners

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell a browser."""
        with self._listeners.counted():
            await super().__call__(scope, receive, send)


class _Listeners:
    """Browsers that are told of what is followed."""

    def __init__(self, following: Following, runs: Runs) -> None:
        self._following = following
        self._runs = runs
        self._now = 0
        # A browser that comes back after a restart has heard of other changes.
        self._self = secrets.token_hex(4)

    def answer(self, request: Request) -> Response:
        """Tell a browser of all that is known, and go on with what changes."""
        if self._now >= MOST_LISTENERS:
            what, later = f"{MOST_LISTENERS} pages are told of running series already", {"Retry-After": "10"}
            return refuse(request, 503, what, mend="close one, or try again later", headers=later)
        seen = _SEEN.fullmatch(request.headers.get("last-event-id", ""))
        since = int(seen[2]) if seen and seen[1] == self._self else -1
        return _Counted(self, self._events(since), 200, HEADERS, "text/event-stream")

    @contextmanager
    def counted(self) -> Iterator[None]:
        """One browser more is told, meanwhile."""
        self._now += 1
        try:
            yield
        finally:
            self._now -= 1

    def name_of(self, number: int) -> str | None:
        """Name of a series that is followed."""
        return self._following.name_of(number)

    async def _events(self, since: int) -> AsyncIterator[str]:
        yield f"retry: {RETRY}\n\n"
        told = await self._told(since)
        yield self._event("snapshot" if since < 0 else "change", told)
        silent = 0
        while True:
            since = told["changes"]
            await asyncio.sleep(PAUSE)
            told = await self._told(since)
            # What stands still is told too while a series runs: its rate falls, and its silence grows.
            silent = 0 if told["series"] or told["changes"] != since else silent + 1
            if silent % BEAT == 0:
                yield self._event("change", told)

    async def _told(self, since: int) -> dict[str, Any]:
        return await run_in_threadpool(self._told_now, since)

    def _told_now(self, since: int) -> dict[str, Any]:
        told = self._following.told(since)
        for series in told["series"]:
            series["run"] = None if series["end"] is None else self._run_of(series["end"]["outputs"])
        return told

    def _run_of(self, outputs: list[str]) -> str | None:
        """Id of the run that these are the outputs of, where the catalogue that is shown has it."""
        summary = next((path for path in outputs if path.endswith(SUMMARY_SUFFIX)), None)
        if summary is None:
            return None
        try:
            with self._runs.catalogue() as catalogue:
                return catalogue.id_at(summary)
        except HitsieveError:
            return None

    def _event(self, kind: str, told: dict[str, Any]) -> str:
        data = json.dumps(told, separators=(",", ":"))
        return f"event: {kind}\nid: {self._self}-{told['changes']}\ndata: {data}\n\n"
