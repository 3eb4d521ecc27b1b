"""Results for other programs, as they come: JSON or CBOR through a ZeroMQ PUB socket."""

from __future__ import annotations

import json
from dataclasses import asdict
from threading import Lock
from typing import Any, Literal

import cbor2
import zmq

from hitsieve.errors import SettingsError
from hitsieve.model import Closing, SeriesKey
from hitsieve.pipeline.live.watching import Ended, Load, Verdict

QUEUED = 10_000
"""Messages held for each subscriber; whoever is slower misses some, and delays nobody."""
LINGER = 1000
"""Time (ms) for the last messages to go out."""


class Publisher(Closing):
    """Publishes what a Watcher is told; use it in a `with` statement.

    Parameters
    ----------
    address : str
        Such as tcp://*:5556.
    form : str
        What each message is: json or cbor.

    Raises
    ------
    SettingsError
        The address makes no sense or is taken.
    """

    def __init__(self, address: str, form: Literal["json", "cbor"] = "json") -> None:
        self._packed = _json if form == "json" else _cbor
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PUB)
        self._socket.setsockopt(zmq.SNDHWM, QUEUED)
        self._lock = Lock()
        self._sent = 0
        try:
            self._socket.bind(address)
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            raise SettingsError(
                f"results cannot be published at {address!r}: {error}", mend="name a free port, as tcp://*:5556"
            ) from None

    @property
    def address(self) -> str:
        """Where it is bound."""
        return str(self._socket.getsockopt_string(zmq.LAST_ENDPOINT))

    def started(self, name: str, key: SeriesKey, n_images: int | None) -> None:
        """Publish that a series has begun."""
        self._send("start", name, key, {"number_of_images": n_images})

    def arrived(self, size: int) -> None:
        """Say nothing: a verdict follows."""

    def judged(self, verdict: Verdict) -> None:
        """Publish a verdict."""
        values = {name: value for name, value in asdict(verdict).items() if name not in ("name", "key", "image")}
        self._send("image", verdict.name, verdict.key, {"image_id": verdict.image, **values})

    def ended(self, ended: Ended) -> None:
        """Publish that a series is done."""
        values = {name: value for name, value in asdict(ended).items() if name not in ("name", "key")}
        self._send("end", ended.name, ended.key, values | {"outputs": [str(path.resolve()) for path in ended.outputs]})

    def refused(self, kind: Literal["bad", "late", "doubled"], what: str) -> None:
        """Publish that a message was not used."""
        self._publish({"type": "refused", "kind": kind, "what": what})

    def load(self, load: Load) -> None:
        """Say nothing: that is for metrics."""

    def _send(self, kind: str, name: str, key: SeriesKey, values: dict[str, Any]) -> None:
        about = {"type": kind, "name": name, "series_id": key.number, "series_unique_id": key.unique}
        self._publish(about | values)

    def _publish(self, values: dict[str, Any]) -> None:
        with self._lock:
            # Whoever was too slow sees by the gaps how much it has missed.
            message = self._packed({**values, "sequence": self._sent})
            self._sent += 1
            self._socket.send(message)

    def close(self) -> None:
        """Publish no more."""
        self._context.destroy(linger=LINGER)


def _json(values: dict[str, Any]) -> bytes:
    return json.dumps(values).encode()


def _cbor(values: dict[str, Any]) -> bytes:
    return cbor2.dumps(_text(values))


def _text(value: Any) -> Any:
    """A value whose texts are such: names of files may hold bytes that are none, which JSON has a way to write."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {name: _text(item) for name, item in value.items()}
    return [_text(item) for item in value] if isinstance(value, list | tuple) else value
