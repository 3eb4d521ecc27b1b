"""Proves a file of hits or of misses against its own hashes and, where given, against the run that it came from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hitsieve.source import OpenedRun, open_run
from hitsieve.write import VerifyReport, verify_hits


def verify(
    hits: str | Path,
    source: str | Path | Sequence[str | Path] | None = None,
    *,
    step: Callable[[], None] | None = None,
) -> VerifyReport:
    """Check every chunk of hits and audit sample, or of misses, and the bytes of unreadable images.

    Parameters
    ----------
    hits : str or Path
        Hit-only file, or misses file.
    source : str, Path, or sequence of them, optional
        The run that it came from, named as it was for `hitsieve run`: its master, or all its data files or images.
        They may have moved, as long as their names are the same.
    step : callable, optional
        Called before each image that is compared with its source; what it raises ends the comparison.

    Returns
    -------
    VerifyReport
        Lists each image that does not agree, or could not be compared, with the reason; a mismatch raises nothing.

    Raises
    ------
    VerificationError
        `hits` is neither.
    SourceError
        `hits` or `source` cannot be opened.
    """
    hits = Path(hits)
    if source is None:
        return verify_hits(hits)
    # Only the images are compared: what the files state may differ, as it may where the user set it for the run.
    with open_run(source, compare=False) as opened:
        originals = _Originals(opened, step)
        return verify_hits(hits, originals.stored, originals.pixels, originals.salvaged)


class _Originals:
    """Finds images of a run by file, dataset and row."""

    def __init__(self, opened: OpenedRun, step: Callable[[], None] | None) -> None:
        self._opened, self._step = opened, step
        run = opened.run
        self._files = {(str(file.path.resolve()), file.dataset): number for number, file in enumerate(run.files)}
        names = [(file.path.name, file.dataset) for file in run.files]
        times = Counter(names)
        self._names = {name: number for number, name in enumerate(names) if times[name] == 1}
        # An image that is lost may stand for the same row as one that is there: the latter comes first.
        lost = np.zeros(len(run), dtype=np.bool_)
        lost[[*run.images.missing, *run.images.unreadable]] = True
        order = np.lexsort((lost, run.images.row, run.images.file))
        self._order = order
        self._file = run.images.file[order]
        self._row = run.images.row[order]

    def stored(self, file: str, dataset: str, row: int) -> bytes | npt.NDArray[Any] | None:
        """Stored bytes of an image, or its pixels where it has none; None where there is no such image."""
        image = self._find(file, dataset, row)
        if image is None:
            return None
        chunk = self._opened.chunk(image)
        return self._opened.pixels(image) if chunk is None else chunk

    def salvaged(self, file: str, dataset: str, row: int) -> bytes | None:
        """Bytes of an image that cannot be decoded; None where there is no such image."""
        image = self._find(file, dataset, row)
        return None if image is None else self._opened.salvaged(image)

    def pixels(self, file: str, dataset: str, row: int) -> npt.NDArray[Any] | None:
        """Pixels of an image; None where there is no such image."""
        image = self._find(file, dataset, row)
        return None if image is None else self._opened.pixels(image)

    def _find(self, file: str, dataset: str, row: int) -> int | None:
        if self._step is not None:
            self._step()
        number = self._files.get((file, dataset), self._names.get((Path(file).name, dataset)))
        return None if number is None else self._image(number, row)

    def _image(self, file: int, row: int) -> int | None:
        start, stop = np.searchsorted(self._file, [file, file + 1])
        at = start + int(np.searchsorted(self._row[start:stop], row))
        if at >= stop or self._row[at] != row:
            return None
        return int(self._order[at])
