"""Whether a restored file is the source that it was restored from: every image, every array, every attribute."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
import numpy.typing as npt

from hitsieve.errors import SourceError
from hitsieve.model import Run
from hitsieve.write.chunks import filters_of
from hitsieve.write.metadata import MetadataCarrier, entry_of
from hitsieve.write.nxmx import describe_images, describe_run, describe_wavelengths
from hitsieve.write.perimage import OpenFiles, PerImageArray, rows_of
from hitsieve.write.places import open_output

Step = Callable[[int, int], None]
_BLOCK = 64
_ROWS = 8192
_FRAME = frozenset({"NX_class", "default", "signal"})
"""Attributes that an NXmx file has, whether its source had them or not."""


class ImageReader(Protocol):
    """Gives the images of the source."""

    run: Run

    def chunk(self, i: int) -> bytes | None:
        """Stored chunk of an image; None where it has none."""

    def pixels(self, i: int) -> npt.NDArray[Any]:
        """Pixels of an image."""

    def salvaged(self, i: int) -> bytes:
        """Bytes of an image that cannot be decoded."""


def differences(path: Path, source: ImageReader, step: Step | None = None) -> Iterator[str]:
    """Compare a restored file with the run that it was restored from.

    Parameters
    ----------
    path : Path
        The restored file.
    source : ImageReader
        The run, opened with no settings.
    step : callable, optional
        Called with the number of images compared and of all.

    Yields
    ------
    str
        What differs, in words.
    """
    run = source.run
    with open_output(path, "*.h5") as file:
        data = file[f"{entry_of(file)}/data/data"]
        if len(data) != len(run):
            yield f"{len(data)} images, the source has {len(run)}"
            return
        yield from _images(data, source, step)
        yield from metadata_differences(file, run)


def _images(data: h5py.Dataset, source: ImageReader, step: Step | None) -> Iterator[str]:
    run = source.run
    packed = [_packing(run, number) for number in range(len(run.files))]
    own = None if data.is_virtual else (data.dtype, filters_of(data))
    for image in range(len(run)):
        if image not in run.images.missing:
            same_packing = own is not None and packed[int(run.images.file[image])] == own
            why = _image(data, source, image, same_packing=same_packing)
            if why:
                yield f"image {image}: {why}"
        if step is not None and (image % _BLOCK == 0 or image == len(run) - 1):
            step(image + 1, len(run))


def _packing(run: Run, number: int) -> tuple[Any, Any] | None:
    file = run.files[number]
    if not file.dataset:
        return None
    try:
        with h5py.File(file.path, "r", locking=False) as handle:
            dataset = handle[file.dataset]
            return dataset.dtype, filters_of(dataset)
    except (OSError, KeyError):
        return None


def _image(data: h5py.Dataset, source: ImageReader, image: int, *, same_packing: bool) -> str:
    """Why an image is not that of the source; nothing where it is."""
    lost = image in source.run.images.unreadable
    try:
        original = source.salvaged(image) if lost else source.chunk(image)
        if original and same_packing:
            stored = bytes(data.id.read_direct_chunk((image, 0, 0))[1])
            return "" if stored == original else "its chunk differs from that of the source"
        if lost:
            return "could not be compared: it cannot be decoded"
        pixels = source.pixels(image)
    except SourceError as error:
        return f"could not be compared: {error.what}"
    except (OSError, RuntimeError, ValueError):
        return "is in the source, and not here"
    try:
        return "" if np.array_equal(data[image], pixels) else "its pixels differ from those of the source"
    except (OSError, RuntimeError):
        return "cannot be decoded, unlike in the source"


def metadata_differences(file: h5py.File, run: Run, *, strict: bool = False) -> Iterator[str]:
    """Compare all but the images of a restored file with the run that it was restored from.

    Parameters
    ----------
    file : h5py.File
        The restored file, opened.
    run : Run
        The run, opened with no settings.
    strict : bool
        Also tell what of the source no output of hitsieve carries.

    Yields
    ------
    str
        What differs, in words.
    """
    with h5py.File("source", "w", driver="core", backing_store=False) as scratch:
        yield from _metadata(file, scratch, run, strict=strict)


def _metadata(file: h5py.File, scratch: h5py.File, run: Run, *, strict: bool) -> Iterator[str]:
    """Collect what the source has in memory, but for arrays with a row an image, and compare."""
    carrier = MetadataCarrier(run, scratch)
    if run.style == "images":
        describe_run(run, scratch)
        describe_images(run, scratch, None)
    else:
        carrier.carry()
        describe_wavelengths(run, scratch, None)
    if strict:
        yield from map(str, carrier.problems)
    entry = entry_of(scratch)
    renamed = {f"{entry}/{now}": f"{entry}/{before}" for now, before in carrier.renamed.items()}
    expected: dict[str, Any] = {}
    _collect(scratch["/"], "/", renamed, expected)
    for path, item in expected.items():
        yield from _compared(file, path, item)
    arrays = [replace(array, target=_renamed(array.target, renamed)) for array in carrier.arrays]
    with OpenFiles() as opened:
        for array in arrays:
            yield from _rows(file, array, len(run), opened)
    frame = {"/", entry, f"{entry}/data", f"{entry}/data/data", *carrier.image_paths}
    others = {_renamed(other, renamed) for _, other in carrier.aliases}
    known = {*expected, *(array.target for array in arrays), *others}
    found: dict[str, Any] = {}
    _collect(file["/"], "/", {}, found)
    yield from (f"{path}: is not in the source" for path in found if path not in known | frame)


def _collect(group: h5py.Group, place: str, renamed: dict[str, str], found: dict[str, Any]) -> None:
    """Every object below a group by its path, under each of its names; of soft links the link."""
    found[place] = group
    for name in group:
        path = _renamed(posixpath.join(place, name), renamed)
        link = group.get(name, getlink=True)
        item = link if isinstance(link, h5py.SoftLink) else group[name]
        if isinstance(item, h5py.Group):
            _collect(item, path, renamed, found)
        else:
            found[path] = item


def _renamed(path: str, renamed: dict[str, str]) -> str:
    for now, before in renamed.items():
        if path == now or path.startswith(f"{now}/"):
            return before + path[len(now) :]
    return path


def _compared(file: h5py.File, path: str, wanted: Any) -> Iterator[str]:
    """What differs of one object: its kind, value and attributes."""
    link = file.get(path, getlink=True) if path != "/" else None
    if isinstance(wanted, h5py.SoftLink):
        if not isinstance(link, h5py.SoftLink) or link.path != wanted.path:
            yield f"{path}: is not the link to {wanted.path} that it is in the source"
        return
    item = file.get(path)
    if item is None or isinstance(item, h5py.Group) != isinstance(wanted, h5py.Group):
        yield f"{path}: is in the source, and not here"
        return
    if isinstance(wanted, h5py.Dataset):
        if item.dtype != wanted.dtype or item.shape != wanted.shape:
            yield f"{path}: is {item.dtype} {item.shape}, in the source {wanted.dtype} {wanted.shape}"
        elif not equal(item[()], wanted[()]):
            yield f"{path}: differs from the source"
    # The group of the images has them under one name, which need not be the source's.
    for name in set(wanted.attrs) - ({"signal"} if "signal" in wanted.attrs and path.count("/") == 2 else set()):
        if name not in item.attrs or not equal(item.attrs[name], wanted.attrs[name]):
            yield f"{path}@{name}: differs from the source"
    yield from (f"{path}@{name}: is not in the source" for name in set(item.attrs) - set(wanted.attrs) - _FRAME)


def _rows(file: h5py.File, array: PerImageArray, n: int, opened: OpenFiles) -> Iterator[str]:
    """What differs of an array with a row an image, in blocks."""
    item = file.get(array.target)
    if not isinstance(item, h5py.Dataset) or len(item) != n:
        yield f"{array.target}: has not a row for each of the {n} images"
        return
    step = max(1, min(_ROWS, (8 << 20) // max(item.dtype.itemsize * int(np.prod(item.shape[1:])), 1)))
    for start in range(0, n, step):
        found = rows_of(array, start, min(start + step, n), opened)
        if found is None or not equal(item[start : start + step], found):
            yield f"{array.target}: differs from the source between images {start} and {min(start + step, n) - 1}"
            return


def equal(a: Any, b: Any) -> bool:
    """Whether two values are the same; NaN is NaN."""
    if isinstance(a, h5py.Empty) or isinstance(b, h5py.Empty):
        return isinstance(a, h5py.Empty) and isinstance(b, h5py.Empty)
    left, right = np.asarray(a), np.asarray(b)
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    return np.array_equal(left, right, equal_nan=left.dtype.kind in "fc")
