"""Arrays with one row an image: which they are, and how they are cut to the images that are kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from hitsieve.write.attributes import copy_attributes
from hitsieve.write.places import open_source
from hitsieve.write.stream import OutputStream
from hitsieve.write.streamvalues import IMAGE_VALUES
from hitsieve.write.virtual import Mosaic, SourceArray, absent_value, virtual_dataset

Index = npt.NDArray[np.int64]

_RANK_OF_ONE: dict[str, int] = {
    "data_origin": 1,
    "data_size": 1,
    "data_stride": 1,
    "extent": 1,
    "flatfield": 2,
    "group_index": 1,
    "group_names": 1,
    "group_parent": 1,
    "group_type": 1,
    "incident_beam_size": 1,
    "incident_polarization_stokes": 1,
    "orientation_matrix": 2,
    "pixel_mask": 2,
    "ub_matrix": 2,
    "unit_cell": 1,
    "unit_cell_abc": 1,
    "unit_cell_alphabetagamma": 1,
}
"""Rank of fields whose first axis is not the image, however long it is."""

_BLOCK_BYTES = 8 << 20
_GAP_BYTES = 1 << 19
"""Rows that are not wanted are read too, where fewer lie between two that are."""
_VIRTUAL_ROW_BYTES = 65536
_OPEN_FILES = 64


def is_per_image(dataset: h5py.Dataset, n_images: int, image_shape: tuple[int, int]) -> bool:
    """Whether the dataset holds one row for each of `n_images` images."""
    shape = dataset.shape
    if not shape or shape[0] != n_images or shape == image_shape:
        return False
    group, _, name = str(dataset.name).rpartition("/")
    if group.endswith(f"/detectorSpecific/{IMAGE_VALUES}"):
        # Detectors and users name these: they mean nothing of what NeXus means by the name.
        return True
    return len(shape) > _RANK_OF_ONE.get(name, 0)


@dataclass(frozen=True)
class PerImageArray:
    """A per-image array of the source, spread over one file or more."""

    target: str
    """Its path in the output."""
    files: tuple[Path, ...]
    """Files that hold it."""
    dataset: str
    """Its path in them."""
    file: npt.NDArray[np.int32]
    """File of each image of the run, shape (n,)."""
    row: Index
    """Row in that file, shape (n,); negative where there is none."""
    datasets: tuple[str, ...] = ()
    """Its path in each of them, where it is not the same in all."""

    def opened(self, number: int, opened: OpenFiles) -> h5py.Dataset | None:
        """The dataset in one of the files; None where file or dataset is absent or cannot be opened."""
        return opened.dataset(self.files[number], self.datasets[number] if self.datasets else self.dataset)


class OpenFiles:
    """HDF5 files of the source, opened read-only when first asked for; a bounded number stays open."""

    def __init__(self) -> None:
        self._open: OrderedDict[Path, h5py.File | None] = OrderedDict()

    def __enter__(self) -> OpenFiles:
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._open.values():
            if handle is not None:
                handle.close()
        self._open.clear()

    def dataset(self, path: Path, name: str) -> h5py.Dataset | None:
        """The dataset, or None where file or dataset is absent or cannot be opened."""
        if path not in self._open:
            while len(self._open) >= _OPEN_FILES:
                _, oldest = self._open.popitem(last=False)
                if oldest is not None:
                    oldest.close()
            try:
                self._open[path] = open_source(path)
            except OSError:
                self._open[path] = None
        self._open.move_to_end(path)
        handle = self._open[path]
        try:
            found = handle.get(name) if handle is not None else None
        except (KeyError, OSError):
            return None
        return found if isinstance(found, h5py.Dataset) else None


@dataclass(frozen=True)
class Target:
    """The output that per-image arrays go to."""

    output: h5py.File
    stream: OutputStream
    """The file under it."""
    folder: Path
    """Its folder, to which links are relative."""


def write_array(array: PerImageArray, target: Target, images: Index | None, opened: OpenFiles) -> str | None:
    """Write the rows of `images`, or of all images when None, to the output.

    All images of an array with long rows (other images, say) are linked as a virtual dataset, not copied.

    Parameters
    ----------
    array : PerImageArray
        What to write, and where.
    target : Target
        Where to.
    images : int64, shape (k,), optional
        Images that are kept.
    opened : OpenFiles
        The source.

    Returns
    -------
    str or None
        Why the array cannot be carried over, or None.
    """
    found = (array.opened(number, opened) for number in range(len(array.files)))
    template = next((dataset for dataset in found if dataset is not None), None)
    if template is None:
        return "cannot be opened"
    shape = tuple(template.shape[1:])
    wanted = np.arange(len(array.row)) if images is None else images
    file, row = array.file[wanted], array.row[wanted]
    numeric = template.dtype.kind in "iufcb"
    if images is None and numeric and row_bytes(template) >= _VIRTUAL_ROW_BYTES:
        sources: list[SourceArray | None] = []
        for number, path in enumerate(array.files):
            dataset = array.opened(number, opened)
            sources.append(None if dataset is None else SourceArray(path, str(dataset.name), dataset.shape))
        mosaic = Mosaic(sources, file, row, template.dtype, shape)
        made = virtual_dataset(target.output, array.target, mosaic, target.folder)
        copy_attributes(template, made)
        return None
    made = make_like(target.output, array.target, template, (len(wanted), *shape))
    lost = 0
    for start, stop in row_blocks(len(wanted), row_bytes(template)):
        values, absent = _gather(array, template, file[start:stop], row[start:stop], opened)
        made[start:stop] = values
        target.stream.check()
        lost += absent
    return f"{lost} of {len(wanted)} rows are absent and hold the fill value" if lost else None


def row_bytes(dataset: h5py.Dataset) -> int:
    """Bytes of a row, unpacked."""
    return int(np.prod(dataset.shape[1:], dtype=np.int64)) * int(dataset.dtype.itemsize)


def row_blocks(length: int, n_bytes: int) -> Iterator[tuple[int, int]]:
    """First row, and the one after the last, of blocks of bounded size of rows of so many bytes."""
    step = max(1, _BLOCK_BYTES // max(n_bytes, 1))
    for start in range(0, length, step):
        yield start, min(start + step, length)


def make_like(output: h5py.File, path: str, template: h5py.Dataset, shape: tuple[int, ...]) -> h5py.Dataset:
    """An empty dataset with the template's type, attributes and, where it is chunked, filters."""
    parent, _, name = path.rpartition("/")
    group = output.require_group(parent or "/")
    options: dict[str, Any] = {}
    if template.chunks is not None and not template.is_virtual:
        chunks = (max(1, min(template.chunks[0], shape[0])), *template.chunks[1:])
        options = {"chunks": chunks, "maxshape": (None, *shape[1:])}
        if template.compression in ("gzip", "lzf"):
            options |= {"compression": template.compression, "compression_opts": template.compression_opts}
            options["shuffle"] = template.shuffle
        elif template.dtype.kind in "iufcb" and template.id.get_create_plist().get_nfilters():
            options["compression"] = "lzf"
    elif row_bytes(template) * shape[0] > _BLOCK_BYTES and template.dtype.kind in "iufcb":
        rows = max(1, min(shape[0], (1 << 20) // max(row_bytes(template), 1)))
        options = {"chunks": (rows, *shape[1:]), "maxshape": (None, *shape[1:]), "compression": "lzf"}
    fill = absent_value(template.dtype)
    if fill is not None:
        options["fillvalue"] = fill
    made = group.create_dataset(name, shape=shape, dtype=template.dtype, **options)
    copy_attributes(template, made)
    return made


def _gather(
    array: PerImageArray, template: h5py.Dataset, file: npt.NDArray[np.int32], row: Index, opened: OpenFiles
) -> tuple[npt.NDArray[Any], int]:
    """Rows of some images, and how many of them are absent."""
    fill = absent_value(template.dtype)
    shape = (len(row), *template.shape[1:])
    values = np.zeros(shape, template.dtype) if fill is None else np.full(shape, fill, template.dtype)
    if template.dtype.kind == "O":
        values[...] = b""
    absent = 0
    order = np.argsort(file, kind="stable")
    for here in np.split(order, np.flatnonzero(np.diff(file[order])) + 1) if len(order) else ():
        dataset = array.opened(int(file[here[0]]), opened)
        rows = row[here]
        inside = here[(rows >= 0) & (rows < (0 if dataset is None else dataset.shape[0]))]
        if dataset is None or dataset.shape[1:] != template.shape[1:]:
            inside = inside[:0]
        absent += len(here) - len(inside)
        if dataset is not None and len(inside):
            values[inside] = read_rows(dataset, row[inside])
    return values, absent


def rows_of(array: PerImageArray, start: int, stop: int, opened: OpenFiles) -> npt.NDArray[Any] | None:
    """Rows of images start to stop of an array of the source; None where it cannot be opened."""
    found = (array.opened(number, opened) for number in range(len(array.files)))
    template = next((dataset for dataset in found if dataset is not None), None)
    if template is None:
        return None
    return _gather(array, template, array.file[start:stop], array.row[start:stop], opened)[0]


def read_rows(dataset: h5py.Dataset, rows: Sequence[int] | Index) -> npt.NDArray[Any]:
    """Rows of a dataset in the order asked for, read as spans of bounded size and without long gaps."""
    wanted = np.asarray(rows, dtype=np.int64)
    order = np.argsort(wanted, kind="stable")
    ordered = wanted[order]
    values = np.empty((len(wanted), *dataset.shape[1:]), dataset.dtype)
    span = max(1, _BLOCK_BYTES // max(row_bytes(dataset), 1))
    gaps = np.flatnonzero(np.diff(ordered) > max(1, _GAP_BYTES // max(row_bytes(dataset), 1))) + 1
    bounds = iter([*gaps.tolist(), len(ordered)])
    bound = next(bounds)
    start = 0
    while start < len(ordered):
        while bound <= start:
            bound = next(bounds)
        first = int(ordered[start])
        stop = min(int(np.searchsorted(ordered, first + span)), bound)
        block = dataset[first : int(ordered[stop - 1]) + 1]
        values[order[start:stop]] = block[ordered[start:stop] - first]
        start = stop
    return values
