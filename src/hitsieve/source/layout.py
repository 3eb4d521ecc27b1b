"""Where the images of a run are, as columns; parts are put together without a loop over images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hitsieve.errors import SourceError
from hitsieve.model import DataFile, ImageTable, Problem

Rows = npt.NDArray[np.int64]
NO_FAULT = -1


@dataclass(frozen=True, slots=True)
class Fault:
    """Why some images cannot be searched."""

    missing: bool
    """True: the images are not there; False: they are there but cannot be read."""
    reason: str


@dataclass(frozen=True, slots=True)
class Layout:
    """Images in order: columns of length n as in ImageTable, with numbered faults in place of dictionaries."""

    shape: tuple[int, int]
    dtype: np.dtype[np.generic]
    files: tuple[DataFile, ...]
    file: npt.NDArray[np.int32]
    row: Rows
    offset: Rows
    size: Rows
    fault: npt.NDArray[np.int32]
    """Index into faults; NO_FAULT for a good image."""
    faults: tuple[Fault, ...] = ()
    problems: tuple[Problem, ...] = ()

    def __len__(self) -> int:
        return len(self.file)

    def table(self) -> ImageTable:
        """The run's image table."""
        reasons: tuple[dict[int, str], dict[int, str]] = ({}, {})
        for number, fault in enumerate(self.faults):
            where = np.flatnonzero(self.fault == number).tolist()
            reasons[fault.missing].update(dict.fromkeys(where, fault.reason))
        unreadable, missing = reasons
        return ImageTable(
            file=self.file, row=self.row, offset=self.offset, size=self.size, missing=missing, unreadable=unreadable
        )


class LayoutBuilder:
    """Fills the n places of a layout from parts."""

    def __init__(self, n: int, shape: tuple[int, int], dtype: np.dtype[np.generic]) -> None:
        self._shape, self._dtype = shape, dtype
        self._file = np.full(n, -1, dtype=np.int32)
        self._row = np.full(n, -1, dtype=np.int64)
        self._offset = np.full(n, -1, dtype=np.int64)
        self._size = np.zeros(n, dtype=np.int64)
        self._fault = np.full(n, NO_FAULT, dtype=np.int32)
        self._files: dict[DataFile, int] = {}
        self._faults: dict[Fault, int] = {}
        self._problems: dict[Problem, None] = {}

    def place(self, at: Rows, part: Layout, rows: Rows) -> None:
        """Put images `rows` of a part at places `at`."""
        numbers = np.array([self._files.setdefault(f, len(self._files)) for f in part.files] + [-1], dtype=np.int32)
        self._file[at] = numbers[part.file[rows]]
        self._row[at], self._offset[at], self._size[at] = part.row[rows], part.offset[rows], part.size[rows]
        faults = np.array([self._faults.setdefault(f, len(self._faults)) for f in part.faults] + [NO_FAULT], np.int32)
        self._fault[at] = faults[part.fault[rows]]

    def fail(self, at: Rows, fault: Fault, file: DataFile | None = None, rows: Rows | None = None) -> None:
        """State that the images at places `at`, of which `rows` of `file` would be, cannot be had."""
        self._fault[at] = self._faults.setdefault(fault, len(self._faults))
        self._offset[at], self._size[at] = -1, 0
        if file is not None:
            self._file[at] = self._files.setdefault(file, len(self._files))
        if rows is not None:
            self._row[at] = rows

    def report(self, problems: Sequence[Problem]) -> None:
        """Add problems, each once."""
        self._problems.update(dict.fromkeys(problems))

    def build(self) -> Layout:
        """The layout; places that no part filled are missing."""
        empty = np.flatnonzero((self._file < 0) & (self._fault == NO_FAULT))
        if len(empty):
            self.fail(empty, Fault(True, "no data file is mapped to it"))
        return Layout(
            self._shape,
            self._dtype,
            tuple(self._files),
            self._file,
            self._row,
            self._offset,
            self._size,
            self._fault,
            tuple(self._faults),
            tuple(self._problems),
        )


def check_alike(parts: Sequence[tuple[Path, Layout]]) -> None:
    """Raise SourceError unless all parts hold images of one shape and type."""
    first_path, first = parts[0]
    for path, part in parts[1:]:
        if part.shape != first.shape:
            raise SourceError(
                f"{path}: images are {_by(part.shape)} pixels (slow x fast), those of {first_path} are "
                f"{_by(first.shape)}",
                mend="open runs of different detectors one by one",
            )
        if part.dtype != first.dtype:
            raise SourceError(
                f"{path}: images are {part.dtype}, those of {first_path} are {first.dtype}",
                mend="open files of different types one by one",
            )


def _by(shape: tuple[int, int]) -> str:
    return " x ".join(str(n) for n in shape)


def concatenate(parts: Sequence[tuple[Path, Layout]]) -> Layout:
    """The images of all parts, in order."""
    check_alike(parts)
    builder = LayoutBuilder(sum(len(part) for _, part in parts), parts[0][1].shape, parts[0][1].dtype)
    start = 0
    for _, part in parts:
        rows = np.arange(len(part), dtype=np.int64)
        builder.place(rows + start, part, rows)
        builder.report(part.problems)
        start += len(part)
    return builder.build()
