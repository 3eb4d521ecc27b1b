"""A way through a card: it reads chunks, has them searched, and leaves to the core what a card cannot do."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field, fields
from threading import RLock

import numpy as np
import numpy.typing as npt

from hitsieve.cards import Bytes, CardError, Device, OutOfMemoryError
from hitsieve.model import Run
from hitsieve.spots.finder import NOT_STORED, Finder, Searched
from hitsieve.spots.gpu.plan import CardPlan
from hitsieve.spots.gpu.reading import Images, Places, read_into
from hitsieve.spots.gpu.stage import Chunks, Stage, image_bytes, placed

_log = logging.getLogger(__name__)
SLACK = 1 << 20
"""Bytes beyond four times the image's that a chunk may have: more is a lie that must not become memory."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a stream of a card has in hand at a time."""

    images: int = 512
    """More of the smallest would not keep a card busier."""
    on_card: int = 3 << 29
    """Bytes on the card to search them in; one image may take more."""
    share: int = 4
    """And no more than one in so many of the card's free bytes: other streams and programs come after this one."""
    stored: int = 1 << 28
    """Bytes of their stored forms, on the card and here, in memory that is not swapped out; one image may have more."""


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
    bounds: Bounds
    readers: ThreadPoolExecutor
    told: set[str] = field(default_factory=set)
    """What was said of cards that failed: the streams of a card fail alike."""

    @property
    def batch(self) -> int:
        """Most images at a time."""
        fitting = self.bounds.on_card // image_bytes(self.plan, self.blocks)
        return max(min(self.bounds.images, fitting), 1)


class Lane:
    """A stream of a card, with the memory for a batch. One thread uses it at a time; others wait."""

    def __init__(self, make: Callable[[], Device], task: Task) -> None:
        self._make: Callable[[], Device] | None = make
        self._task = task
        self._device: Device | None = None
        self._stage: Stage | None = None
        self._capacity = task.batch
        self._proven = False
        # Given back however a thread leaves, by Ctrl-C too; a search that fails closes its lane itself.
        self._using = RLock()
        self._buffer: Bytes = np.empty(0, dtype=np.uint8)

    def search(self, places: Places) -> Searched:
        """Search some images, no more than a batch, as `Finder.scan` does."""
        with self._using:
            return self._search(places)

    def close(self) -> None:
        """Use the card no more; the core goes on."""
        with self._using:
            self._make = None
            self.rest()

    def rest(self) -> None:
        """Give the memory back; the next search takes it again."""
        with self._using:
            device = self._device
            self._device = self._stage = None
            self._capacity = self._task.batch
            self._buffer = np.empty(0, dtype=np.uint8)
            if device is not None:
                # One that has failed may fail in this, too.
                with suppress(CardError):
                    device.close()

    def _search(self, places: Places) -> Searched:
        images = places.images
        found, done = self._on_card(places)
        if found is not None and done.all():
            return found
        rest = self._by_core(np.where(done, -1, images))
        if found is None:
            return rest
        return Searched.joined([(found if done[i] else rest).one(i) for i in range(len(images))])

    def _on_card(self, places: Places) -> tuple[Searched | None, npt.NDArray[np.bool_]]:
        """What a card finds, and on which images; None where it is used no more."""
        none = np.zeros(len(places.images), dtype=np.bool_)
        if self._make is None:
            return None, none
        size = self._sizes(places)
        if not size.any():
            return None, none
        chunks: Chunks | None = None
        try:
            if self._device is None:
                self._device = self._make()
            chunks = self._read(places, size, self._device)
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
        stage: Stage | None = None
        at = 0
        while at < len(chunks):
            try:
                stage = self._roomy(min(self._capacity, len(chunks)), device)
                end = min(at + stage.capacity, len(chunks))
                parts.append(stage.search(chunks.part(at, end)))
            except OutOfMemoryError:
                # Nobody may hold it: its memory is what there is too little of.
                self._stage = stage = None
                if self._capacity == 1:
                    raise
                self._capacity //= 2
                _log.info("a graphics card has too little memory left: %d images at a time", self._capacity)
                continue
            at = end
        return Searched.joined([found for found, _ in parts]), np.concatenate([done for _, done in parts])

    def _roomy(self, images: int, device: Device) -> Stage:
        """Memory on the card for so many images, or for as many as there is room for."""
        if self._stage is not None and self._stage.capacity >= images:
            return self._stage
        # What is too small is given back before more is asked for.
        self._stage = None
        task = self._task
        fair = device.free_bytes() // task.bounds.share
        self._capacity = max(min(self._capacity, fair // image_bytes(task.plan, task.blocks)), 1)
        self._stage = Stage(device, task.plan, task.blocks, min(images, self._capacity))
        return self._stage

    def _sizes(self, places: Places) -> npt.NDArray[np.int64]:
        """Bytes of stored images; 0 for those that the core has to see to."""
        plan = self._task.plan
        most = 4 * plan.n_pixels * plan.dtype.itemsize + SLACK
        return np.where((places.file != NOT_STORED) & (places.size > 0) & (places.size <= most), places.size, 0)

    def _read(self, places: Places, size: npt.NDArray[np.int64], device: Device) -> Chunks:
        """The chunks of images; empty ones for those that the core has to see to."""
        run = self._task.run
        starts, end = placed(size)
        if len(self._buffer) < end:
            self._buffer = np.empty(0, dtype=np.uint8)
            # Some more than now, so that it need not grow with every batch; but no more than is allowed.
            self._buffer = device.host_room(max(end, min(end + end // 4, self._task.bounds.stored)))
        read_into(self._buffer, run, places, (starts, size), self._task.readers)
        return Chunks(self._buffer[:end], starts, size)


def is_same(a: Searched, b: Searched) -> bool:
    """Both hold the same, to the bit."""
    columns = [field.name for field in fields(Searched) if field.name != "reasons"]
    return a.reasons == b.reasons and all(getattr(a, name).tobytes() == getattr(b, name).tobytes() for name in columns)
