"""Proves a hit-only file against its own hashes and, where given, against the run that it came from."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hitsieve.errors import SourceError
from hitsieve.settings import SourceSettings
from hitsieve.source import OpenedRun, open_run
from hitsieve.write import VerifyReport, verify_hits


def verify(hits: Path, source: Path | None = None) -> VerifyReport:
    """Check every chunk of hits and audit sample.

    Parameters
    ----------
    hits : Path
        Hit-only file.
    source : Path, optional
        The run that it came from; its files may have moved, as long as their names are the same.

    Returns
    -------
    VerifyReport
        Lists each image that does not agree, with the reason; a mismatch raises nothing.

    Raises
    ------
    VerificationError
        `hits` is not a hit-only file.
    SourceError
        `source` cannot be opened.
    """
    if source is None:
        return verify_hits(hits)
    with open_run([source], SourceSettings()) as opened:
        originals = _Originals(opened)
        return verify_hits(hits, originals.stored, originals.pixels)


class _Originals:
    """Finds images of a run by file, dataset and row."""

    def __init__(self, opened: OpenedRun) -> None:
        self._opened = opened
        run = opened.run
        self._files = {(str(file.path), file.dataset): number for number, file in enumerate(run.files)}
        names = [(file.path.name, file.dataset) for file in run.files]
        times = Counter(names)
        self._names = {name: number for number, name in enumerate(names) if times[name] == 1}
        order = np.lexsort((run.images.row, run.images.file))
        self._order = order
        self._file = run.images.file[order]
        self._row = run.images.row[order]

    def stored(self, file: str, dataset: str, row: int) -> bytes | npt.NDArray[Any]:
        """Stored bytes of an image, or its pixels where it has none."""
        image = self._find(file, dataset, row)
        if self._opened.run.images.offset[image] < 0:
            return self._opened.pixels(image)
        return self._opened.stored(image)

    def pixels(self, file: str, dataset: str, row: int) -> npt.NDArray[Any]:
        """Pixels of an image."""
        return self._opened.pixels(self._find(file, dataset, row))

    def _find(self, file: str, dataset: str, row: int) -> int:
        number = self._files.get((file, dataset), self._names.get((Path(file).name, dataset)))
        image = None if number is None else self._image(number, row)
        if number is None or image is None:
            raise SourceError(
                f"{self._opened.run.path}: has no row {row} of {Path(file).name}:{dataset}",
                mend="name the master of the run that the hits came from",
            )
        return image

    def _image(self, file: int, row: int) -> int | None:
        start, stop = np.searchsorted(self._file, [file, file + 1])
        at = start + int(np.searchsorted(self._row[start:stop], row))
        if at >= stop or self._row[at] != row:
            return None
        return int(self._order[at])
