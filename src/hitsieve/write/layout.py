"""Whether the columns of an annotated master have the lengths and types that they were written with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import h5py
import numpy as np

from hitsieve.write.columns import IMAGE_COLUMNS, PUMP_COLUMN, SECOND_LOOK_COLUMN, SPOT_COLUMNS, Column
from hitsieve.write.lattices import LATTICE_COLUMNS, OFFSETS

_OF_IMAGES = (
    *IMAGE_COLUMNS,
    PUMP_COLUMN,
    SECOND_LOOK_COLUMN,
    Column("source_file", "i4", ""),
    Column("source_row", "i8", ""),
)
_TEXTS = ("source_files", "source_datasets", "pump_names")


def faults_of(process: h5py.Group, n_images: int) -> Iterator[str]:
    """What is wrong with the columns of a group `hit_finding`, in words; of those that it has.

    Only what HDF5 tells of them is read, and none of their values.
    """
    yield from _faults(process, _OF_IMAGES, n_images)
    for name, columns in (("spots", SPOT_COLUMNS), ("lattices", LATTICE_COLUMNS)):
        group = process.get(name)
        if not isinstance(group, h5py.Group):
            yield f"{name} is no group"
            continue
        yield from _faults(group, (OFFSETS,), n_images + 1)
        first = group.get(columns[0].name)
        rows = first.shape[0] if isinstance(first, h5py.Dataset) and first.shape else 0
        yield from _faults(group, columns, rows)
    files = process.get("source_files")
    for name in _TEXTS:
        item = process.get(name)
        if isinstance(item, h5py.Dataset) and (item.ndim != 1 or h5py.check_string_dtype(item.dtype) is None):
            yield f"{name} is no list of texts"
    datasets = process.get("source_datasets")
    if isinstance(files, h5py.Dataset) and isinstance(datasets, h5py.Dataset) and files.shape != datasets.shape:
        yield "source_files and source_datasets are not of one length"


def _faults(group: h5py.Group, columns: Sequence[Column], rows: int) -> Iterator[str]:
    for column in columns:
        item = group.get(column.name)
        if item is None:
            continue
        if not isinstance(item, h5py.Dataset) or item.shape != (rows, *column.shape):
            yield f"{group.name}/{column.name} has not {rows} rows of {column.shape or 'one number'}"
        elif item.dtype.kind not in ("fiu" if np.dtype(column.dtype).kind == "f" else "iu"):
            yield f"{group.name}/{column.name} holds {item.dtype}"
