"""Virtual datasets: which source file and row holds each image, for any regular or irregular selection."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hitsieve.errors import SourceError
from hitsieve.model import DataFile, Problem
from hitsieve.model.named import named_file, plain_name
from hitsieve.source.access import FileUnavailable, reading
from hitsieve.source.chunks import frames, index_dataset, native_type
from hitsieve.source.layout import NO_FAULT, Fault, Layout, LayoutBuilder, Rows, check_alike

MAX_DEPTH = 8


@dataclass(slots=True)
class _Sources:
    """The source datasets of one virtual dataset, each opened once."""

    master: h5py.File
    path: Path
    depth: int
    opened: dict[tuple[str, str], Layout | Fault] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def get(self, name: str, dataset: str) -> Layout | Fault:
        key = (name, dataset)
        if key not in self.opened:
            self.opened[key] = self._open(name, dataset)
        return self.opened[key]

    def path_of(self, name: str) -> Path:
        return self.path if name == "." else named_file(plain_name(name), self.path)

    def _open(self, name: str, dataset: str) -> Layout | Fault:
        path = self.path_of(name)
        try:
            if name == ".":
                return index(_dataset(self.master, dataset, path), path, self.depth + 1)
            with reading(path) as file:
                return index(_dataset(file, dataset, path), path, self.depth + 1)
        except FileUnavailable as error:
            mend = error.mend or "find the file and open the run again"
            self.problems.append(Problem(str(self.path), f"data file {error.what}", mend))
            return Fault(error.missing, error.what)


def _dataset(file: h5py.File, name: str, path: Path) -> h5py.Dataset:
    found = file.get(name)
    if not isinstance(found, h5py.Dataset):
        raise FileUnavailable(f"{path}: has no dataset {name}", mend="check the master's links", missing=True)
    return found


def index(dataset: h5py.Dataset, path: Path, depth: int = 0) -> Layout:
    """Index any dataset of images; virtual ones are followed to the files that store them.

    Raises
    ------
    SourceError
        It holds no images, refers to itself, is put together in a way that cannot be followed, or none of its files can
        be used.
    """
    if not dataset.is_virtual:
        return index_dataset(dataset, path)
    if depth > MAX_DEPTH:
        raise SourceError(f"{path}: {dataset.name} is a virtual dataset that refers to itself", mend="mend the master")
    return _index_virtual(dataset, path, depth)


def _index_virtual(dataset: h5py.Dataset, path: Path, depth: int) -> Layout:
    n, shape = frames(dataset, path)
    dtype = native_type(dataset, path)
    sources = _Sources(dataset.file, path, depth)
    builder = LayoutBuilder(n, shape, dtype)
    frame_wise = True
    for source in dataset.virtual_sources():
        if "%" in source.file_name.replace("%%", ""):
            raise SourceError(
                f"{path}: {dataset.name} names its sources by a pattern ({source.file_name})",
                mend="name the data files themselves",
            )
        part = sources.get(source.file_name, source.dset_name)
        at, whole = _selected_rows(source.vspace, (n, *shape), None)
        if isinstance(part, Fault):
            extent = source.src_space.shape
            of_file = extent[0] if len(extent) == 3 else 1
            file = DataFile(sources.path_of(source.file_name), source.dset_name, int(of_file), None)
            rows, source_whole = _selected_rows(source.src_space, None, len(at))
            builder.fail(at[: len(rows)], part, file, rows[: len(at)])
            builder.fail(at[len(rows) :], part, file)
        else:
            rows, source_whole = _selected_rows(source.src_space, (len(part), *part.shape), len(at))
            wanted = shape if whole and source_whole else part.shape
            file = _source_file(sources.path_of(source.file_name), source.dset_name, part)
            check_alike([(path, LayoutBuilder(0, wanted, dtype).build()), (file.path, part)])
            if whole and source_whole:
                _place(builder, at, part, rows, file)
        frame_wise = frame_wise and whole and source_whole
    faults = [part for part in sources.opened.values() if isinstance(part, Fault)]
    if faults and len(faults) == len(sources.opened):
        raise FileUnavailable(
            f"{path}: none of its {len(faults)} data files can be used: {faults[0].reason}",
            mend="find the data files, or copy them again",
            missing=faults[0].missing,
        )
    builder.report(sources.problems)
    return builder.build() if frame_wise else _through_library(dataset, path, sources)


def _source_file(path: Path, dataset: str, part: Layout) -> DataFile:
    """The source as the master names it; where it is a virtual dataset itself, its images lie in other files."""
    own = part.files[0] if len(part.files) == 1 else None
    if own is not None and own.path == path and own.dataset.strip("/") == dataset.strip("/"):
        return own
    return DataFile(path, dataset, len(part), None)


def _place(builder: LayoutBuilder, at: Rows, part: Layout, rows: Rows, file: DataFile) -> None:
    """Place the rows that the source has; those beyond its end are missing."""
    n = min(len(at), len(rows))
    there = rows[:n] < len(part)
    builder.place(at[:n][there], part, rows[:n][there])
    if n == len(at) and there.all():
        return
    fault = Fault(True, f"{file.path}: has only {len(part)} images")
    builder.fail(at[:n][~there], fault, file, rows[:n][~there])
    builder.fail(at[n:], fault, file)
    builder.report([Problem(str(file.path), f"has {len(part)} images, the master expects more")])


def _through_library(dataset: h5py.Dataset, path: Path, sources: _Sources) -> Layout:
    """Images put together from several sources each: HDF5 itself must do it."""
    n, shape = frames(dataset, path)
    dtype = native_type(dataset, path)
    builder = LayoutBuilder(n, shape, dtype)
    virtual = Layout(
        shape=shape,
        dtype=dtype,
        files=(DataFile(path, str(dataset.name), n, None),),
        file=np.zeros(n, dtype=np.int32),
        row=np.arange(n, dtype=np.int64),
        offset=np.full(n, -1, dtype=np.int64),
        size=np.zeros(n, dtype=np.int64),
        fault=np.full(n, NO_FAULT, dtype=np.int32),
    )
    mapped = [(source, _selected_rows(source.vspace, (n, *shape), None)[0]) for source in dataset.virtual_sources()]
    for _, at in mapped:
        builder.place(at, virtual, at)
    for source, at in mapped:
        part = sources.get(source.file_name, source.dset_name)
        if isinstance(part, Fault):
            builder.fail(at, part)
    builder.report(sources.problems)
    return builder.build()


def _selected_rows(space: Any, shape: tuple[int, ...] | None, limit: int | None) -> tuple[Rows, bool]:
    """Rows that a selection takes, in its order, and whether it takes whole images.

    Parameters
    ----------
    space : h5py.h5s.SpaceID
        Selection in the virtual or the source dataspace.
    shape : tuple of int, optional
        (images, slow, fast) of the dataset; None where it cannot be opened.
    limit : int, optional
        Number of rows wanted from a selection without an end, whether the dataset has them or not.
    """
    extent = shape if shape is not None else space.shape
    kind = space.get_select_type()
    if kind == h5py.h5s.SEL_ALL or len(space.shape) == 2:
        rows = extent[0] if len(extent) == 3 else 1
        if kind != h5py.h5s.SEL_ALL:
            return np.zeros(1, dtype=np.int64), bool(space.get_select_npoints() == np.prod(space.shape))
        return np.arange(rows if limit is None else limit, dtype=np.int64), True
    if kind != h5py.h5s.SEL_HYPERSLABS:
        raise SourceError("a virtual dataset selects single points", mend="name the data files themselves")
    if space.is_regular_hyperslab():
        return _regular(space.get_regular_hyperslab(), extent, limit)
    blocks = np.asarray(space.get_select_hyper_blocklist(), dtype=np.int64)
    whole = bool(np.all(blocks[:, 0, 1:] == 0) and np.all(blocks[:, 1, 1:] == np.asarray(extent[1:]) - 1))
    # HDF5 takes the elements of a selection in the order of the dataspace, so the rows ascend.
    rows = np.concatenate([np.arange(low, high + 1) for low, high in blocks[:, :, 0]])
    return np.unique(rows), whole


def _regular(slab: tuple[Any, Any, Any, Any], extent: tuple[int, ...], limit: int | None) -> tuple[Rows, bool]:
    starts, strides, counts, blocks = slab
    start, stride, count, block = (int(v[0]) for v in (starts, strides, counts, blocks))
    if h5py.h5s.UNLIMITED in (counts[0], blocks[0]):
        end = extent[0]
        if blocks[0] == h5py.h5s.UNLIMITED:
            stride = count = 1
            block = max(end - start, 0) if limit is None else limit
        else:
            count = max(-(-(end - start) // stride), 0) if limit is None else -(-limit // block)
    rows = (start + stride * np.arange(count, dtype=np.int64)[:, None] + np.arange(block, dtype=np.int64)).ravel()
    if h5py.h5s.UNLIMITED in (counts[0], blocks[0]):
        rows = rows[rows < extent[0]] if limit is None else rows[:limit]
    whole = all(
        int(starts[k]) == 0
        and int(counts[k]) * int(blocks[k]) == extent[k]
        and int(strides[k]) <= max(1, int(blocks[k]))
        for k in (1, 2)
    )
    return rows, whole
