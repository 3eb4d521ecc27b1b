"""Sockets that messages of detectors come through: always read, and never more held than is allowed."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from socket import getaddrinfo
from threading import Condition, Thread
from types import TracebackType
from typing import TYPE_CHECKING

import zmq

from hitsieve.errors import SettingsError, SourceError
from hitsieve.model import Message, SeriesImage
from hitsieve.source.stream2 import read_message

if TYPE_CHECKING:
    from typing_extensions import Self

_log = logging.getLogger(__name__)
LARGEST_MESSAGE = 1 << 29
"""Bytes; whoever sends more is cut off."""
QUEUED = 64
"""Messages that ZeroMQ holds for each socket."""
ALIVE = {zmq.TCP_KEEPALIVE: 1, zmq.TCP_KEEPALIVE_IDLE: 30, zmq.TCP_KEEPALIVE_INTVL: 10, zmq.TCP_KEEPALIVE_CNT: 3}
"""A detector whose machine has lost its power ends no connection: after a minute (s) of silence it is called anew."""
PAUSE = 100
"""Longest time (ms) until a request to stop is seen."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """Something came through a socket."""

    endpoint: int
    """Which of the sockets."""
    message: Message | SourceError
    """What came, or why it could not be read."""
    at: float
    """When, by `time.monotonic`."""
    size: int
    """Bytes."""
    dropped: bool = False
    """Of an image: its data were let go, for want of room."""


class Endpoints:
    """Receives in a thread of its own; whoever takes what arrived may be slow.

    A detector that sends through a PUSH socket waits when nobody reads. All that comes is therefore read at once and
    held, up to `most` bytes; beyond that the data of images are let go, and the images are told as dropped.

    Parameters
    ----------
    addresses : sequence of str
        Such as tcp://host:31001.
    most : int
        Bytes of messages held.

    Raises
    ------
    SettingsError
        An address makes no sense.
    """

    def __init__(self, addresses: Sequence[str], most: int) -> None:
        self.addresses = tuple(addresses)
        self._most = most
        self._queue: deque[Arrived] = deque()
        self._changed = Condition()
        self._held = 0
        self._stopped = False
        self._failed: Exception | None = None
        self._context = zmq.Context()
        self._sockets: list[zmq.Socket[bytes]] = []
        try:
            for address in self.addresses:
                self._sockets.append(self._connected(address))
        except SettingsError:
            self._context.destroy(linger=0)
            raise
        self._thread = Thread(target=self._receive, name="receive", daemon=True)

    def _connected(self, address: str) -> zmq.Socket[bytes]:
        check_host(address)
        socket = self._context.socket(zmq.PULL)
        socket.setsockopt(zmq.RCVHWM, QUEUED)
        socket.setsockopt(zmq.MAXMSGSIZE, LARGEST_MESSAGE)
        socket.setsockopt(zmq.LINGER, 0)
        for option, value in ALIVE.items():
            socket.setsockopt(option, value)
        try:
            # Whoever starts first waits for the other: a detector may come later, and come back.
            socket.connect(address)
        except zmq.ZMQError as error:
            raise SettingsError(
                f"{address!r} is no address to receive from: {error}", mend="name one as tcp://HOST:PORT"
            ) from None
        return socket

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Receive no more; what has arrived can still be taken."""
        self._stopped = True
        if self._thread.is_alive():
            self._thread.join()
        self._context.destroy(linger=0)

    @property
    def held(self) -> int:
        """Bytes of what has arrived and was not taken."""
        return self._held

    def take(self, timeout: float) -> Arrived | None:
        """The next of what has arrived; None where nothing does in time (s).

        Raises
        ------
        SourceError
            No more can be received.
        """
        with self._changed:
            if not self._queue:
                self._changed.wait(timeout)
            if not self._queue:
                if self._failed is not None:
                    raise SourceError(f"receiving has failed: {self._failed}", mend="start hitsieve live again")
                return None
            arrived = self._queue.popleft()
            self._held -= 0 if arrived.dropped else arrived.size
            return arrived

    def _receive(self) -> None:
        poller = zmq.Poller()
        for socket in self._sockets:
            poller.register(socket, zmq.POLLIN)
        numbers = {socket: number for number, socket in enumerate(self._sockets)}
        try:
            while not self._stopped:
                for socket, _ in poller.poll(PAUSE):
                    # Images are large: what is taken out of a message is copied once, not twice.
                    self._put(numbers[socket], [frame.buffer for frame in socket.recv_multipart(copy=False)])
        except Exception as error:  # noqa: BLE001 - whoever takes what arrived must hear of it
            self._failed = error

    def _put(self, endpoint: int, frames: list[memoryview]) -> None:
        at, size = time.monotonic(), sum(map(len, frames))
        message = _message(frames)
        if message is None:
            return
        dropped = isinstance(message, SeriesImage) and self._held + size > self._most
        if dropped and isinstance(message, SeriesImage):
            message = SeriesImage(message.key, message.number, None, "received, but dropped: it came too fast")
        with self._changed:
            self._queue.append(Arrived(endpoint, message, at, size, dropped))
            self._held += 0 if dropped else size
            self._changed.notify()


def check_host(address: str) -> None:
    """Refuse a port or a host that cannot be: ZeroMQ would wait for it for ever, without a word.

    Raises
    ------
    SettingsError
        That is so.
    """
    scheme, _, place = address.partition("://")
    host, colon, port = place.rpartition(":")
    if scheme != "tcp" or not colon:
        return
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise SettingsError(f"{address!r}: {port!r} is no port", mend="name one from 1 to 65535")
    try:
        getaddrinfo(host.rpartition(";")[2].strip("[]"), int(port))
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(f"{address!r}: no such host is known: {why}", mend="check its name") from None


def _message(frames: list[memoryview]) -> Message | SourceError | None:
    if len(frames) != 1:
        return SourceError(f"a message has {len(frames)} parts, not 1")
    try:
        return read_message(frames[0])
    except SourceError as error:
        return error
