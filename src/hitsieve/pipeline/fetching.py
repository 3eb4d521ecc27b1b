"""Images of an opened run, as they are handed on to be written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from hitsieve.source import OpenedRun

Image = bytes | npt.NDArray[np.generic]


class FetchedImages(Mapping[int, Image]):
    """Images of a run as stored bytes, or as pixels where they have none.

    They are read when they are asked for: a batch of hits need not fit in memory.
    """

    def __init__(self, opened: OpenedRun, images: npt.NDArray[np.int64]) -> None:
        self._opened = opened
        self._images = [int(image) for image in images]
        self._wanted = frozenset(self._images)

    def __getitem__(self, image: int) -> Image:
        if image not in self._wanted:
            raise KeyError(image)
        return self._opened.stored(image) if self._opened.run.images.offset[image] >= 0 else self._opened.pixels(image)

    def __iter__(self) -> Iterator[int]:
        return iter(self._images)

    def __len__(self) -> int:
        return len(self._images)
