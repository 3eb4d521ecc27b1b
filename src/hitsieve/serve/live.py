"""`/live`: the running series, told by server-sent events."""

from __future__ import annotations

import asyncio
import atexit
import json
import re
import secrets
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from hitsieve.errors import SettingsError
from hitsieve.serve.pages import page
from hitsieve.serve.refusals import NotFound, refuse

if TYPE_CHECKING:
    from hitsieve.pipeline.live.following import Following

PAUSE = 1.0
"""Time (s) between two looks at what has changed."""
BEAT = 5
"""So many looks without a change are told of."""
MOST_LISTENERS = 32
RETRY = 2000
"""Time (ms) after which a browser asks again."""
HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}
_SEEN = re.compile(r"([0-9a-f]{8})-(\d{1,15})")


def router(live: str | None) -> APIRouter:
    """Routes of the live page.

    Parameters
    ----------
    live : str, optional
        Where `hitsieve live` publishes; None: there is no such page.

    Raises
    ------
    SettingsError
        The address makes no sense.
    """
    routes = APIRouter()
    listeners = None if live is None else _Listeners(_follow(live))

    @routes.get("/live")
    def live_page(request: Request) -> Response:
        _there(listeners)
        return page(request, "live.html", {"address": live})

    @routes.get("/api/live/events")
    async def events(request: Request) -> Response:
        return _there(listeners).answer(request)

    return routes


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


class _Listeners:
    """Browsers that are told of what is followed."""

    def __init__(self, following: Following) -> None:
        self._following = following
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
        return StreamingResponse(self._events(since), 200, HEADERS, "text/event-stream")

    async def _events(self, since: int) -> AsyncIterator[str]:
        self._now += 1
        try:
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
        finally:
            self._now -= 1

    async def _told(self, since: int) -> dict[str, Any]:
        return await run_in_threadpool(self._following.told, since)

    def _event(self, kind: str, told: dict[str, Any]) -> str:
        data = json.dumps(told, separators=(",", ":"))
        return f"event: {kind}\nid: {self._self}-{told['changes']}\ndata: {data}\n\n"
