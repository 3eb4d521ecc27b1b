"""Virtual datasets over the original files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from hitsieve.model.named import shown_name


@dataclass(frozen=True, slots=True)
class SourceArray:
    """A dataset that a virtual dataset shows."""

    path: Path
    dataset: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Mosaic:
    """An array whose i-th row is row[i] of sources[file[i]]."""

    sources: Sequence[SourceArray | None]
    file: npt.NDArray[np.int32]
    row: npt.NDArray[np.int64]
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    """Of one row."""


def absent_value(dtype: np.dtype[Any]) -> Any:
    """Give what stands for an absent row: NaN, the largest unsigned or smallest signed number, or None."""
    if h5py.check_enum_dtype(dtype) is not None:
        return None
    if dtype.kind == "f":
        return np.nan
    if dtype.kind == "u":
        return np.iinfo(dtype).max
    if dtype.kind == "i":
        return np.iinfo(dtype).min
    return None


def link_name(path: Path, folder: Path) -> str:
    """Name `path` as a file of `folder` does: relative where both share more than the root, so that they can move."""
    here, there = folder.resolve(), path.resolve()
    if os.path.commonpath([here, there]) == os.path.sep:
        return str(there)
    return os.path.relpath(there, here)


def virtual_dataset(output: h5py.File, target: str, mosaic: Mosaic, folder: Path) -> h5py.Dataset:
    """Make the virtual dataset of a mosaic, its files named relative to `folder`.

    Rows that lie regularly (in blocks, or one of every k) become one mapping each. Sources that are None, and negative
    rows, are left to the fill value.
    """
    file, row, dtype, shape = mosaic.file, mosaic.row, mosaic.dtype, mosaic.shape
    layout = h5py.VirtualLayout(shape=(len(row), *shape), dtype=dtype)
    for number, source in enumerate(mosaic.sources):
        if source is None:
            continue
        places = np.flatnonzero((file == number) & (row >= 0) & (row < source.shape[0]))
        name = shown_name(link_name(source.path, folder))
        array = h5py.VirtualSource(name, source.dataset, shape=source.shape, dtype=dtype)
        for start, stop in _progressions(places, row[places]):
            at, rows = places[start:stop], row[places[start:stop]]
            layout[_span(at)] = array[_span(rows)] if len(source.shape) == len(shape) + 1 else array
    return output.create_virtual_dataset(target, layout, fillvalue=absent_value(dtype))


def _span(numbers: npt.NDArray[np.int64]) -> slice:
    step = int(numbers[1] - numbers[0]) if len(numbers) > 1 else 1
    return slice(int(numbers[0]), int(numbers[-1]) + 1, step)


def _progressions(places: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """Longest stretches in which both advance by constant steps, the rows forward."""
    if len(places) == 0:
        return []
    steps = np.stack([np.diff(places), np.diff(rows)], axis=1)
    changes = np.flatnonzero(np.any(steps[1:] != steps[:-1], axis=1)) + 2
    backward = np.flatnonzero(steps[:, 1] <= 0) + 1
    bounds = sorted({*changes.tolist(), *backward.tolist()})
    stretches = []
    start = 0
    for bound in [*bounds, len(places)]:
        # After a change the next stretch may have begun one place earlier; a stretch of one is always right.
        if bound > start:
            stretches.append((start, bound))
            start = bound
    return stretches
