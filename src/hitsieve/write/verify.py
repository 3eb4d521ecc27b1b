"""Proves a file of hits or of misses against its hashes and its source."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import numpy.typing as npt

from hitsieve.errors import HitsieveError, VerificationError
from hitsieve.filters import register_filters
from hitsieve.write.metadata import entry_of
from hitsieve.write.places import open_output
from hitsieve.write.process import MISSES, SUBSET, contents_of

register_filters()

Fetch = Callable[[str, str, int], "bytes | npt.NDArray[Any] | None"]
Finding = Literal["damaged", "differs", "absent", "unreadable"]
"""Damaged: the stored image contradicts its own hash. Differs: it contradicts the source. Absent: the source has no
such image. Unreadable: the source has it, and it cannot be read."""
_DAMAGED: tuple[Finding, ...] = ("damaged", "differs")


@dataclass(frozen=True, slots=True)
class FailedImage:
    """An image that does not agree, or that could not be compared."""

    group: str
    """hits, audit, misses or unreadable."""
    row: int
    """Row in the file's dataset."""
    source_image: int
    """Index in the run."""
    reason: str
    finding: Finding = "damaged"

    @property
    def compared(self) -> bool:
        """Whether the image was compared, and does not agree; else nothing is known against it."""
        return self.finding in _DAMAGED


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was proven, and what was not."""

    path: Path
    n_hits: int
    n_audit: int
    with_source: bool
    """Images were compared with their source as well."""
    failures: tuple[FailedImage, ...]
    n_misses: int = 0
    n_unreadable: int = 0
    """Unreadable images whose bytes the file holds."""
    of_misses: bool = False
    """The file is one of misses."""

    @property
    def n(self) -> int:
        """Images of the file."""
        return self.n_hits + self.n_audit + self.n_misses + self.n_unreadable

    @property
    def ok(self) -> bool:
        """Whether every image agrees."""
        return not self.failures

    @property
    def another_run(self) -> bool:
        """Whether images were compared with a source and not one of several is in it as it was."""
        whole = self.n - sum(f.finding == "damaged" for f in self.failures)
        strange = [f.finding for f in self.failures if f.finding in ("differs", "absent")]
        return self.with_source and whole > 0 and len(strange) == whole and (whole > 1 or strange == ["absent"])


def verify_hits(
    path: Path, fetch: Fetch | None = None, pixels: Fetch | None = None, salvaged: Fetch | None = None
) -> VerifyReport:
    """Compare every stored chunk of a file of hits or of misses with its SHA-256, and with its source.

    Parameters
    ----------
    path : Path
        Hit-only file, with the audit sample; or misses file, with the bytes of unreadable images.
    fetch : callable, optional
        Gives the stored bytes, or the pixels, of (file, dataset, row) of the source; None where it has no such image.
        Raises a HitsieveError where it cannot be read. Bytes must be equal where the chunk was copied verbatim, pixels
        otherwise.
    pixels : callable, optional
        As `fetch`, but gives pixels in any case; asked for images that were packed anew.
    salvaged : callable, optional
        As `fetch`, but gives the bytes of images that cannot be decoded; empty where there are none.

    Returns
    -------
    VerifyReport
        Lists each image that does not agree, with the reason.

    Raises
    ------
    SourceError
        The file is absent or cannot be read.
    VerificationError
        It is neither.
    """
    with open_output(path, "*_hits.h5 or *_misses.h5") as handle:
        try:
            entry = handle[entry_of(handle)]
            process = entry["hit_finding"]
            of_misses = contents_of(process) == MISSES
            groups: list[_Group | _Rest] = [_Group("misses" if of_misses else "hits", entry["data/data"], process)]
            if of_misses:
                groups.append(_Rest(process["rest"]))
            elif "pump_state" not in process and contents_of(process) != SUBSET:
                # Parts of the hits, as those of pump states, have no sample: the file of all hits has it.
                groups.append(_Group("audit", process["audit/data"], process["audit"]))
            files = [name.decode() for name in process["source_files"][()]]
            datasets = [name.decode() for name in process["source_datasets"][()]]
        except (KeyError, OSError, AttributeError) as error:
            raise VerificationError(
                f"{path}: is not a hit-only file or misses file of hitsieve ({_plain(error)})",
                mend="give a *_hits.h5 or *_misses.h5 file",
            ) from error
        sources = [*zip(files, datasets, strict=True)]
        fetches = None if fetch is None else Fetches(fetch, pixels or fetch, salvaged or fetch)
        failures = tuple(found for group in groups for found in group.check(sources, fetches))
        counts = {"n_hits": 0, "n_audit": 0} | {f"n_{group.name}": len(group) for group in groups}
        return VerifyReport(
            path=Path(path), with_source=fetch is not None, failures=failures, of_misses=of_misses, **counts
        )


@dataclass(frozen=True, slots=True)
class Fetches:
    """What gives images of the source."""

    stored: Fetch
    pixels: Fetch
    salvaged: Fetch


def _plain(error: Exception) -> str:
    """What is absent, without HDF5's wording."""
    return "it lacks what hitsieve writes" if isinstance(error, KeyError) else "its records cannot be read"


class _Group:
    """The chunks of one dataset, and what is known of each."""

    def __init__(self, name: str, data: h5py.Dataset, provenance: h5py.Group) -> None:
        self.name = name
        self._data = data
        self._hashes = provenance["sha256"][()]
        self._verbatim = provenance["verbatim"][()]
        self._image = provenance["source_image"][()]
        self._file = provenance["source_file"][()]
        self._row = provenance["source_row"][()]

    def __len__(self) -> int:
        return len(self._hashes)

    def check(self, sources: list[tuple[str, str]], fetches: Fetches | None) -> Iterator[FailedImage]:
        """Each image that does not agree."""
        if self._data.shape[0] != len(self):
            yield FailedImage(self.name, -1, -1, f"{self._data.shape[0]} images stored, {len(self)} hashes")
        for i in range(min(len(self), self._data.shape[0])):
            fetch = None if fetches is None else fetches.stored if self._verbatim[i] else fetches.pixels
            finding, reason = self._compare(i, sources, fetch)
            if reason:
                yield FailedImage(self.name, i, int(self._image[i]), reason, finding)

    def _compare(self, i: int, sources: list[tuple[str, str]], fetch: Fetch | None) -> tuple[Finding, str]:
        try:
            stored = self._data.id.read_direct_chunk((i, 0, 0))[1]
        except (OSError, RuntimeError, ValueError):
            return "damaged", "the stored chunk cannot be read"
        if hashlib.sha256(stored).hexdigest().encode("ascii") != self._hashes[i]:
            return "damaged", "the stored chunk does not agree with its SHA-256"
        if fetch is None:
            return "differs", ""
        return self._against(i, stored, sources[self._file[i]], fetch)

    def _against(self, i: int, stored: bytes, source: tuple[str, str], fetch: Fetch) -> tuple[Finding, str]:
        """Compare an image with its source."""
        file, dataset = source
        row = int(self._row[i])
        where = f"{file}:{dataset} row {row}" if dataset else f"{file} frame {row}"
        try:
            original = fetch(file, dataset, row)
            if original is None:
                return "absent", f"could not be compared: the source has no such image ({where})"
            same = original == stored if isinstance(original, bytes) else np.array_equal(self._data[i], original)
        except HitsieveError as error:
            return "unreadable", f"could not be compared: {error.what}"
        except (OSError, RuntimeError):
            return "unreadable", f"could not be compared: {where} cannot be read"
        if isinstance(original, bytes) and not self._verbatim[i]:
            return "unreadable", f"the image was packed anew and {where} gives no pixels to compare with"
        return "differs", "" if same else f"differs from {where}"


class _Rest:
    """The bytes of unreadable images, and what is known of each."""

    name = "unreadable"

    def __init__(self, group: h5py.Group) -> None:
        self._bytes = group["bytes"]
        self._ends = group["offsets"][()]
        self._columns = {name: group[name][()] for name in ("sha256", "source_image", "source_file", "source_row")}
        self._held = np.flatnonzero(np.diff(self._ends))

    def __len__(self) -> int:
        return len(self._held)

    def check(self, sources: list[tuple[str, str]], fetches: Fetches | None) -> Iterator[FailedImage]:
        """Each image that does not agree."""
        for i in self._held.tolist():
            finding, reason = self._compare(i, sources, fetches)
            if reason:
                yield FailedImage(self.name, i, int(self._columns["source_image"][i]), reason, finding)

    def _compare(self, i: int, sources: list[tuple[str, str]], fetches: Fetches | None) -> tuple[Finding, str]:
        try:
            stored = self._bytes[self._ends[i] : self._ends[i + 1]].tobytes()
        except (OSError, RuntimeError, ValueError):
            return "damaged", "the stored bytes cannot be read"
        if hashlib.sha256(stored).hexdigest().encode("ascii") != self._columns["sha256"][i]:
            return "damaged", "the stored bytes do not agree with their SHA-256"
        if fetches is None:
            return "differs", ""
        file, dataset = sources[self._columns["source_file"][i]]
        row = int(self._columns["source_row"][i])
        original = fetches.salvaged(file, dataset, row)
        if original is None:
            return "absent", f"could not be compared: the source has no such image ({file}:{dataset} row {row})"
        return "differs", "" if original == stored else f"differs from {file}:{dataset} row {row}"
