"""Images of an opened run, as they are handed on to be written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from hitsieve.errors import SourceError
from hitsieve.model import ImageResults, State
from hitsieve.source import OpenedRun
from hitsieve.write import KeptImages, RunWriter

Image = bytes | npt.NDArray[np.generic]


class FetchedImages(Mapping[int, Image]):
    """Images of a run as stored bytes, or as pixels where they have none; of unreadable ones what bytes there are.

    They are read when they are asked for: a batch of them need not fit in memory.

    Parameters
    ----------
    opened : OpenedRun
    images : int array, shape (n,)
        Index in the run of each.
    kept : KeptImages, optional
        Those of them that an earlier run kept must be the same now; else SourceError.
    unreadable : int array, shape (m,), optional
        Those of them that cannot be decoded.
    """

    def __init__(
        self,
        opened: OpenedRun,
        images: npt.NDArray[np.int64],
        kept: KeptImages | None = None,
        unreadable: npt.NDArray[np.int64] | None = None,
    ) -> None:
        self._opened = opened
        self._kept = kept
        self._images = [int(image) for image in images]
        self._wanted = frozenset(self._images)
        self._unreadable = frozenset(() if unreadable is None else unreadable.tolist())

    @classmethod
    def of(
        cls, opened: OpenedRun, results: ImageResults, writer: RunWriter, kept: KeptImages | None = None
    ) -> FetchedImages:
        """Those of a batch that a writer wants."""
        unreadable = results.image[results.state == State.UNREADABLE]
        return cls(opened, results.image[writer.wants(results)], kept, unreadable)

    def __getitem__(self, image: int) -> Image:
        if image not in self._wanted:
            raise KeyError(image)
        if image in self._unreadable:
            return self._opened.salvaged(image)
        chunk = self._opened.chunk(image)
        found: Image = self._opened.pixels(image) if chunk is None else chunk
        if self._kept is not None and not self._kept.agrees(image, found, lambda: self._opened.pixels(image)):
            file = self._opened.run.files[int(self._opened.run.images.file[image])]
            raise SourceError(
                f"{file.path}: image {image} (row {self._opened.run.images.row[image]}) is not the one that was "
                f"searched: it differs from what {self._kept.path_of(image)} holds of it",
                mend="name the run that the results were found on with --source, or run hitsieve run again",
            )
        return found

    def __iter__(self) -> Iterator[int]:
        return iter(self._images)

    def __len__(self) -> int:
        return len(self._images)
