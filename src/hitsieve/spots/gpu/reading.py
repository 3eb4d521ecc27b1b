"""Where stored images lie, and how they come into memory from which a card takes them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from hitsieve.cards import Bytes
from hitsieve.model import Run
from hitsieve.spots.finder import NOT_STORED, stored_places

Images = npt.NDArray[np.int64]
ON_CARDS = "bslz4"
"""The stored form that the kernels unpack."""
READERS = 4
"""Threads that read for the streams of a search: even from memory one copies less than a card searches."""


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

    def batches(self, images: int, stored: int) -> Iterator[Places]:
        """Cut into parts of at most so many images, and bytes of their stored forms; one image may have more."""
        # One that is larger by itself goes alone; what is stated is not believed, and must not run over.
        size = np.where(self.file == NOT_STORED, 0, np.clip(self.size, 0, stored + 1))
        ends = np.cumsum(size)
        first = 0
        while first < len(size):
            before = int(ends[first] - size[first])
            full = int(np.searchsorted(ends, before + stored, side="right"))
            end = max(min(first + images, full), first + 1)
            yield self.part(first, end)
            first = end

    @classmethod
    def of(cls, run: Run, images: Images) -> Places:
        """Those of images of a run."""
        file, offset, size = stored_places(run, images)
        suits = np.array([each.codec == ON_CARDS for each in run.files], dtype=np.bool_)
        stored = np.flatnonzero(file != NOT_STORED)
        file[stored[~suits[file[stored]]]] = NOT_STORED
        return cls(images, file, offset, size)


def read_into(
    buffer: Bytes,
    run: Run,
    places: Places,
    space: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
    readers: ThreadPoolExecutor,
) -> None:
    """Read stored images.

    Parameters
    ----------
    buffer : uint8, shape (n,)
    run : Run
    places : Places
    space : (int64, int64), shape (n,)
        Where each image begins in the buffer, and its bytes; these become 0 for what cannot be read.
    readers : ThreadPoolExecutor
    """
    wanted = np.flatnonzero(space[1] > 0)
    parts = np.array_split(wanted, min(READERS, max(len(wanted), 1)))
    # The outcome of each is waited for: what was not foreseen is raised here.
    list(readers.map(partial(_read, buffer, run, places, space), parts))


def _read(
    buffer: Bytes,
    run: Run,
    places: Places,
    space: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
    images: npt.NDArray[np.intp],
) -> None:
    starts, size = space
    for number in np.unique(places.file[images]).tolist():
        mine = images[places.file[images] == number]
        try:
            descriptor = os.open(run.files[number].path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            size[mine] = 0
            continue
        try:
            for i in mine.tolist():
                part = buffer[int(starts[i]) : int(starts[i] + size[i])]
                size[i] = size[i] if _filled(descriptor, part, int(places.offset[i])) else 0
        finally:
            os.close(descriptor)


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
