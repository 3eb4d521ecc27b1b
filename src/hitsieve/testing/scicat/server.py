"""The imitated server, running in a thread."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from email.utils import formatdate
from types import TracebackType
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from hitsieve.testing.scicat.app import make_app
from hitsieve.testing.scicat.faults import App, Fault, Faults, Message, Receive, Scope, Send
from hitsieve.testing.scicat.store import ACCOUNTS, PREFIX, Account, Document, Store, Version

if TYPE_CHECKING:
    import asyncio

    from typing_extensions import Self

HOST = "127.0.0.1"
_VOLATILE = {"_id", "id", "_order", "createdAt", "updatedAt", "createdBy", "updatedBy"}


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that came, whatever became of it."""

    method: str
    path: str
    """As it was sent, percent-encoded."""
    query: str
    content_type: str
    body: bytes
    status: int
    """0 where no answer was sent."""

    @property
    def line(self) -> str:
        """Method and path."""
        return f"{self.method} {self.path}"

    @property
    def json(self) -> Any:
        """The body, read; None where there is none."""
        return json.loads(self.body) if self.body else None


class FakeSciCat:
    """A server that imitates SciCat, on a free port of this computer; use it in a `with` statement.

    Parameters
    ----------
    version : str
        Which backend it imitates: v5, or v4.
    accounts : sequence of Account
        Who may log in.
    token_seconds : float
        How long a token lives.
    port : int
        0: a free one.
    ahead : float
        Seconds by which its clock is before that of this computer.
    """

    def __init__(
        self,
        version: Version = "v5",
        *,
        accounts: Iterable[Account] = ACCOUNTS,
        token_seconds: float = 3600.0,
        port: int = 0,
        ahead: float = 0.0,
    ) -> None:
        self.store = Store(version, tuple(accounts), token_seconds, ahead)
        self.requests: list[Seen] = []
        """All requests, in order of their end."""
        self._transports: dict[tuple[str, int], asyncio.Transport] = {}
        self.faults = Faults(_decoded_later(make_app(self.store)), expire=self.expire_tokens, cut=self._cut)
        self._socket = socket.create_server((HOST, port))
        config = uvicorn.Config(
            self._recorded,
            interface="asgi3",
            log_level="critical",
            lifespan="off",
            ws="none",
            date_header=False,
            http=_protocol(self._transports),
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)

    @property
    def url(self) -> str:
        """Where it listens, without /api."""
        return f"http://{HOST}:{self._socket.getsockname()[1]}"

    def fail_next(self, n: int, fault: Fault) -> None:
        """Let the next n requests meet a fault."""
        self.faults.add([fault] * n)

    def expire_tokens(self) -> None:
        """Let every token expire now."""
        self.store.expire_tokens()

    def dataset(self, pid: str) -> Document:
        """A data set as it is stored."""
        with self.store.held() as store:
            return store.datasets[pid]

    def state(self) -> dict[str, Any]:
        """All that is stored, without what differs between two servers that were told the same.

        Ids, times and makers are left out; a pid that the server made is replaced by the name of the data set.
        """
        with self.store.held() as store:
            names = {pid: str(one["datasetName"]) for pid, one in store.datasets.items()}
            text = json.dumps(
                {
                    "datasets": sorted((_stable(one) for one in store.datasets.values()), key=json.dumps),
                    "blocks": sorted((_stable(one) for one in store.blocks), key=json.dumps),
                    "attachments": sorted((_stable(one) for one in store.attachments), key=json.dumps),
                    "jobs": sorted((_stable(one) for one in store.jobs), key=json.dumps),
                }
            )
        for pid, name in names.items():
            if pid.startswith(f"{PREFIX}/"):
                text = text.replace(pid, f"pid of {name}")
        state: dict[str, Any] = json.loads(text)
        return {kind: sorted(documents, key=json.dumps) for kind, documents in state.items()}

    def start(self) -> None:
        """Serve, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving."""
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(10)
        self._socket.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def _recorded(self, scope: Scope, receive: Receive, send: Send) -> None:
        body: list[bytes] = []
        noted = False

        def note(status: int) -> None:
            nonlocal noted
            noted = True
            kind = dict(scope["headers"]).get(b"content-type", b"").decode()
            path, query = scope["raw_path"].decode(), scope["query_string"].decode()
            self.requests.append(Seen(scope["method"], path, query, kind, b"".join(body), status))

        async def listen() -> Message:
            message = await receive()
            body.append(message.get("body", b""))
            return message

        async def tell(message: Message) -> None:
            # Before the client has its answer, so that it finds its request noted.
            if message["type"] == "http.response.start":
                note(message["status"])
                date = formatdate(time.time() + self.store.ahead, usegmt=True).encode()
                message["headers"] = [*message.get("headers", ()), (b"date", date)]
            await send(message)

        try:
            await self.faults(scope, listen, tell)
        finally:
            if not noted:
                note(0)

    def _cut(self, scope: Scope) -> None:
        transport = self._transports.get(tuple(scope["client"]))
        if transport is not None:
            transport.abort()


def _decoded_later(app: App) -> App:
    """Route by the path as it was sent: a pid has a slash, which comes as %2F."""

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        raw = scope.get("raw_path")
        await app({**scope, "path": raw.decode()} if raw else scope, receive, send)

    return inner


def _protocol(transports: dict[tuple[str, int], asyncio.Transport]) -> type[H11Protocol]:
    """A protocol that remembers its connections, so that they can be cut."""

    class Remembering(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            self._peer = tuple(transport.get_extra_info("peername")[:2])
            transports[self._peer] = transport
            # asyncio does it for sockets of its own making only; without, each answer waits for 40 ms.
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            super().connection_made(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            transports.pop(self._peer, None)
            super().connection_lost(exc)

    return Remembering


def _stable(document: Document) -> Document:
    return {name: value for name, value in document.items() if name not in _VOLATILE}
