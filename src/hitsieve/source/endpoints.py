"""Sockets that messages of detectors come through: always read, and never more held than is allowed."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Condition, Thread
from types import TracebackType
from typing import TYPE_CHECKING

import zmq

from hitsieve.errors import SettingsError, SourceError
from hitsieve.model import Message, SeriesImage
from hitsieve.source.line import Line, check_host
from hitsieve.source.stream2 import read_message

if TYPE_CHECKING:
    from typing_extensions import Self

_log = logging.getLogger(__name__)
LARGEST_MESSAGE = 1 << 29
"""Bytes; whoever sends more is cut off."""
QUEUED = 64
"""Messages that ZeroMQ holds for each socket."""
ALIVE: dict[zmq.SocketOption, int] = {
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 30,
    zmq.TCP_KEEPALIVE_INTVL: 10,
    zmq.TCP_KEEPALIVE_CNT: 3,
}
"""A detector whose machine has lost its power ends no connection: after a minute (s) of silence it is called anew."""
PAUSE = 100
"""Longest time (ms) until a request to stop is seen."""
_CUT_OFF = f"cut off, and called anew: it sent more than {LARGEST_MESSAGE >> 20} MiB at once, or is no PUSH socket"


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
        self._lines: list[Line] = []
        options: dict[zmq.SocketOption, int | bytes] = {zmq.RCVHWM: QUEUED, zmq.MAXMSGSIZE: LARGEST_MESSAGE, **ALIVE}
        try:
            for address in self.addresses:
                check_host(address)
                self._lines.append(Line(self._context, zmq.PULL, address, options))
        except SettingsError:
            self._context.destroy(linger=0)
            raise
        self._thread = Thread(target=self._receive, name="receive", daemon=True)

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
        try:
            poller = self._poller()
            while not self._stopped:
                ready = dict(poller.poll(PAUSE))
                for number, line in enumerate(self._lines):
                    if line.socket in ready:
                        # Images are large: they stay where ZeroMQ has put them, and are not copied.
                        self._put(number, [frame.buffer for frame in line.socket.recv_multipart(copy=False)])
                    elif line.given_up():
                        line.call_anew()
                        poller = self._poller()
                        self._arrive(Arrived(number, SourceError(_CUT_OFF), time.monotonic(), 0))
        except Exception as error:  # noqa: BLE001 - whoever takes what arrived must hear of it
            self._failed = error

    def _poller(self) -> zmq.Poller:
        poller = zmq.Poller()
        for line in self._lines:
            poller.register(line.socket, zmq.POLLIN)
        return poller

    def _put(self, endpoint: int, frames: list[memoryview]) -> None:
        at, size = time.monotonic(), sum(map(len, frames))
        message = _message(frames)
        if message is None:
            return
        dropped = isinstance(message, SeriesImage) and self._held + size > self._most
        if dropped and isinstance(message, SeriesImage):
            message = SeriesImage(message.key, message.number, None, "received, but dropped: it came too fast")
        self._arrive(Arrived(endpoint, message, at, size, dropped))

    def _arrive(self, arrived: Arrived) -> None:
        with self._changed:
            self._queue.append(arrived)
            self._held += 0 if arrived.dropped else arrived.size
            self._changed.notify()


def _message(frames: list[memoryview]) -> Message | SourceError | None:
    if len(frames) != 1:
        return SourceError(f"a message has {len(frames)} parts, not 1")
    try:
        return read_message(frames[0])
    except SourceError as error:
        return error
