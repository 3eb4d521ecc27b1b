"""Images that a run's files of hits and misses hold, as the measure of those that are fetched from the source again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from hitsieve.errors import SourceError
from hitsieve.filters import register_filters
from hitsieve.model import Closing
from hitsieve.write.metadata import entry_of
from hitsieve.write.places import open_output

register_filters()

Pixels = npt.NDArray[Any]


class KeptImages(Closing):
    """Hits and audit sample of a run, and its misses where they were kept; use in a `with` statement.

    Parameters
    ----------
    hits : Path
        Hit-only file of all hits. Where it is absent, nothing of it is held.
    misses : Path, optional
        Misses file.
    """

    def __init__(self, hits: Path, misses: Path | None = None) -> None:
        self._from: dict[int, Path] = {}
        self._hashes: dict[int, bytes] = {}
        self._packed: dict[int, tuple[h5py.Dataset, int]] = {}
        """Of the images that were packed anew: dataset and row."""
        with ExitStack() as undo:
            for path in (hits, misses):
                if path is not None and path.is_file():
                    self._open(path, undo)
            self._files = undo.pop_all()

    def _open(self, path: Path, undo: ExitStack) -> None:
        file = undo.enter_context(open_output(path, "*_hits.h5"))
        try:
            entry = file[entry_of(file)]
            process = entry["hit_finding"]
            self._add(path, entry["data/data"], process)
            if "audit" in process:
                self._add(path, process["audit/data"], process["audit"])
        except (OSError, RuntimeError, KeyError) as error:
            what = f"{path}: cannot be read as a file of hitsieve ({error})"
            raise SourceError(what, mend="copy it again") from error

    def path_of(self, image: int) -> Path:
        """File that holds an image which does not agree."""
        return self._from[image]

    def _add(self, path: Path, data: h5py.Dataset, provenance: h5py.Group) -> None:
        images, hashes = provenance["source_image"][()].tolist(), provenance["sha256"][()].tolist()
        for row, (image, verbatim) in enumerate(zip(images, provenance["verbatim"][()].tolist(), strict=True)):
            self._from[image] = path
            if verbatim:
                self._hashes[image] = hashes[row]
            else:
                self._packed[image] = (data, row)

    def agrees(self, image: int, fetched: bytes | Pixels, pixels: Callable[[], Pixels]) -> bool:
        """Whether an image of the source is the one held here; true where none is.

        Parameters
        ----------
        image : int
            Index in the run.
        fetched : bytes or array
            Its stored chunk, or its pixels where it has none.
        pixels : callable
            Gives the pixels; asked where the chunk does not tell, for images that were packed anew.
        """
        if image in self._hashes:
            told = isinstance(fetched, bytes) and hashlib.sha256(fetched).hexdigest().encode() == self._hashes[image]
            return bool(told)
        if image in self._packed:
            data, row = self._packed[image]
            return np.array_equal(data[row], pixels() if isinstance(fetched, bytes) else fetched)
        return True

    def close(self) -> None:
        """Close the files."""
        self._files.close()
