"""Finds the spots of images of a run, whatever their form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from hitsieve.errors import SourceError
from hitsieve.index.gpu import CardIndexing
from hitsieve.model import Run
from hitsieve.source import OpenedRun
from hitsieve.spots import Finder, Searched

BATCH = 64
"""Images handed on at a time."""
Images = npt.NDArray[np.int64]


@contextmanager
def working(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Give threads to work in; leaving waits for what they do, and drops what they have not begun."""
    pool = ThreadPoolExecutor(workers)
    try:
        yield pool
    finally:
        # Whoever leaves early waits for no answer any more; whoever leaves in time has them all.
        pool.shutdown(cancel_futures=True)


class Scanning(Protocol):
    """What is found on images, in order; close it to stop whoever searches."""

    def __iter__(self) -> Iterator[Searched]:
        """Itself."""

    def __next__(self) -> Searched:
        """What was found on the next images."""

    def close(self) -> None:
        """Stop."""


Scan = Callable[[Run, Images], Scanning]
"""Begins to search images (indices in the run; negative ones are passed over) that are stored in a form the core reads,
as `Finder.scan` does."""


class Remembered:
    """What was found on images before they come in their turn, batch by batch, as it was found."""

    def __init__(self, found: Iterable[tuple[Images, Searched]] = ()) -> None:
        self._found: list[Searched] = []
        self._images: list[Images] = []
        self._sorted: tuple[Images, Images, Images] | None = None
        for images, searched in found:
            self.add(images, searched)

    def add(self, images: Images, searched: Searched) -> None:
        """Remember what was found on some images (indices in the run)."""
        self._found.append(searched)
        self._images.append(images)
        self._sorted = None

    def knows(self, images: Images) -> npt.NDArray[np.bool_]:
        """Which of some images these are."""
        known, _, _ = self._in_order()
        if not len(known):
            return np.zeros(len(images), dtype=np.bool_)
        nearest = known[np.minimum(np.searchsorted(known, images), len(known) - 1)]
        return np.asarray(nearest == images)

    def of(self, images: Images) -> Searched:
        """What was found on images, one or more, each of which is known."""
        known, batches, rows = self._in_order()
        at = np.searchsorted(known, images)
        batch, row = batches[at], rows[at]
        order = np.argsort(batch, kind="stable")
        parts = [self._found[n].take(row[batch == n]) for n in np.unique(batch).tolist()]
        return Searched.joined(parts).take(np.argsort(order))

    def _in_order(self) -> tuple[Images, Images, Images]:
        """All images, sorted, and of each the batch and the row in it: worked out once, for all batches ask."""
        if self._sorted is None:
            none = np.zeros(0, dtype=np.int64)
            images = np.concatenate([none, *self._images])
            sizes = np.array([len(batch) for batch in self._images], dtype=np.int64)
            batches = np.repeat(np.arange(len(sizes)), sizes)
            rows = np.concatenate([none, *map(np.arange, sizes.tolist())])
            place = np.argsort(images, kind="stable")
            self._sorted = images[place], batches[place], rows[place]
        return self._sorted


@dataclass(frozen=True, slots=True)
class Searcher:
    """A run, its finder, and those who work on it."""

    opened: OpenedRun
    finder: Finder
    scan: Scan
    """Who searches stored images."""
    pool: ThreadPoolExecutor
    found: Remembered = field(default_factory=Remembered)
    """Images that were searched before: they are not searched again."""
    cards: CardIndexing | None = None
    """Who indexes batches; None: the pool."""

    @contextmanager
    def searching(self, images: Images) -> Iterator[Iterator[tuple[Images, Searched]]]:
        """Give images (indices in the run) with what was found on them, in batches, in order.

        The search starts at once, so that workers are busy while the outputs are being set up; leaving stops it.
        """
        images = np.ascontiguousarray(images, dtype=np.int64)
        asked = images.copy()
        asked[self.found.knows(images)] = -1
        if len(asked) and (asked < 0).all():
            yield self._whole(images, _nothing(len(asked)))
            return
        with closing(self.scan(self.opened.run, asked)) as scan:
            yield self._whole(images, scan)

    def find(self, image: int) -> Searched:
        """Search one image from its pixels."""
        try:
            return self.finder.find(self.opened.pixels(image))
        except SourceError as error:
            return Searched.failed(str(error))

    def _whole(self, images: Images, scan: Iterator[Searched]) -> Iterator[tuple[Images, Searched]]:
        first = 0
        for searched in scan:
            these = images[first : first + len(searched)]
            first += len(searched)
            open_ = np.array([i for i, why in searched.reasons.items() if not why], dtype=np.int64)
            yield these, self._filled(these, searched, open_) if len(open_) else searched

    def _filled(self, images: Images, searched: Searched, open_: Images) -> Searched:
        """A batch, and what is known from before, or can be learnt, of its images at the positions that are open."""
        known = self.found.knows(images[open_])
        before = [self.found.of(images[open_[known]])] if known.any() else []
        # What the core cannot read by itself is searched from its pixels.
        by_library = [i for i in open_[~known].tolist() if not self._is_lost(int(images[i]))]
        read = self.pool.map(self.find, images[by_library].tolist())
        return filled(searched, [*open_[known].tolist(), *by_library], [*before, *read])

    def _is_lost(self, image: int) -> bool:
        table = self.opened.run.images
        return image in table.missing or image in table.unreadable


def filled(searched: Searched, positions: Sequence[int], known: Sequence[Searched]) -> Searched:
    """A batch, with what is known of some of its images, by position and in this order, from elsewhere."""
    if not known:
        return searched
    order = np.arange(len(searched), dtype=np.int64)
    order[list(positions)] = len(searched) + np.arange(len(positions))
    return Searched.joined([searched, *known]).take(order)


def _nothing(n: int) -> Iterator[Searched]:
    """As of a scan that was asked for none of n images."""
    one = Searched.failed("")
    for start in range(0, n, BATCH):
        yield Searched.joined([one] * min(BATCH, n - start))
