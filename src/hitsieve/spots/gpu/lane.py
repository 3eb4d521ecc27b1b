"""A way through a card: it reads chunks, has them searched, and leaves to the core what a card cannot do."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field, fields

import numpy as np
import numpy.typing as npt

from hitsieve.cards import Bytes, CardError, Device, OutOfMemoryError
from hitsieve.model import Run
from hitsieve.spots.finder import NOT_STORED, Finder, Searched, stored_places
from hitsieve.spots.gpu.plan import CardPlan
from hitsieve.spots.gpu.stage import Chunks, Stage, placed

_log = logging.getLogger(__name__)
Images = npt.NDArray[np.int64]
ON_CARDS = "bslz4"
"""The stored form that the kernels unpack."""
SLACK = 1 << 20
"""Bytes beyond four times the image's that a chunk may have: more is a lie that must not become memory."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where the stored forms of some images are, a column each."""

    images: Images
    """Indices in the run; negative ones are passed over."""
    file: npt.NDArray[np.int32]
    """Number of the file; `NOT_STORED` of images that the kernels cannot unpack."""
    offset: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]

    def part(self, first: int, end: int) -> Places:
        """Some that follow on one another."""
        some = slice(first, end)
        return Places(self.images[some], self.file[some], self.offset[some], self.size[some])

    @classmethod
    def of(cls, run: Run, images: Images) -> Places:
        """Those of images of a run."""
        file, offset, size = stored_places(run, images)
        suits = np.array([each.codec == ON_CARDS for each in run.files], dtype=np.bool_)
        stored = np.flatnonzero(file != NOT_STORED)
        file[stored[~suits[file[stored]]]] = NOT_STORED
        return cls(images, file, offset, size)


@dataclass(frozen=True, slots=True)
class Task:
    """A run, and how it is searched."""

    run: Run
    finder: Finder
    plan: CardPlan
    blocks: int
    """Block size (bytes) as the headers of the chunks state it."""
    workers: int
    """Threads of the core."""
    batch: int
    """Images at a time."""
    told: set[str] = field(default_factory=set)
    """What was said of cards that failed: the streams of a card fail alike."""


class Lane:
    """A stream of a card, with the memory for a batch. One thread uses it at a time."""

    def __init__(self, make: Callable[[], Device], task: Task) -> None:
        self._make: Callable[[], Device] | None = make
        self._task = task
        self._device: Device | None = None
        self._stage: Stage | None = None
        self._capacity = task.batch
        self._proven = False
        self._buffer: Bytes = np.empty(0, dtype=np.uint8)

    def search(self, places: Places) -> Searched:
        """Search some images, no more than a batch, as `Finder.scan` does."""
        images = places.images
        found, done = self._on_card(places)
        if found is not None and done.all():
            return found
        rest = self._by_core(np.where(done, -1, images))
        if found is None:
            return rest
        return Searched.joined([(found if done[i] else rest).one(i) for i in range(len(images))])

    def close(self) -> None:
        """Give the memory back."""
        device = self._device
        self._make = self._device = self._stage = None
        self._buffer = np.empty(0, dtype=np.uint8)
        if device is not None:
            # One that has failed may fail in this, too.
            with suppress(CardError):
                device.close()

    def _on_card(self, places: Places) -> tuple[Searched | None, npt.NDArray[np.bool_]]:
        """What a card finds, and on which images; None where it is used no more."""
        none = np.zeros(len(places.images), dtype=np.bool_)
        if self._make is None:
            return None, none
        chunks: Chunks | None = None
        try:
            if self._device is None:
                self._device = self._make()
            chunks = self._read(places, self._device)
            if chunks is None:
                return None, none
            found, done = self._through(chunks, self._device)
        except CardError as error:
            why = str(error)
        else:
            why = self._doubt(places.images, found, done)
        # Not before the error and the chunks are gone: they hold memory of the card, and what it copies from.
        if why:
            chunks = None
            self._give_up(why)
            return None, none
        return found, done

    def _doubt(self, images: Images, found: Searched, done: npt.NDArray[np.bool_]) -> str:
        """Why a card is not to be trusted; empty where nothing speaks against it."""
        if self._proven:
            return ""
        if not self._same(images, found, done):
            return "it does not find what the compiled finder finds: please report this"
        self._proven = bool(done.any())
        return ""

    def _same(self, images: Images, found: Searched, done: npt.NDArray[np.bool_]) -> bool:
        """Whether a card finds what the core finds: asked once for each stream, of its first batch."""
        core = self._by_core(np.where(done, images, -1))
        return all(is_same(found.one(i), core.one(i)) for i in np.flatnonzero(done).tolist())

    def _give_up(self, why: str) -> None:
        if why not in self._task.told:
            self._task.told.add(why)
            _log.warning("a graphics card is used no more, and the compiled finder goes on in its place: %s", why)
        self.close()

    def _by_core(self, images: Images) -> Searched:
        task = self._task
        with closing(task.finder.scan(task.run, images, task.workers, len(images))) as scan:
            return Searched.joined(list(scan))

    def _through(self, chunks: Chunks, device: Device) -> tuple[Searched, npt.NDArray[np.bool_]]:
        """All chunks, as many at a time as the card's memory has room for."""
        parts: list[tuple[Searched, npt.NDArray[np.bool_]]] = []
        at = 0
        while at < len(chunks):
            end = min(at + self._capacity, len(chunks))
            try:
                if self._stage is None:
                    self._stage = Stage(device, self._task.plan, self._task.blocks, self._capacity)
                parts.append(self._stage.search(chunks.part(at, end)))
            except OutOfMemoryError:
                self._stage = None
                if self._capacity == 1:
                    raise
                self._capacity //= 2
                _log.info("a graphics card has too little memory left: %d images at a time", self._capacity)
                continue
            at = end
        return Searched.joined([found for found, _ in parts]), np.concatenate([done for _, done in parts])

    def _read(self, places: Places, device: Device) -> Chunks | None:
        """The chunks of images; empty ones for those that the core has to see to. None where all are empty."""
        run, plan = self._task.run, self._task.plan
        most = 4 * plan.n_pixels * plan.dtype.itemsize + SLACK
        wanted = (places.file != NOT_STORED) & (places.size > 0) & (places.size <= most)
        if not wanted.any():
            return None
        size = np.where(wanted, places.size, 0)
        starts, end = placed(size)
        if len(self._buffer) < end:
            self._buffer = np.empty(0, dtype=np.uint8)
            self._buffer = device.host_room(end + end // 4)
        for number in np.unique(places.file[wanted]).tolist():
            mine = np.flatnonzero(wanted & (places.file == number))
            try:
                descriptor = os.open(run.files[number].path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                size[mine] = 0
                continue
            try:
                for i in mine.tolist():
                    space = self._buffer[int(starts[i]) : int(starts[i] + size[i])]
                    size[i] = size[i] if _filled(descriptor, space, int(places.offset[i])) else 0
            finally:
                os.close(descriptor)
        return Chunks(self._buffer[:end], starts, size)


def _filled(descriptor: int, space: Bytes, offset: int) -> bool:
    """Whether a file could be read into all of some space."""
    view = space.data
    done = 0
    try:
        while done < len(view):
            n = os.preadv(descriptor, [view[done:]], offset + done)
            if n == 0:
                return False
            done += n
    except OSError:
        return False
    return True


def is_same(a: Searched, b: Searched) -> bool:
    """Both hold the same, to the bit."""
    columns = [field.name for field in fields(Searched) if field.name != "reasons"]
    return a.reasons == b.reasons and all(getattr(a, name).tobytes() == getattr(b, name).tobytes() for name in columns)
