"""Images that a hit-only file holds, as the measure of those that are fetched from the source again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import numpy.typing as npt

from hitsieve.errors import SourceError
from hitsieve.filters import register_filters
from hitsieve.write.metadata import entry_of
from hitsieve.write.places import open_output

if TYPE_CHECKING:
    from typing_extensions import Self

register_filters()

Pixels = npt.NDArray[Any]


class KeptImages:
    """Hits and audit sample of a run; use in a `with` statement.

    Parameters
    ----------
    path : Path
        Hit-only file of all hits. Where it is absent, nothing is held.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._hashes: dict[int, bytes] = {}
        self._packed: dict[int, tuple[h5py.Dataset, int]] = {}
        """Of the images that were packed anew: dataset and row."""
        self._file = open_output(path, "*_hits.h5") if path.is_file() else None
        if self._file is None:
            return
        try:
            entry = self._file[entry_of(self._file)]
            process = entry["hit_finding"]
            for data, provenance in ((entry["data/data"], process), (process["audit/data"], process["audit"])):
                self._add(data, provenance)
        except (OSError, RuntimeError, KeyError) as error:
            self._file.close()
            raise SourceError(
                f"{path}: cannot be read as a hit-only file of hitsieve ({error})", mend="copy it again"
            ) from error

    def _add(self, data: h5py.Dataset, provenance: h5py.Group) -> None:
        images, hashes = provenance["source_image"][()].tolist(), provenance["sha256"][()].tolist()
        for row, (image, verbatim) in enumerate(zip(images, provenance["verbatim"][()].tolist(), strict=True)):
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
