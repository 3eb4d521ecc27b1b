"""A detector's stream: stored images sent as DECTRIS Stream2, with what can go wrong on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, overload

import cbor2
import numpy as np
import zmq

from hitsieve._core import hold_memory
from hitsieve.errors import SettingsError
from hitsieve.source import OpenedRun
from hitsieve.testing.settings import StreamSettings

if TYPE_CHECKING:
    from typing_extensions import Self

TAGS = {"uint8": 64, "int8": 72, "uint16": 69, "uint32": 70, "int16": 77, "int32": 78}
"""Tag of RFC 8746 of each little-endian type."""
ROW_MAJOR, COMPRESSED = 40, 56500
CHANNEL = "threshold_1"
ROOM = 512
"""Bytes before an image that is held, for the rest of its message: the image itself need not be copied to be sent."""
PATIENCE = 60_000
"""Longest time (ms) that a message waits for somebody who takes it."""


@dataclass(frozen=True, slots=True)
class StreamedSeries:
    """A series as messages."""

    start: dict[str, Any]
    pieces: Sequence[bytes | memoryview]
    """Encoded `data` of each image."""
    n_images: int
    """More than there are pieces: they are sent over and over."""
    absent: frozenset[int] = frozenset()
    """Images that are announced and not sent."""

    @classmethod
    def of(cls, opened: OpenedRun, series_id: int = 1, n_images: int | None = None, *, at_once: bool = True) -> Self:
        """The images of a stored run, as they are stored; n_images of them, over and over, where that is given.

        Missing images are announced and not sent; of those that cannot be read only the number is. They are read at
        once, and held in memory so that sending costs little; or each when it is sent, while the run stays open.
        """
        run = opened.run
        detector, beam = run.detector, run.beam
        n = len(run) if n_images is None else n_images
        unique = f"{run.stem}-{series_id}"
        values: dict[str, Any] = {
            "type": "start",
            "series_id": series_id,
            "series_unique_id": unique,
            "number_of_images": n,
            "channels": [CHANNEL],
            "image_dtype": run.dtype.name,
            "image_size_x": detector.shape[1],
            "image_size_y": detector.shape[0],
            "incident_wavelength": beam.wavelength,
            "detector_distance": detector.distance,
            "beam_center_x": None if detector.beam_center is None else detector.beam_center[0],
            "beam_center_y": None if detector.beam_center is None else detector.beam_center[1],
            "pixel_size_x": None if detector.pixel_size is None else detector.pixel_size[0],
            "pixel_size_y": None if detector.pixel_size is None else detector.pixel_size[1],
            "saturation_value": detector.saturation_value,
            "underload_value": detector.underload_value,
            "error_value": detector.error_value,
            "detector_description": detector.description,
            "sensor_material": detector.sensor_material,
            "sensor_thickness": detector.sensor_thickness,
        }
        start = {name: value for name, value in values.items() if value is not None}
        if detector.pixel_mask is not None:
            start["pixel_mask"] = {CHANNEL: array(detector.pixel_mask)}
        if run.sample_cell is not None:
            names = ("a", "b", "c", "alpha", "beta", "gamma")
            start["unit_cell"] = dict(zip(names, run.sample_cell.parameters, strict=True))
            start["space_group"] = f"{run.sample_cell.centring} 1"
        stored = _Stored(opened, min(n, len(run)))
        pieces = tuple(map(_with_room, stored)) if at_once else stored
        return cls(start, pieces, n, frozenset(run.images.missing))

    @property
    def key(self) -> dict[str, Any]:
        """What each message of the series states."""
        return {name: self.start[name] for name in ("series_id", "series_unique_id")}

    def image(self, number: int) -> bytes:
        """The message of one image."""
        return b"".join((self._head(number), self.piece(number)))

    def in_place(self, number: int) -> memoryview | None:
        """The message of one image, made in the memory that holds its piece; None where there is no room before it.

        The next message made of the same piece overwrites it.
        """
        piece, head = self.piece(number), self._head(number)
        memory = piece.obj if isinstance(piece, memoryview) else None
        if not isinstance(memory, bytearray) or len(memory) != ROOM + len(piece) or len(head) > ROOM:
            return None
        memory[ROOM - len(head) : ROOM] = head
        return memoryview(memory)[ROOM - len(head) :]

    def piece(self, number: int) -> bytes | memoryview:
        """What is sent as `data` of one image."""
        return self.pieces[number % len(self.pieces)]

    def _head(self, number: int) -> bytes:
        """All of a message that comes before the piece."""
        times = {"real_time": [1, 1000], "start_time": [number, 1000], "stop_time": [number + 1, 1000]}
        head = cbor2.dumps({"type": "image", **self.key, "image_id": number, "series_date": "", **times})
        # One more entry in the map, whose head is the first byte.
        return b"".join((bytes((head[0] + 1,)), head[1:], cbor2.dumps("data")))

    @property
    def end(self) -> bytes:
        """The last message."""
        return cbor2.dumps({"type": "end", **self.key})


def array(values: np.ndarray[Any, Any]) -> cbor2.CBORTag:
    """An array, not compressed."""
    little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    return cbor2.CBORTag(ROW_MAJOR, [list(values.shape), cbor2.CBORTag(TAGS[values.dtype.name], little.tobytes())])


def packed(shape: tuple[int, int], dtype: np.dtype[Any], codec: str, data: bytes) -> cbor2.CBORTag:
    """A compressed image."""
    size = 0 if codec == "lz4" else dtype.itemsize
    bytes_ = cbor2.CBORTag(COMPRESSED, [codec, size, data])
    return cbor2.CBORTag(ROW_MAJOR, [list(shape), cbor2.CBORTag(TAGS[dtype.name], bytes_)])


def _with_room(piece: bytes) -> memoryview:
    memory = bytearray(ROOM + len(piece))
    memory[ROOM:] = piece
    return memoryview(memory)[ROOM:]


class _Stored(Sequence[bytes]):
    """Encoded `data` of the first images of a run, read when asked for."""

    def __init__(self, opened: OpenedRun, n: int) -> None:
        self._opened = opened
        self._n = n

    def __len__(self) -> int:
        return self._n

    @overload
    def __getitem__(self, i: int) -> bytes: ...
    @overload
    def __getitem__(self, i: slice) -> Sequence[bytes]: ...
    def __getitem__(self, i: int | slice) -> bytes | Sequence[bytes]:
        if isinstance(i, slice):
            return [self[k] for k in range(*i.indices(self._n))]
        if not 0 <= i < self._n:
            raise IndexError(i)
        return cbor2.dumps({CHANNEL: _image(self._opened, i)})


def _image(opened: OpenedRun, i: int) -> Any:
    run = opened.run
    if i in run.images.missing or i in run.images.unreadable:
        return b""
    codec = run.files[int(run.images.file[i])].codec
    if codec is not None and run.images.offset[i] >= 0:
        return packed(run.detector.shape, run.dtype, codec, opened.stored(i))
    return array(opened.pixels(i))


class StreamSender:
    """Sockets of a detector, to which those who receive connect; use it in a `with` statement.

    Parameters
    ----------
    addresses : sequence of str
        Such as tcp://*:31001; a port * is any that is free. Images go to the sockets in turn, start and end to all.

    Raises
    ------
    SettingsError
        An address makes no sense or is taken.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        hold_memory()
        self._context = zmq.Context()
        self._lent: dict[int, tuple[bytes | memoryview, zmq.MessageTracker]] = {}
        """Pieces in whose memory messages were made, by id, and who tells whether ZeroMQ still reads them."""
        self._sockets = []
        for address in addresses:
            socket = self._context.socket(zmq.PUSH)
            self._sockets.append(socket)
            socket.setsockopt(zmq.SNDTIMEO, PATIENCE)
            socket.setsockopt(zmq.SNDHWM, 16)
            try:
                socket.bind(address)
            except zmq.ZMQError as error:
                self.close(0)
                raise SettingsError(
                    f"nothing can be sent from {address!r}: {error}", mend="name tcp://*:PORT"
                ) from None

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where to connect to, on this machine."""
        found = (socket.getsockopt_string(zmq.LAST_ENDPOINT) for socket in self._sockets)
        return tuple(address.replace("0.0.0.0", "127.0.0.1") for address in found)  # noqa: S104 - not bound, named

    def send(
        self,
        series: StreamedSeries,
        settings: StreamSettings | None = None,
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[int]:
        """Send a series; the numbers of the images that were sent, in order.

        Raises
        ------
        SettingsError
            Nobody takes it.
        """
        settings = settings or StreamSettings()
        if not settings.no_start:
            self._all(cbor2.dumps(series.start))
        sent: list[int] = []
        self._lent = {number: lent for number, lent in self._lent.items() if not lent[1].done}
        begun = time.monotonic()
        for number in order(series.n_images, settings):
            if number in series.absent:
                continue
            if settings.rate:
                time.sleep(max(0.0, begun + len(sent) / settings.rate - time.monotonic()))
            self._image(series, number)
            sent.append(number)
            if progress is not None:
                progress(len(sent), series.n_images)
        if settings.die_after is None:
            self._all(series.end)
        return sent

    def raw(self, message: bytes, socket: int = 0) -> None:
        """Send what may be no message at all through one of the sockets."""
        self._one(socket, message)

    def _all(self, message: bytes) -> None:
        for number in range(len(self._sockets)):
            self._one(number, message)

    def _image(self, series: StreamedSeries, number: int) -> None:
        """Send an image: where it lies, unless what was sent from there before is still on its way."""
        piece, socket = series.piece(number), number % len(self._sockets)
        lent = self._lent.get(id(piece))
        message = series.in_place(number) if lent is None or lent[1].done else None
        if message is None:
            self._one(socket, series.image(number))
        else:
            self._lent[id(piece)] = (piece, self._one(socket, message))

    def _one(self, number: int, message: bytes | memoryview) -> zmq.MessageTracker:
        """Send a message; gives who tells whether ZeroMQ still reads it."""
        try:
            # Large ones are sent from where they lie.
            return self._sockets[number].send(message, copy=False, track=True)
        except zmq.Again:
            raise SettingsError(
                f"nobody has taken what is sent for {PATIENCE / 1000:g} s", mend="start hitsieve live first"
            ) from None

    def close(self, linger: int = PATIENCE) -> None:
        """Close the sockets once all is taken, or after so many milliseconds."""
        self._context.destroy(linger=linger)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(PATIENCE if error is None else 0)


def order(n: int, settings: StreamSettings) -> Iterator[int]:
    """Numbers of the images as they are sent: some lost, doubled, out of order."""
    random = np.random.default_rng(settings.fault_seed)
    numbers: Iterable[int] = range(n if settings.die_after is None else min(n, settings.die_after))
    if settings.lose or settings.double:
        copies = (1 - (random.random(n) < settings.lose)) * (1 + (random.random(n) < settings.double))
        numbers = (number for number in numbers for _ in range(int(copies[number])))
    if settings.disorder:
        listed = np.fromiter(numbers, dtype=np.int64)
        moved = np.arange(len(listed)) + random.uniform(-settings.disorder / 2, settings.disorder / 2, len(listed))
        numbers = listed[np.argsort(moved)].tolist()
    yield from numbers
