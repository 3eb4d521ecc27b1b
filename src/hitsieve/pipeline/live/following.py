"""Follows what `hitsieve live --publish` tells: a subscriber in a thread of its own, that outlives its publisher."""

from __future__ import annotations

import logging
import time
from threading import Lock, Thread
from typing import Any

import zmq

from hitsieve.errors import SettingsError
from hitsieve.model import Closing
from hitsieve.pipeline.live.heard import Heard
from hitsieve.source.line import Line, check_host

_log = logging.getLogger(__name__)
QUEUED = 10_000
LARGEST = 1 << 20
"""Bytes of a message; whoever sends more is cut off."""
PAUSE = 200
"""Longest time (ms) until a request to stop is seen."""
# A machine that has gone without a word is found out, and looked for again.
OPTIONS: dict[zmq.SocketOption, int | bytes] = {
    zmq.RCVHWM: QUEUED,
    zmq.MAXMSGSIZE: LARGEST,
    zmq.HEARTBEAT_IVL: 2000,
    zmq.HEARTBEAT_TIMEOUT: 6000,
    zmq.RECONNECT_IVL_MAX: 2000,
    zmq.SUBSCRIBE: b"",
}
AT_ONCE = 200
"""Messages that are taken in before others may look."""


class Following(Closing):
    """What is known of the series that a receiver tells of; may be started before it; use it in a `with` statement.

    Parameters
    ----------
    address : str
        Where it publishes, such as tcp://host:5556.

    Raises
    ------
    SettingsError
        The address makes no sense.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._heard = Heard()
        self._lock = Lock()
        self._connected = False
        self._stopped = False
        check_host(address)
        self._context = zmq.Context()
        try:
            self._line = Line(self._context, zmq.SUB, address, OPTIONS)
        except SettingsError:
            self._context.destroy(linger=0)
            raise
        self._thread = Thread(target=self._follow, name="follow", daemon=True)
        self._thread.start()

    @property
    def changes(self) -> int:
        """Grows with everything that is heard."""
        with self._lock:
            return self._heard.changes

    def told(self, since: int = -1) -> dict[str, Any]:
        """Everything that is known, as JSON has it; of series only those that run, or have changed since."""
        with self._lock:
            told = self._heard.told(since, time.time())
        return {"address": self.address, "connected": self._connected, **told}

    def name_of(self, number: int) -> str | None:
        """Name of a series; None of one unknown."""
        with self._lock:
            return self._heard.name_of(number)

    def _follow(self) -> None:
        poller = self._poller()
        while not self._stopped:
            try:
                ready = dict(poller.poll(PAUSE))
                given_up = self._line.given_up()
                self._connected = self._line.is_heard
                if self._line.socket in ready:
                    self._take()
                elif given_up:
                    self._line.call_anew()
                    poller = self._poller()
            except Exception:  # noqa: BLE001 - as below
                # The page goes on with what comes next; the pause keeps a fault that stays from filling the log.
                _log.exception("%s: a message could not be taken in", self.address)
                time.sleep(1.0)

    def _poller(self) -> zmq.Poller:
        poller = zmq.Poller()
        poller.register(self._line.socket, zmq.POLLIN)
        poller.register(self._line.events, zmq.POLLIN)
        return poller

    def _take(self) -> None:
        with self._lock:
            for _ in range(AT_ONCE):
                try:
                    frames = self._line.socket.recv_multipart(zmq.NOBLOCK)
                except zmq.Again:
                    return
                self._heard.take(frames)

    def close(self) -> None:
        """Follow no more."""
        if self._stopped:
            return
        self._stopped = True
        self._thread.join()
        self._line.socket.disable_monitor()
        self._context.destroy(linger=0)
