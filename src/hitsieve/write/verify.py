"""Proves a hit-only file against its hashes and its source."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  (registers the filters that decode images)
import numpy as np
import numpy.typing as npt

from hitsieve.errors import HitsieveError, VerificationError
from hitsieve.write.metadata import entry_of

Fetch = Callable[[str, str, int], "bytes | npt.NDArray[Any]"]


@dataclass(frozen=True, slots=True)
class FailedImage:
    """An image that does not agree."""

    group: str
    """hits or audit."""
    row: int
    """Row in the hit-only file's dataset."""
    source_image: int
    """Index in the run."""
    reason: str


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was proven, and what was not."""

    path: Path
    n_hits: int
    n_audit: int
    with_source: bool
    """Images were compared with their source as well."""
    failures: tuple[FailedImage, ...]

    @property
    def ok(self) -> bool:
        """Whether every image agrees."""
        return not self.failures


def verify_hits(path: Path, fetch: Fetch | None = None, pixels: Fetch | None = None) -> VerifyReport:
    """Compare every stored chunk of hits and audit with its SHA-256, and with its source.

    Parameters
    ----------
    path : Path
        Hit-only file.
    fetch : callable, optional
        Gives the stored bytes, or the pixels, of (file, dataset, row) of the source; raises a HitsieveError where it
        cannot. Bytes must be equal where the chunk was copied verbatim, pixels otherwise.
    pixels : callable, optional
        As `fetch`, but gives pixels in any case; asked for images that were packed anew.

    Returns
    -------
    VerifyReport
        Lists each image that does not agree, with the reason.

    Raises
    ------
    VerificationError
        The file cannot be opened or is not a hit-only file.
    """
    try:
        handle = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise VerificationError(f"{path}: cannot be opened: {error}", mend="give a *_hits.h5 file") from error
    with handle:
        try:
            entry = handle[entry_of(handle)]
            process = entry["hit_finding"]
            hits = _Group("hits", entry["data/data"], process)
            audit = _Group("audit", process["audit/data"], process["audit"])
            files = [name.decode() for name in process["source_files"][()]]
            datasets = [name.decode() for name in process["source_datasets"][()]]
        except (KeyError, OSError, AttributeError) as error:
            raise VerificationError(
                f"{path}: is not a hit-only file of hitsieve: {error}", mend="give a *_hits.h5 file"
            ) from error
        sources = [*zip(files, datasets, strict=True)]
        failures = (*hits.check(sources, fetch, pixels), *audit.check(sources, fetch, pixels))
        return VerifyReport(Path(path), len(hits.hashes), len(audit.hashes), fetch is not None, failures)


class _Group:
    """The chunks of one dataset, and what is known of each."""

    def __init__(self, name: str, data: h5py.Dataset, provenance: h5py.Group) -> None:
        self._name = name
        self._data = data
        self.hashes = provenance["sha256"][()].tolist()
        self._verbatim = provenance["verbatim"][()]
        self._image = provenance["source_image"][()]
        self._file = provenance["source_file"][()]
        self._row = provenance["source_row"][()]

    def check(self, sources: list[tuple[str, str]], fetch: Fetch | None, pixels: Fetch | None) -> Iterator[FailedImage]:
        """Each image that does not agree."""
        if self._data.shape[0] != len(self.hashes):
            reason = f"{self._data.shape[0]} images stored, {len(self.hashes)} hashes"
            yield FailedImage(self._name, -1, -1, reason)
        for i in range(min(len(self.hashes), self._data.shape[0])):
            reason = self._compare(i, sources, fetch if self._verbatim[i] else pixels or fetch)
            if reason:
                yield FailedImage(self._name, i, int(self._image[i]), reason)

    def _compare(self, i: int, sources: list[tuple[str, str]], fetch: Fetch | None) -> str:
        try:
            stored = self._data.id.read_direct_chunk((i, 0, 0))[1]
        except (OSError, RuntimeError, ValueError) as error:
            return f"the chunk cannot be read: {error}"
        if hashlib.sha256(stored).hexdigest().encode("ascii") != self.hashes[i]:
            return "the stored chunk does not agree with its SHA-256"
        if fetch is None:
            return ""
        file, dataset = sources[self._file[i]]
        row = int(self._row[i])
        where = f"{file}:{dataset} row {row}"
        try:
            original = fetch(file, dataset, row)
            if isinstance(original, bytes) and self._verbatim[i]:
                same = original == stored
            elif isinstance(original, bytes):
                return f"the image was packed anew and {where} gives no pixels to compare with"
            else:
                same = np.array_equal(self._data[i], original)
        except (HitsieveError, OSError, RuntimeError) as error:
            return f"{where} cannot be read: {error}"
        return "" if same else f"differs from {where}"
