"""One image, read by itself: whatever else the run holds, and whatever has become of its other files."""

from __future__ import annotations

import io
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from hitsieve.errors import SourceError
from hitsieve.filters import why_not_unpacked
from hitsieve.model import Codec, Detector, Place
from hitsieve.source.access import FileUnavailable, reading
from hitsieve.source.apart import read_apart
from hitsieve.source.chunks import BITSHUFFLE, codec_of
from hitsieve.source.detector import Metadata, read_metadata
from hitsieve.source.fields import member
from hitsieve.source.images import read_pixels

Image = npt.NDArray[np.generic]

_BUILT_IN = range(1, 7)
"""Numbers of the filters that are HDF5's own; plug-ins may crash on damaged data."""
_MOST_BYTES = 1 << 30
"""Largest image that is read."""


def metadata_of(path: Path, shape: tuple[int, int], n: int, dtype: np.dtype[np.generic]) -> Metadata:
    """Detector and beam as an HDF5 file states them, for n images of shape (slow, fast); its images are not looked for.

    Raises
    ------
    SourceError
        It cannot be read.
    MetadataError
        The pixel mask does not fit the images.
    """
    with reading(path) as file:
        return read_metadata(file, path, shape, n, dtype)


def read_image(place: Place, detector: Detector, dtype: np.dtype[np.generic], *, confined: bool = False) -> Image:
    """Counts of one image, shape (slow, fast), in the run's type.

    Damaged bytes reach no plug-in of HDF5 in this process: the compiled core unpacks what it can first, and tells of
    damage; what needs another plug-in is read by another process.

    Parameters
    ----------
    place : Place
    detector : Detector
        Its shape is that of the image.
    dtype : dtype
    confined : bool
        Refuse what another file holds, to which this one leads by a link or a virtual dataset.

    Raises
    ------
    SourceError
        The image is not there, cannot be decoded, or is another than that of the run.
    """
    values = _from_hdf5(place, confined=confined) if place.dataset else read_pixels(place.path, place.row)
    if values.shape != detector.shape or values.dtype.newbyteorder("=") != dtype:
        what = f"{place}: the image is {values.dtype} {values.shape}, the run is {dtype} {detector.shape}"
        raise SourceError(what, mend="put the original file back")
    return values.astype(dtype, copy=False)


def read_growing(place: Place) -> Image:
    """Counts of one image of an HDF5 file that another program may be writing; as `read_image` reads, confined.

    What that program has flushed can be read; the rest is not there yet, or looks damaged.

    Raises
    ------
    SourceError
        The image is not there, or cannot be decoded.
    """
    try:
        with h5py.File(place.path, "r", locking=False) as file:
            return _from_open(file, place, confined=True)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise SourceError(f"{place}: cannot be read, or not yet: {' '.join(str(error).split())}") from None


def _from_hdf5(place: Place, *, confined: bool) -> Image:
    with reading(place.path) as file:
        return _from_open(file, place, confined=confined)


def _from_open(file: h5py.File, place: Place, *, confined: bool) -> Image:
    """As `_from_hdf5`, from an open file."""
    item = member(file, place.dataset)
    if not isinstance(item, h5py.Dataset) or item.ndim not in (2, 3):
        what = f"{place.path}: has no images at {place.dataset}"
        raise FileUnavailable(what, mend="put the original file back", missing=True)
    n = item.shape[0] if item.ndim == 3 else 1
    if not 0 <= place.row < n:
        raise SourceError(f"{place}: there is no such image, only {n}", mend="put the original file back")
    if int(np.prod(item.shape[-2:], dtype=object)) * item.dtype.itemsize > _MOST_BYTES:
        raise SourceError(f"{place}: the image is of more than {_MOST_BYTES >> 20} MiB")
    if confined and (item.is_virtual or item.external or item.file.filename != file.filename):
        raise SourceError(f"{place}: the image is in another file, to which this one leads; that is not followed")
    codec = codec_of(item)
    if codec is not None:
        found = _through_core(item, place, codec)
        if found is not None:
            return found
    if not _only_built_in(item):
        return read_apart(place)
    return np.asarray(item[place.row] if item.ndim == 3 else item[()])


def _through_core(item: h5py.Dataset, place: Place, codec: Codec) -> Image | None:
    """The image, unpacked by the library from bytes that the core could unpack; None of a chunk that is not packed."""
    corner = (place.row, 0, 0) if item.ndim == 3 else (0, 0)
    chunk = item.id.get_chunk_info_by_coord(corner)
    if chunk.byte_offset is None or not chunk.size:
        raise SourceError(f"{place}: the image was never written")
    if chunk.size > 2 * item.dtype.itemsize * int(np.prod(item.shape[-2:])) + (1 << 16):
        raise SourceError(f"{place}: its chunk is larger than any image packed", mend="copy the file again")
    skipped, stored = item.id.read_direct_chunk(corner)
    if skipped:
        return None
    slow, fast = (int(n) for n in item.shape[-2:])
    reason = why_not_unpacked(stored, codec, (slow, fast), item.dtype.name)
    if reason:
        raise SourceError(f"{place}: the image cannot be decoded: {reason}", mend="copy the file again from its origin")
    return _unpacked(item, (slow, fast), stored)


def _unpacked(item: h5py.Dataset, shape: tuple[int, int], stored: bytes) -> Image:
    """Unpack the chunk by the library, in memory: its file may change at any time, these bytes are the proven ones."""
    number, flags, values, _ = item.id.get_create_plist().get_filter(0)
    # What bitshuffle prepends by itself, version and size of a number, it would prepend once more.
    given = values[3:] if number == BITSHUFFLE else values
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk(shape)
    plist.set_filter(number, flags, tuple(given))
    with h5py.File(io.BytesIO(), "w") as memory:
        space = h5py.h5s.create_simple(shape)
        made = h5py.Dataset(h5py.h5d.create(memory.id, b"image", item.id.get_type(), space, plist))
        made.id.write_direct_chunk((0, 0), stored)
        return np.asarray(made[()])


def _only_built_in(item: h5py.Dataset) -> bool:
    """Whether the library itself, without plug-ins, can read it; other files that it shows may need them."""
    if item.is_virtual:
        return False
    plist = item.id.get_create_plist()
    return all(plist.get_filter(i)[0] in _BUILT_IN for i in range(plist.get_nfilters()))
