"""An image in several sizes, as a browser draws it: few numbers for the whole, all of them for a part."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from threading import BoundedSemaphore, Lock
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from hitsieve.errors import SourceError

TILE = 512
"""Side of a tile in cells."""
OVERVIEW = 1_600_000
"""Most cells of the level that is shown of the whole image."""
MOST_BYTES = 128 << 20
"""Of unpacked images that are kept for the next question."""
AT_ONCE = 2
"""Images that are unpacked at a time."""
_INT32 = np.iinfo(np.int32)

Cells = npt.NDArray[Any]
"""uint16 or int32."""


@dataclass(frozen=True, slots=True)
class Pyramid:
    """One image and its smaller versions, each half as wide and as high as the one before.

    A cell of a smaller version holds the largest count of the used pixels it stands for: an average would wash spots
    of two pixels out. The cells are uint16 (count + 1; 0: no data) where all counts fit, else int32 (the count; the
    lowest number: no data).
    """

    pixels: npt.NDArray[np.generic]
    """Counts as stored, shape (slow, fast)."""
    used: npt.NDArray[np.bool_]
    """Pixels that the search uses, of the same shape."""
    smaller: tuple[Cells, ...]
    """Levels 1, 2, ...; the last has at most OVERVIEW cells."""
    wide: bool
    """Cells are int32."""

    @classmethod
    def of(cls, pixels: npt.NDArray[np.generic], used: npt.NDArray[np.bool_]) -> Pyramid:
        """Make all levels of an image."""
        counts = pixels.astype(np.int64) if pixels.dtype == np.uint32 else pixels
        low, high = int(counts.min(initial=0, where=used)), int(counts.max(initial=0, where=used))
        wide = low < 0 or high > 65534
        cells, smaller = _encoded(pixels, used, wide=wide), []
        while cells.size > OVERVIEW:
            cells = _halved(cells)
            smaller.append(cells)
        return cls(pixels, used, tuple(smaller), wide)

    @property
    def levels(self) -> int:
        """How many there are; level 0 is the image itself."""
        return 1 + len(self.smaller)

    @property
    def n_bytes(self) -> int:
        """Memory it takes."""
        return self.pixels.nbytes + self.used.nbytes + sum(level.nbytes for level in self.smaller)

    @property
    def no_data(self) -> int:
        """Cell without data."""
        return int(_INT32.min) if self.wide else 0

    @property
    def offset(self) -> int:
        """What a cell is above its count."""
        return 0 if self.wide else 1

    def overview(self) -> Cells:
        """The whole image on the last level."""
        return self.smaller[-1] if self.smaller else _encoded(self.pixels, self.used, wide=self.wide)

    def has(self, level: int, column: int, row: int) -> bool:
        """Whether there is such a tile."""
        if not 0 <= level < self.levels or column < 0 or row < 0:
            return False
        slow, fast = (self.used if level == 0 else self.smaller[level - 1]).shape
        return bool(row * TILE < slow and column * TILE < fast)

    def tile(self, level: int, column: int, row: int) -> Cells:
        """A part of a level: at most TILE cells a side, fewer at the edges.

        Raises
        ------
        SourceError
            There is no such tile.
        """
        if not self.has(level, column, row):
            raise SourceError(f"the image has no tile {column}, {row} on level {level}, only {self.levels} levels")
        here = np.s_[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
        if level == 0:
            return _encoded(self.pixels[here], self.used[here], wide=self.wide)
        return self.smaller[level - 1][here]

    def contrast(self) -> tuple[float, float]:
        """Counts to draw as white and as black, so that what is strong stands out of the background."""
        cells = self.overview()
        some = cells.ravel()[:: max(cells.size // 100_000, 1)]
        known = some[some != self.no_data]
        if not len(known):
            return 0.0, 4.0
        low, high = (float(value) - self.offset for value in np.percentile(known, [25, 99.7]))
        return low, max(high, low + 4.0)


def _encoded(pixels: npt.NDArray[np.generic], used: npt.NDArray[np.bool_], *, wide: bool) -> Cells:
    if not wide:
        # One more does not overflow: the largest count is 65534; what wraps around is not used.
        cells = pixels.astype(np.uint16)
        cells += 1
        cells *= used
        return cells
    if pixels.dtype == np.uint32:
        pixels = np.minimum(pixels, np.uint32(_INT32.max))
    return np.where(used, pixels.astype(np.int32), np.int32(_INT32.min))


def _halved(cells: Cells) -> Cells:
    """The largest of each 2 x 2 cells; no data is the lowest of all numbers."""
    odd = (cells.shape[0] % 2, cells.shape[1] % 2)
    if any(odd):
        cells = np.pad(cells, ((0, odd[0]), (0, odd[1])), mode="edge")
    # Rows first: they lie together in memory.
    rows = np.maximum(cells[0::2], cells[1::2])
    return np.maximum(rows[:, 0::2], rows[:, 1::2])


class Sized(Protocol):
    """What takes memory."""

    @property
    def n_bytes(self) -> int:
        """How much."""


T = TypeVar("T", bound=Sized)
U = TypeVar("U")


class Recent(Generic[T]):
    """What was asked for last, within bounds of memory and of things made at a time."""

    def __init__(self, most_bytes: int = MOST_BYTES, at_once: int = AT_ONCE) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = Lock()
        self._turn = BoundedSemaphore(at_once)

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """What is kept under a key, or is made now; `make` waits for its turn."""
        found = self._find(key)
        return self.use(key, make, lambda made: made) if found is None else found

    def use(self, key: Hashable, make: Callable[[], T], what: Callable[[T], U]) -> U:
        """Do something large with what is kept under a key, or is made now, when it has its turn.

        Who waits holds nothing meanwhile.
        """
        with self._turn:
            # Another may have made it while this one waited.
            found = self._find(key)
            if found is None:
                found = make()
                self._keep(key, found)
            return what(found)

    def _find(self, key: Hashable) -> T | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def _keep(self, key: Hashable, made: T) -> None:
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > 1 and self.n_bytes > self._most_bytes:
                self._kept.popitem(last=False)

    @property
    def n_bytes(self) -> int:
        """Memory that all of it takes."""
        return sum(kept.n_bytes for kept in self._kept.values())
