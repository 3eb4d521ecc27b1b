"""What a file of the source has that the restored series has not, or has otherwise."""

from __future__ import annotations

import math
import posixpath
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from hitsieve.model import Run
from hitsieve.write.metadata import entry_of
from hitsieve.write.perimage import is_per_image, read_rows
from hitsieve.write.places import open_source
from hitsieve.write.sameness import equal

MOST_BYTES = 4096
"""Of a value that is written down; a larger one counts as lost."""
_BLOCK_BYTES = 8 << 20
_FRAME = frozenset({"NX_class", "default", "signal"})


@dataclass(frozen=True, slots=True)
class OwnValue:
    """A small value that one file of the source has, and the restored series has not."""

    file: str
    path: str
    """HDF5 path of the dataset, `path@name` of an attribute, or the path of a link."""
    dtype: str
    value: Any
    """As JSON has it: numbers, text, or lists of them; what is not finite as text."""


@dataclass(slots=True)
class Remainder:
    """What is not in the restored series."""

    values: list[OwnValue] = field(default_factory=list)
    """Small values, which can be written down."""
    lost: list[str] = field(default_factory=list)
    """All else, in words."""


def remainder_of(run: Run, number: int, restored: h5py.File) -> Remainder:
    """Compare every dataset and attribute of one file of the source with the restored series.

    Parameters
    ----------
    run : Run
    number : int
        Of the file, in `run.files`.
    restored : h5py.File
        The metadata of the restored series.

    Returns
    -------
    Remainder
        Of the images, only their attributes are compared here.
    """
    path = run.files[number].path
    try:
        with open_source(path) as file:
            walk = _Walk(run, number, file, restored)
            if file.userblock_size:
                walk.found.lost.append(f"{path}: its user block of {file.userblock_size:,} bytes is in no other file")
            walk.group(file["/"], "/", set())
    except (OSError, RuntimeError, KeyError) as error:
        return Remainder(lost=[f"{path}: cannot be read to its end: {' '.join(str(error).split())}"])
    return walk.found


def shown_as(run: Run, restored: h5py.File) -> Remainder:
    """Compare the attributes that a master gives to the images which it shows of other files; what restores lack."""
    numbers = [number for number, file in enumerate(run.files) if file.path.exists()]
    if not numbers or any(run.files[number].path.resolve() == run.path.resolve() for number in numbers):
        return Remainder()
    walk = _Walk(run, numbers[0], None, restored)
    walk.where = str(run.path)

    def visit(_: str, item: h5py.HLObject) -> None:
        if isinstance(item, h5py.Dataset) and item.is_virtual and item.shape[1:] == run.detector.shape:
            walk.attributes(item, str(item.name), walk.images)

    with open_source(run.path) as master:
        master.visititems(visit)
    return walk.found


def size_of_metadata(restored: h5py.File) -> int:
    """Datasets and attributes of a restored series."""
    counts = [len(restored.attrs)]
    restored.visititems(lambda _, item: counts.append(len(item.attrs) + isinstance(item, h5py.Dataset)))
    return sum(counts)


class _Walk:
    """Goes through a file, and remembers what is not in the restored series."""

    def __init__(self, run: Run, number: int, file: h5py.File | None, restored: h5py.File) -> None:
        own = run.files[number]
        self.found = Remainder()
        self.where = str(own.path)
        self._restored = restored
        self.images = restored[f"{entry_of(restored)}/data/data"]
        shown = [] if file is None else [part.dataset for part in run.files if part.path == own.path]
        self._image_ids = {_identity(file[dataset]) for dataset in shown if file is not None}
        self._n = own.n_images
        self._shape = run.detector.shape
        row = run.images.row
        mine = np.flatnonzero((run.images.file == number) & (row >= 0) & (row < own.n_images))
        self._rows, first = np.unique(run.images.row[mine], return_index=True)
        """Rows of the file that the run has, in order."""
        self._places = mine[first]
        """The image of each."""

    def group(self, group: h5py.Group, place: str, above: set[tuple[int, int]]) -> None:
        """Compare a group and all below it."""
        known = _identity(group)
        if known in above:
            return
        self.attributes(group, place, self._restored.get(place))
        for name in group:
            path = posixpath.join(place, name)
            link = group.get(name, getlink=True)
            item = None if isinstance(link, h5py.SoftLink) else _opened(group, name)
            if item is None:
                self._link(link, path)
            elif isinstance(item, h5py.Group):
                if path not in self._restored:
                    self._keep(path, np.array("group"))
                self.group(item, path, above | {known})
            else:
                self._leaf(item, path)

    def _link(self, link: Any, path: str) -> None:
        """Compare a link that leads on by a name, or nowhere."""
        there = self._restored.get(path, getlink=True)
        soft = isinstance(link, h5py.SoftLink)
        if not (soft and isinstance(there, h5py.SoftLink) and there.path == link.path):
            self._keep(path, np.array(f"link to {link.path}" if soft else f"link to {link.filename}:{link.path}"))

    def _leaf(self, item: h5py.HLObject, path: str) -> None:
        if not isinstance(item, h5py.Dataset):
            self.found.lost.append(f"{self.where}:{path}: is a type of its own")
            return
        if _identity(item) in self._image_ids:
            self.attributes(item, path, self.images)
            return
        there = self._restored.get(path)
        if not (isinstance(there, h5py.Dataset) and self._same(item, there)):
            self._keep(path, item[()] if item.nbytes <= MOST_BYTES else None, item.dtype)
        self.attributes(item, path, there)

    def _same(self, item: h5py.Dataset, there: h5py.Dataset) -> bool:
        """Whether a dataset is what the series has under its name, for all images or for those of this file."""
        if item.dtype != there.dtype:
            return False
        per_image = is_per_image(item, self._n, self._shape) and there.shape[1:] == item.shape[1:]
        if not (per_image and len(there) > int(self._places.max(initial=0))):
            return item.shape == there.shape and equal(item[()], there[()])
        step = max(1, _BLOCK_BYTES // max(item.dtype.itemsize * int(np.prod(item.shape[1:])), 1))
        for start in range(0, len(self._rows), step):
            rows, places = self._rows[start : start + step], self._places[start : start + step]
            if not equal(read_rows(item, rows), read_rows(there, places)):
                return False
        return True

    def attributes(self, item: h5py.HLObject, path: str, there: h5py.HLObject | None) -> None:
        """Compare the attributes of an object."""
        for name in item.attrs:
            try:
                value = item.attrs[name]
            except (OSError, TypeError, ValueError):
                self.found.lost.append(f"{self.where}:{path}@{name}: cannot be read")
                continue
            if there is not None and name in there.attrs and equal(value, there.attrs[name]):
                continue
            if name not in _FRAME:
                self._keep(f"{path}@{name}", value, item.attrs.get_id(name).dtype)

    def _keep(self, path: str, value: Any, dtype: npt.DTypeLike | None = None) -> None:
        array = np.asarray(value)
        plain = None if value is None or isinstance(value, h5py.Empty) else _plain(array)
        if plain is None or array.nbytes > MOST_BYTES:
            self.found.lost.append(f"{self.where}:{path}: is not in the restored series as it is here")
            return
        self.found.values.append(OwnValue(self.where, path, str(array.dtype if dtype is None else dtype), plain))


def _identity(item: h5py.HLObject) -> tuple[int, int]:
    info = h5py.h5o.get_info(item.id)
    return info.fileno, info.addr


def _opened(group: h5py.Group, name: str) -> h5py.HLObject | None:
    try:
        return group.get(name)
    except (KeyError, OSError, RuntimeError):
        return None


def _plain(array: npt.NDArray[Any]) -> Any | None:
    """The values as JSON can have them without loss; None where it cannot."""
    if array.dtype.kind not in "iufbSUO":
        return None
    try:
        flat = [_word(value) for value in array.ravel().tolist()]
    except (UnicodeDecodeError, TypeError):
        return None
    return flat[0] if array.ndim == 0 else flat


def _word(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if not isinstance(value, (str, int, float, bool)):
        raise TypeError(type(value))
    return value


def merged(parts: Iterable[Remainder]) -> Remainder:
    """What of several files is not in the restored series."""
    whole = Remainder()
    for part in parts:
        whole.values += part.values
        whole.lost += part.lost
    return whole
