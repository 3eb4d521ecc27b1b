"""Finds the spots of images of a run, whatever their form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from hitsieve.errors import SourceError
from hitsieve.model import Run
from hitsieve.source import OpenedRun
from hitsieve.spots import Finder, Searched

BATCH = 64
"""Images handed on at a time."""
Images = npt.NDArray[np.int64]
Found = tuple[Searched, int]
"""What was found on an image: on which of the images of a batch."""


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


@dataclass(frozen=True, slots=True)
class Searcher:
    """A run, its finder, and those who work on it."""

    opened: OpenedRun
    finder: Finder
    scan: Scan
    """Who searches stored images."""
    pool: ThreadPoolExecutor
    found: dict[int, Found] = field(default_factory=dict)
    """What is known of images that were searched before: they are not searched again."""

    @contextmanager
    def searching(self, images: Images) -> Iterator[Iterator[tuple[Images, Searched]]]:
        """Give images (indices in the run) with what was found on them, in batches, in order.

        The search starts at once, so that workers are busy while the outputs are being set up; leaving stops it.
        """
        images = np.ascontiguousarray(images, dtype=np.int64)
        asked = images.copy()
        if self.found:
            asked[np.isin(images, np.fromiter(self.found, dtype=np.int64))] = -1
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
        table = self.opened.run.images
        first = 0
        for searched in scan:
            these = images[first : first + len(searched)]
            first += len(searched)
            open_ = [i for i, why in searched.reasons.items() if not why]
            lost = [i for i in open_ if int(these[i]) in table.missing or int(these[i]) in table.unreadable]
            known: dict[int, Found] = {i: self.found.pop(int(these[i])) for i in open_ if int(these[i]) in self.found}
            by_library = [i for i in open_ if i not in known and i not in lost]
            # What the core cannot read by itself is searched from its pixels.
            found = self.pool.map(self.find, these[by_library].tolist())
            known |= zip(by_library, ((one, 0) for one in found), strict=True)
            yield these, filled(searched, known) if known else searched


def filled(searched: Searched, known: Mapping[int, Found]) -> Searched:
    """A batch, with what is known of some of its images, by position, from elsewhere."""
    parts: list[tuple[Searched, int, int]] = []
    for i in range(len(searched)):
        batch, place = known.get(i, (searched, i))
        # What is together stays together: to cut out every image by itself takes longer than anything else here.
        if parts and parts[-1][0] is batch and parts[-1][2] == place:
            parts[-1] = (batch, parts[-1][1], place + 1)
        else:
            parts.append((batch, place, place + 1))
    return Searched.joined([batch.part(first, end) for batch, first, end in parts])


def _nothing(n: int) -> Iterator[Searched]:
    """As of a scan that was asked for none of n images."""
    one = Searched.failed("")
    for start in range(0, n, BATCH):
        yield Searched.joined([one] * min(BATCH, n - start))
