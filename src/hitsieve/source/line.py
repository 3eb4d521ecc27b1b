"""A socket that calls another program, and goes on calling it whatever that has sent."""

from __future__ import annotations

import time
from collections.abc import Mapping
from socket import getaddrinfo

import zmq
from zmq.utils.monitor import recv_monitor_message

from hitsieve.errors import SettingsError

GIVEN_UP = 1.0
"""Time (s) without a further attempt to connect after which ZeroMQ makes none any more."""
_LOST = zmq.Event.DISCONNECTED
_HEARD = zmq.Event.HANDSHAKE_SUCCEEDED
_CALLS = zmq.Event.CONNECT_RETRIED | zmq.Event.CONNECT_DELAYED | zmq.Event.CONNECTED


class Line:
    """A socket, and whether ZeroMQ still calls its other end; belongs to one thread.

    It does as long as a connection breaks. Where what comes is too large or no message of its own, it cuts the
    connection and never calls again: whoever comes to that address later would not be heard any more.

    Parameters
    ----------
    context : zmq.Context
    kind : int
        Of the socket, as zmq.PULL.
    address : str
        Such as tcp://host:31001.
    options : mapping
        Of the socket, with their values.

    Raises
    ------
    SettingsError
        The address makes no sense.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        kind: int,
        address: str,
        options: Mapping[zmq.SocketOption, int | bytes],
    ) -> None:
        self._context, self._kind, self._address, self._options = context, kind, address, options
        self._call()

    def _call(self) -> None:
        self._lost: float | None = None
        self.is_heard = False
        """Whether the other end is there and speaks as it should; known after each look at `given_up`."""
        self.socket = self._context.socket(self._kind)
        self.socket.setsockopt(zmq.LINGER, 0)
        for option, value in self._options.items():
            self.socket.setsockopt(option, value)
        self.events = self.socket.get_monitor_socket(_LOST | _HEARD | _CALLS)
        """Readable when something has become of the connection, which `given_up` takes in."""
        try:
            # Whoever starts first waits for the other: it may come later, and come back.
            self.socket.connect(self._address)
        except zmq.ZMQError as error:
            raise SettingsError(
                f"{self._address!r} is no address to receive from: {error}", mend="name one as tcp://HOST:PORT"
            ) from None

    def given_up(self) -> bool:
        """Whether it was cut off for good; what had come before can still be read."""
        while self.events.poll(0):
            event = recv_monitor_message(self.events)["event"]
            self._lost = time.monotonic() if event == _LOST else None
            self.is_heard = event == _HEARD
        return self._lost is not None and time.monotonic() - self._lost >= GIVEN_UP

    def call_anew(self) -> None:
        """Put another socket in the place of this one."""
        self.socket.disable_monitor()
        self.events.close(0)
        self.socket.close(0)
        self._call()


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
