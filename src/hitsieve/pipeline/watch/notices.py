"""What the program that writes the files tells: that one is finished. A hint where to look, and no more."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any, Literal

import zmq

from hitsieve.errors import SettingsError
from hitsieve.model import Closing
from hitsieve.source.cbor import loads
from hitsieve.source.line import Line

_log = logging.getLogger(__name__)
LARGEST = 1 << 20
"""Bytes of a message."""
PAUSE = 200
"""Longest time (ms) until a request to stop is seen."""
MOST_NAMES = 1000
"""Names of files in one message."""
_SUFFIXES = (".h5", ".hdf5", ".hdf", ".nxs", ".nx5", ".cxi")


class Notices(Closing):
    """Listens in a thread of its own; use it in a `with` statement.

    Parameters
    ----------
    address : str
        Such as tcp://writer:5557.
    kind : str
        sub or pull.
    told : callable
        Called with the names of files in each message; there may be none.

    Raises
    ------
    SettingsError
        The address makes no sense.
    """

    def __init__(self, address: str, kind: Literal["sub", "pull"], told: Callable[[list[str]], None]) -> None:
        self._told = told
        self._stopped = False
        self._context = zmq.Context()
        options: dict[zmq.SocketOption, int | bytes] = {zmq.MAXMSGSIZE: LARGEST}
        if kind == "sub":
            options[zmq.SUBSCRIBE] = b""
        try:
            self._line = Line(self._context, zmq.SUB if kind == "sub" else zmq.PULL, address, options)
        except SettingsError as error:
            self._context.destroy(linger=0)
            raise SettingsError(f"watch.notify: {error.what}", mend=error.mend) from None
        self._thread = Thread(target=self._listen, name="notices", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        self._stopped = True
        self._thread.join()
        self._context.destroy(linger=0)

    def _listen(self) -> None:
        while not self._stopped:
            try:
                if self._line.socket.poll(PAUSE):
                    self._told(names_in(self._line.socket.recv_multipart()))
                elif self._line.given_up():
                    self._line.call_anew()
            except Exception:  # noqa: BLE001 - whatever is sent, files are found without it
                _log.debug("a message of the writer was not used", exc_info=True)


def names_in(frames: list[bytes]) -> list[str]:
    """Names of files in a message: in JSON or CBOR, whatever its shape, or as plain text."""
    names: list[str] = []
    for frame in frames:
        for text in _texts(_decoded(frame)):
            if text.lower().endswith(_SUFFIXES) and len(names) < MOST_NAMES:
                names.append(text)
    return names


def _decoded(frame: bytes) -> Any:
    try:
        return json.loads(frame)
    except (ValueError, RecursionError):
        pass
    try:
        decoded = loads(frame)
    except Exception:  # noqa: BLE001 - a decoder of others' bytes may raise anything
        decoded = None
    # A path begins like a number of CBOR, and most texts like something shorter.
    return decoded if isinstance(decoded, (dict, list)) else frame.decode("utf-8", errors="replace").strip()


def _texts(value: Any) -> Iterator[str]:
    """All texts in a value, wherever they stand."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            waiting += [*one.values(), *one.keys()]
        elif isinstance(one, (list, tuple)):
            waiting += one
