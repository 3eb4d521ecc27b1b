"""The application behind a socket: an address, its limits, and its end."""

from __future__ import annotations

import asyncio
import errno
import resource
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.responses import PlainTextResponse
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from hitsieve.errors import SettingsError
from hitsieve.model import Closing

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import Receive, Scope, Send

    from hitsieve.settings import ServeSettings

PATIENCE = 20.0
"""Longest time (s) from the opening of a connection, or the first byte of a request, to the end of its head."""
IDLE = 30
"""Longest time (s) that a connection stays open between two requests."""
LAST_ANSWERS = 1
"""Longest time (s) for answers that are on their way when the server ends."""
LONGEST_HEAD = 32 * 1024
"""Bytes of a request's first line and headers."""
MOST_CONNECTIONS = 2000
"""At once; beyond, each is told to come again."""
SPARE = 128
"""Open files beside connections."""
BACKLOG = 1024


class Server(Closing):
    """Serves an application; close it, or use it in a `with` statement.

    Parameters
    ----------
    app : FastAPI
    settings : ServeSettings

    Raises
    ------
    SettingsError
        The address cannot be listened at.
    """

    def __init__(self, app: FastAPI, settings: ServeSettings) -> None:
        self._socket = _listening(settings.host, settings.port)
        host, port = self._socket.getsockname()[:2]
        self.port = int(port)
        """Port that it listens at."""
        # An address that stands for all of them is none to visit.
        shown = socket.gethostname() if host in ("0.0.0.0", "::") else settings.host  # noqa: S104 - compared only
        self.url = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}{settings.base_path}/"
        """Address of the first page, without any token."""
        config = uvicorn.Config(
            app,
            # uvicorn's own limit does not say when to come again.
            http=type("Impatient", (_Impatient,), {"most": _most_connections()}),
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            # Whoever sends nonsense is told so, not the log.
            log_level="critical",
            # Addresses may hold a token.
            access_log=False,
            server_header=False,
            proxy_headers=settings.behind_proxy,
            timeout_keep_alive=IDLE,
            timeout_graceful_shutdown=LAST_ANSWERS,
            h11_max_incomplete_event_size=LONGEST_HEAD,
        )
        self._server = _Ending(config)

    def run(self) -> None:
        """Serve until `stop` is called from another thread, or Ctrl-C, which is raised again at the end."""
        self._server.run(sockets=[self._socket])

    @property
    def started(self) -> bool:
        """Whether it answers."""
        return self._server.started

    def stop(self) -> None:
        """Ask `run` to return soon."""
        self._server.should_exit = True

    def close(self) -> None:
        """Free the address."""
        self._socket.close()


class _Ending(uvicorn.Server):
    """Ends in order when the terminal is closed, too; what the signal does else comes afterwards."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        with super().capture_signals():
            if threading.current_thread() is not threading.main_thread() or _ignored(signal.SIGHUP):
                yield
                return
            before = signal.signal(signal.SIGHUP, self.handle_exit)
            try:
                yield
            finally:
                signal.signal(signal.SIGHUP, before)


def _ignored(number: signal.Signals) -> bool:
    """Whether the caller does not want to hear of it, as nohup does."""
    return signal.getsignal(number) is signal.SIG_IGN


class _Impatient(H11Protocol):
    """Does not wait for ever for a request whose head comes drop by drop, or never."""

    most = MOST_CONNECTIONS
    """Connections at once."""
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.most:
            self.app = _full
        self._wait()

    def data_received(self, data: bytes) -> None:
        if self._deadline is None:
            self._wait()
        super().data_received(data)

    def handle_events(self) -> None:
        before = self.scope
        super().handle_events()
        if self.scope is not before and self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(PATIENCE, self._give_up)

    def _give_up(self) -> None:
        self._deadline = None
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None or cycle.response_complete:
            self.transport.close()


async def _full(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer where one connection more is too much."""
    headers = {"Retry-After": "2", "Connection": "close"}
    await PlainTextResponse("503 Too many at once\n", 503, headers)(scope, receive, send)


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises
    ------
    SettingsError
    """
    made: socket.socket | None = None
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, _, _, address = found[0]
        # asyncio sends small answers at once on sockets of this protocol only; on others each waits for 40 ms.
        made = socket.socket(family, kind, socket.IPPROTO_TCP)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(BACKLOG)
    except (OSError, UnicodeError) as error:
        if made is not None:
            made.close()
        raise SettingsError(f"{host}:{port} {_why(error)}", mend=_mend(error)) from None
    return made


def _why(error: Exception) -> str:
    code = getattr(error, "errno", None)
    if code == errno.EADDRINUSE:
        return "is taken: another program listens there"
    if code == errno.EACCES:
        return "may not be listened at by this user"
    return f"cannot be listened at: {(getattr(error, 'strerror', None) or str(error)).lower()}"


def _mend(error: Exception) -> str:
    if getattr(error, "errno", None) in (errno.EADDRINUSE, errno.EACCES):
        return "give another port with --port; 0 is a free one"
    return "give an address of this computer with --host"


def _most_connections() -> int:
    """As many as wanted, or as the system lets a program have open; its own limit is raised as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted: Any = MOST_CONNECTIONS + SPARE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
            soft = raised
        return max(1, min(MOST_CONNECTIONS, soft - SPARE))
    return MOST_CONNECTIONS
