"""What goes wrong between a client and the server, on purpose."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any, Literal

from hitsieve.testing.scicat.refusal import Refusal

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """What becomes of one request."""

    kind: Literal["none", "status", "drop", "slow", "expire"]
    """none: it is served; status: it is answered with `status`; drop: the connection is cut; slow: it waits for
    `seconds`; expire: every token expires before it."""
    status: int = 503
    after: bool = False
    """The request is carried out, and its own answer is lost; for status and drop."""
    seconds: float = 0.0
    only: str = ""
    """Strike the first request whose `METHOD /path` begins so; others pass. Empty: the next request, whatever it is."""


class Faults:
    """Faults that wait for their requests; a middleware."""

    def __init__(self, app: App, *, expire: Callable[[], None], cut: Callable[[Scope], None]) -> None:
        self._app = app
        self._expire = expire
        self._cut = cut
        self._waiting: deque[Fault] = deque()
        self.struck: list[tuple[str, Fault]] = []
        """Which requests met which faults."""

    def add(self, faults: Iterable[Fault]) -> None:
        """Put faults in the queue: one for each request to come."""
        self._waiting.extend(faults)

    def clear(self) -> None:
        """Forget all faults that wait."""
        self._waiting.clear()

    @property
    def n_waiting(self) -> int:
        """Faults that have not met their requests."""
        return len(self._waiting)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or do to it what waits for it."""
        fault = self._next(scope) if scope["type"] == "http" else None
        if fault is None or fault.kind == "none":
            await self._app(scope, receive, send)
            return
        self.struck.append((f"{scope['method']} {scope['path']}", fault))
        if fault.kind in ("slow", "expire"):
            if fault.kind == "expire":
                self._expire()
            await asyncio.sleep(fault.seconds)
            await self._app(scope, receive, send)
            return
        if fault.after:
            await self._app(scope, receive, _nowhere)
        if fault.kind == "drop":
            self._cut(scope)
            # The connection is gone when the loop comes round; until then an answer would be made up for it.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            return
        await _answer(fault.status, send)

    def _next(self, scope: Scope) -> Fault | None:
        line = f"{scope['method']} {scope['path']}"
        for fault in self._waiting:
            if line.startswith(fault.only):
                self._waiting.remove(fault)
                return fault
        return None


async def _nowhere(message: Message) -> None:
    """An answer that is lost."""


async def _answer(status: int, send: Send) -> None:
    body = json.dumps(Refusal(status, "a fault on purpose").body).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
