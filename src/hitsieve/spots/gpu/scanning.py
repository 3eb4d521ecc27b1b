"""Many stored images, searched by cards, delivered in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue

import numpy as np

from hitsieve.cards import Card, Device, makers
from hitsieve.model import Run
from hitsieve.spots.finder import NOT_STORED, Finder, Searched
from hitsieve.spots.gpu.kernels import kernels_for
from hitsieve.spots.gpu.lane import Bounds, Lane, Task
from hitsieve.spots.gpu.plan import card_plan
from hitsieve.spots.gpu.reading import READERS, Images, Places
from hitsieve.spots.gpu.stage import block_bytes

STREAMS = 2
"""Batches under way on a card: while one is copied, the kernels of the other run."""
AHEAD = 2
"""Batches, for each stream, that may be done before they are asked for."""

TRIES = 20
"""Images, all over a run, that are asked for their block size: some may be broken, or their files away."""


class CardScanning(Iterator[Searched]):
    """A search on cards under way; close it to stop it."""

    def __init__(self, streams: Streams, batches: Iterator[Places], batch: int, *, ends: bool) -> None:
        self._streams = streams
        self._batch = batch
        self._ends = ends
        self._pool = ThreadPoolExecutor(len(streams))
        self._rest = batches
        self._due: deque[Future[Searched]] = deque()
        self._parts: deque[Searched] = deque()
        self._fill()

    def __next__(self) -> Searched:
        while not self._parts:
            if not self._due:
                self.close()
                raise StopIteration
            found = self._due.popleft().result()
            self._fill()
            n = len(found)
            self._parts.extend(found.part(i, min(i + self._batch, n)) for i in range(0, n, self._batch))
        return self._parts.popleft()

    def close(self) -> None:
        """Stop, and give the memory of the cards back, unless the streams go on to other searches."""
        self._rest = iter(())
        self._due.clear()
        self._parts.clear()
        self._pool.shutdown(cancel_futures=True)
        if self._ends:
            self._streams.close()

    def _fill(self) -> None:
        while len(self._due) < AHEAD * len(self._streams):
            places = next(self._rest, None)
            if places is None:
                return
            self._due.append(self._pool.submit(self._streams.search, places))


class Streams:
    """Streams of cards for one run, which several searches may share.

    Parameters
    ----------
    devices : sequence of callable
        Each makes a device when it is first used.
    run : Run
    finder : Finder
    workers : int
        Threads of the compiled core, which searches what devices cannot.
    bounds : Bounds, optional
        How much each has in hand.

    Raises
    ------
    ValueError
        The run is none that cards can search.
    """

    def __init__(
        self,
        devices: Sequence[Callable[[], Device]],
        run: Run,
        finder: Finder,
        *,
        workers: int,
        bounds: Bounds | None = None,
    ) -> None:
        blocks = _blocks(run, finder)
        if blocks is None:
            raise ValueError(f"{run.path}: no images that cards can search")
        plan = card_plan(finder.ground, finder.settings, finder.core.sample)
        self._readers = ThreadPoolExecutor(READERS, "read")
        self._task = Task(run, finder, plan, blocks, workers, bounds or Bounds(), self._readers)
        self._lanes = [Lane(make, self._task) for make in devices]
        self._idle: SimpleQueue[Lane] = SimpleQueue()
        for lane in self._lanes:
            self._idle.put(lane)

    def __len__(self) -> int:
        return len(self._lanes)

    @property
    def failures(self) -> tuple[str, ...]:
        """Why cards are used no more."""
        return tuple(sorted(self._task.told))

    def scan(self, images: Images, batch: int, *, ends: bool = False) -> CardScanning:
        """Search some images (indices; negative ones are passed over), at most `batch` an item, in order.

        With `ends` the streams close with the search.
        """
        task = self._task
        # Enough batches that all are busy: the last ones are not to wait for one.
        each = max(-(-len(images) // (AHEAD * len(self._lanes))), batch)
        batches = Places.of(task.run, images).batches(min(each, task.batch), task.bounds.stored)
        return CardScanning(self, batches, batch, ends=ends)

    def search(self, places: Places) -> Searched:
        """Have the next idle stream search a batch."""
        lane = self._idle.get()
        try:
            return lane.search(places)
        finally:
            self._idle.put(lane)

    def rest(self) -> None:
        """Give the memory of the cards back, once it is idle; the next search takes it again."""
        for lane in self._lanes:
            lane.rest()

    def close(self) -> None:
        """Use the cards no more; what is still searched is searched by the core."""
        for lane in self._lanes:
            lane.close()
        self._readers.shutdown()


def can_search(run: Run, finder: Finder) -> bool:
    """Whether cards can search images of a run: the radial test, on stored images in the form that the kernels know."""
    return finder.settings.algorithm == "radial" and _blocks(run, finder) is not None


def devices_of(cards: Sequence[Card], dtype: str) -> list[Callable[[], Device]]:
    """The streams of some cards: cards take batches in turn.

    Raises
    ------
    Exception
        CuPy cannot be imported.
    CardError
        It cannot compile.
    """
    each = makers(cards, kernels_for(dtype))
    return [make for _ in range(STREAMS) for make in each]


def _blocks(run: Run, finder: Finder) -> int | None:
    """Block size of images in the form that the kernels know, as the first sound one of some states it."""
    places = Places.of(run, np.arange(len(run), dtype=np.int64))
    stored = np.flatnonzero(places.file != NOT_STORED)
    spread = np.linspace(0, len(stored) - 1, min(TRIES, len(stored)), dtype=np.int64)
    some = (_stated(run, finder, places.part(i, i + 1)) for i in stored[spread].tolist())
    return next((blocks for blocks in some if blocks is not None), None)


def _stated(run: Run, finder: Finder, place: Places) -> int | None:
    """Block size that one image states; None where it is broken or away, or the kernels cannot work with it."""
    try:
        descriptor = os.open(run.files[int(place.file[0])].path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            header = os.pread(descriptor, min(int(place.size[0]), 12), int(place.offset[0]))
        finally:
            os.close(descriptor)
    except OSError:
        return None
    pixel = np.dtype(finder.ground.dtype).itemsize
    if int.from_bytes(header[:8], "big") != finder.ground.valid.size * pixel:
        return None
    return block_bytes(header, pixel)
