"""A whole run, as its files of hits and misses keep it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from hitsieve.errors import SourceError, VerificationError
from hitsieve.model import DROPPED_FIELD, Closing, State
from hitsieve.write.chunks import filters_of
from hitsieve.write.metadata import entry_of
from hitsieve.write.places import open_output
from hitsieve.write.process import HITS, MISSES, RESTORE, contents_of

IN_HITS, IN_MISSES, IN_REST = range(3)
"""Where an image is: in the hit-only file, in the misses file, or in its group `rest`."""
_NEEDED = ("date", "n_images", "source_files", "source_paths", "source_image", "sha256", "verbatim")


@dataclass(frozen=True, slots=True)
class KeptFile:
    """One of the two files."""

    path: Path
    file: h5py.File
    process: h5py.Group
    data: h5py.Dataset
    images: npt.NDArray[np.int64]
    """Index in the run of each image."""
    hashes: npt.NDArray[np.bytes_]
    verbatim: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, path: Path, file: h5py.File) -> KeptFile:
        """Read what an open file says of itself.

        Raises
        ------
        SourceError
            It is no file of hits or misses of a run with `--misses keep`, or is damaged.
        """
        try:
            process = file[f"{entry_of(file)}/hit_finding"]
            data = file[f"{entry_of(file)}/data/data"]
            lacks = next((name for name in _NEEDED if name not in process), None)
            if lacks is not None:
                raise SourceError(
                    f"{path}: was not written by hitsieve run (it has no hit_finding/{lacks})",
                    mend="give the *_hits.h5 and *_misses.h5 of a run with --misses keep",
                )
            if RESTORE not in process:
                raise SourceError(
                    f"{path}: was written by an older version of hitsieve (it has no hit_finding/{RESTORE})",
                    mend="use that version, or sieve the original again",
                )
            images = process["source_image"][()].astype(np.int64)
            return cls(path, file, process, data, images, process["sha256"][()], process["verbatim"][()])
        except (KeyError, OSError, RuntimeError, AttributeError) as error:
            raise SourceError(
                f"{path}: is no file of hits or misses of hitsieve, or is damaged ({' '.join(str(error).split())})",
                mend="give the *_hits.h5 and *_misses.h5 of a run with --misses keep",
            ) from error

    @property
    def holds(self) -> str:
        """Hits, misses, or hits of one pump state."""
        return contents_of(self.process) + (" of one pump state" if "pump_state" in self.process else "")

    def texts(self, name: str) -> list[str]:
        """A column of texts of hit_finding, or of a group in it."""
        return [str(text) for text in self.process[name].asstr()[()]]

    @property
    def identity(self) -> tuple[object, ...]:
        """What is the same of all files of one run."""
        date = str(self.process["date"].asstr()[()])
        return date, int(self.process["n_images"][()]), *self.texts("source_files")


def source_names(path: Path) -> frozenset[str]:
    """Names of the files that a file of hits or misses says its images are from; without folders, as these may move.

    Raises
    ------
    SourceError
        It is no such file, or is damaged.
    """
    with open_output(path, "*_hits.h5 or *_misses.h5") as file:
        part = KeptFile.of(path, file)
        named = [*part.texts("source_files"), *part.texts("source_paths")]
    return frozenset(Path(name).name for name in named)


class KeptRun(Closing):
    """Opens the files of hits and misses of a run; use it in a `with` statement. Its length is that of the run.

    Parameters
    ----------
    hits, misses : Path
        The files; in either order.

    Raises
    ------
    SourceError
        They are not those of one run, or do not hold each of its images once.
    """

    def __init__(self, hits: Path, misses: Path) -> None:
        with ExitStack() as undo:
            kind = "*_hits.h5 or *_misses.h5"
            files = [KeptFile.of(path, undo.enter_context(open_output(path, kind))) for path in (hits, misses)]
            if [file.holds for file in files] == [MISSES, HITS]:
                files.reverse()
            self.hits, self.misses = files
            self._check_kinds()
            self._check_nothing_dropped()
            self._rest: Mapping[str, Any] = self._read_rest()
            self.where, self.row = self._places()
            self._files = undo.pop_all()

    def __len__(self) -> int:
        return len(self.where)

    @property
    def parts(self) -> tuple[KeptFile, KeptFile]:
        """The files, in the order of IN_HITS and IN_MISSES."""
        return self.hits, self.misses

    def _check_kinds(self) -> None:
        for file, wanted in zip(self.parts, (HITS, MISSES), strict=True):
            if file.holds != wanted:
                raise SourceError(
                    f"{file.path}: holds {file.holds}, not {wanted}",
                    mend="give the hit-only file of all hits and the misses file of the same run",
                )
        if self.hits.identity != self.misses.identity:
            raise SourceError(
                f"{self.misses.path}: is not of the same run as {self.hits.path}: they were written "
                f"{self.misses.identity[0]} and {self.hits.identity[0]}",
                mend="give the two files that one call of hitsieve run wrote",
            )
        same = self.hits.data.dtype == self.misses.data.dtype and self.hits.data.shape[1:] == self.misses.data.shape[1:]
        if not same or filters_of(self.hits.data) != filters_of(self.misses.data):
            raise SourceError(
                f"{self.misses.path}: its images are packed otherwise than those of {self.hits.path}",
                mend="give the files as hitsieve run wrote them",
            )

    def _check_nothing_dropped(self) -> None:
        specific = f"{entry_of(self.hits.file)}/instrument/detector/detectorSpecific/{DROPPED_FIELD}"
        rule = self.hits.process.get("veto", self.hits.file.get(specific))
        if isinstance(rule, h5py.Dataset):
            raise VerificationError(
                f"{self.hits.path}: images of this series were dropped before they were written, and no files hold "
                f"them: {' '.join(str(rule.asstr()[()]).split())}",
                mend="the series cannot be given back; keep what there is",
            )

    def _read_rest(self) -> dict[str, Any]:
        names = ("source_image", "state", "sha256", "is_chunk", "offsets")
        try:
            group = self.misses.process["rest"]
            return {name: group[name][()] for name in names} | {"bytes": group["bytes"]}
        except (KeyError, OSError, RuntimeError) as error:
            raise SourceError(
                f"{self.misses.path}: its list of images that are neither hits nor misses cannot be read",
                mend="copy the file again",
            ) from error

    def _places(self) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int64]]:
        """Where each image of the run is, and in which row."""
        n = int(self.hits.process["n_images"][()])
        where, row = np.full(n, -1, dtype=np.int8), np.full(n, -1, dtype=np.int64)
        lists = (self.hits.images, self.misses.images, self._rest["source_image"])
        every = np.concatenate(lists)
        lost = np.setdiff1d(np.arange(n), every)
        if len(every) != n or len(lost) or len(every) != len(np.unique(every)):
            said = f"; image {lost[0]} is in neither" if len(lost) else ""
            raise SourceError(
                f"{self.hits.path} and {self.misses.path}: hold {len(np.unique(every))} of the {n} images of the run"
                f"{said}",
                mend="give the files as hitsieve run wrote them",
            )
        for place, images in enumerate(lists):
            where[images], row[images] = place, np.arange(len(images))
        for file in self.parts:
            known = {len(file.images), len(file.hashes), len(file.verbatim)}
            if known != {len(file.data)}:
                what = f"{file.path}: {len(file.data)} images stored, {len(file.hashes)} hashes"
                raise VerificationError(what, mend="copy the file again")
        return where, row

    @cached_property
    def missing(self) -> npt.NDArray[np.int64]:
        """Images that the run announces but did not have."""
        images = self._rest["source_image"][self._rest["state"] == State.MISSING]
        return np.asarray(images, dtype=np.int64)

    @cached_property
    def unreadable(self) -> npt.NDArray[np.int64]:
        """Images that could not be decoded."""
        images = self._rest["source_image"][self._rest["state"] == State.UNREADABLE]
        return np.asarray(images, dtype=np.int64)

    def stored(self, image: int) -> tuple[bytes, bytes] | None:
        """Stored chunk of an image and its SHA-256 as recorded; None where no chunk of it is kept.

        Raises
        ------
        VerificationError
            It cannot be read.
        """
        row = int(self.row[image])
        try:
            if self.where[image] == IN_REST:
                if not self._rest["is_chunk"][row]:
                    return None
                return self.salvaged(image)
            file = self.parts[self.where[image]]
            return bytes(file.data.id.read_direct_chunk((row, 0, 0))[1]), bytes(file.hashes[row])
        except (OSError, RuntimeError, ValueError) as error:
            raise self.damaged(image, "its stored chunk cannot be read") from error

    def salvaged(self, image: int) -> tuple[bytes, bytes]:
        """Bytes that are kept of an image that cannot be decoded, and their SHA-256 as recorded; both may be empty.

        Raises
        ------
        VerificationError
            They cannot be read.
        """
        row = int(self.row[image])
        try:
            start, end = self._rest["offsets"][row : row + 2]
            return self._rest["bytes"][start:end].tobytes(), bytes(self._rest["sha256"][row])
        except (OSError, RuntimeError, ValueError) as error:
            raise self.damaged(image, "its stored bytes cannot be read") from error

    def pixels(self, image: int) -> npt.NDArray[Any]:
        """Pixels of a hit or a miss.

        Raises
        ------
        VerificationError
            They cannot be decoded.
        """
        row = int(self.row[image])
        try:
            return np.asarray(self.parts[self.where[image]].data[row])
        except (OSError, RuntimeError, ValueError) as error:
            raise self.damaged(image, "it cannot be decoded") from error

    def damaged(self, image: int, why: str) -> VerificationError:
        """The error that says so of an image."""
        file = self.parts[min(int(self.where[image]), IN_MISSES)]
        return VerificationError(
            f"{file.path}: image {image} of the run (row {self.row[image]}) is damaged: {why}",
            mend="copy the file again from a backup; hitsieve verify names all images that are damaged",
        )

    def is_missing(self, image: int) -> bool:
        """Whether the run announces an image and did not have it."""
        return self.where[image] == IN_REST and bool(self._rest["state"][self.row[image]] == State.MISSING)

    def is_verbatim(self, image: int) -> bool:
        """Whether the chunk of an image is the source's, byte by byte."""
        if self.where[image] == IN_REST:
            return True
        return bool(self.parts[self.where[image]].verbatim[self.row[image]])

    def close(self) -> None:
        """Close the files."""
        self._files.close()
