"""Many stored images, searched by cards, delivered in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue

import numpy as np

from hitsieve.cards import Card, Device
from hitsieve.model import Run
from hitsieve.spots.finder import NOT_STORED, Finder, Searched
from hitsieve.spots.gpu.kernels import kernels_for
from hitsieve.spots.gpu.lane import Images, Lane, Places, Task
from hitsieve.spots.gpu.plan import card_plan
from hitsieve.spots.gpu.stage import block_bytes

STREAMS = 2
"""Batches under way on a card: while one is copied, the kernels of the other run."""
AHEAD = 2
"""Batches, for each stream, that may be done before they are asked for."""

TRIES = 20
"""Images, all over a run, that are asked for their block size: some may be broken, or their files away."""


class CardScanning(Iterator[Searched]):
    """A search on cards under way; close it to stop it."""

    def __init__(self, lanes: Sequence[Lane], places: Places, batch: int) -> None:
        self._lanes = list(lanes)
        self._idle: SimpleQueue[Lane] = SimpleQueue()
        for lane in lanes:
            self._idle.put(lane)
        self._pool = ThreadPoolExecutor(len(lanes))
        self._rest = iter([places.part(first, first + batch) for first in range(0, len(places.images), batch)])
        self._due: deque[Future[Searched]] = deque()
        self._fill()

    def __next__(self) -> Searched:
        if not self._due:
            self.close()
            raise StopIteration
        found = self._due.popleft().result()
        self._fill()
        return found

    def close(self) -> None:
        """Stop, and give the memory of the cards back."""
        self._rest = iter(())
        self._due.clear()
        self._pool.shutdown(cancel_futures=True)
        for lane in self._lanes:
            lane.close()

    def _fill(self) -> None:
        while len(self._due) < AHEAD * len(self._lanes):
            places = next(self._rest, None)
            if places is None:
                return
            self._due.append(self._pool.submit(self._search, places))

    def _search(self, places: Places) -> Searched:
        # There are as many threads as lanes: one is idle.
        lane = self._idle.get()
        try:
            return lane.search(places)
        finally:
            self._idle.put(lane)


def can_search(run: Run, finder: Finder) -> bool:
    """Whether cards can search images of a run: the radial test, on stored images in the form that the kernels know."""
    return finder.settings.algorithm == "radial" and _blocks(run, finder) is not None


def scan_on(
    devices: Sequence[Callable[[], Device]], run: Run, finder: Finder, images: Images, *, workers: int, batch: int
) -> CardScanning:
    """Search some images of a run as `Finder.scan` does, on devices, each for one batch at a time.

    Parameters
    ----------
    devices : sequence of callable
        Each makes a device when it is first used.
    run : Run
    finder : Finder
    images : int64, shape (n,)
        Indices in the run; negative ones are passed over.
    workers : int
        Threads of the compiled core, which searches what devices cannot.
    batch : int
        Images an item.

    Returns
    -------
    CardScanning

    Raises
    ------
    ValueError
        The run is none that cards can search.
    """
    blocks = _blocks(run, finder)
    if blocks is None:
        raise ValueError(f"{run.path}: no images that cards can search")
    plan = card_plan(finder.ground, finder.settings, finder.core.sample)
    task = Task(run, finder, plan, blocks, workers, batch)
    return CardScanning([Lane(make, task) for make in devices], Places.of(run, images), batch)


def devices_of(cards: Sequence[Card], dtype: str) -> list[Callable[[], Device]]:
    """The streams of some cards: cards take batches in turn."""
    from hitsieve.cards.cupycard import CupyCard

    kernels = kernels_for(dtype)
    return [partial(CupyCard, card.number, kernels) for _ in range(STREAMS) for card in cards]


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
