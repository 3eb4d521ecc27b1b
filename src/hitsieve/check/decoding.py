"""Whether a stored image can be decoded; damaged bytes go to no plug-in of HDF5 where that can be helped."""

from __future__ import annotations

import h5py
import numpy as np

from hitsieve.check.reading import FAILURES, short
from hitsieve.filters import why_not_unpacked

_LZ4, _BITSHUFFLE = 32004, 32008
_CODECS = {2: "bslz4", 3: "bszstd"}
_NATIVE = frozenset({"uint8", "int8", "uint16", "int16", "uint32", "int32"})
_MOST_BYTES = 1 << 31
"""Largest chunk, or image, that is unpacked."""


def why_not_decoded(item: h5py.Dataset, image: int) -> str:
    """Why an image of a data set (images, ...) cannot be decoded; nothing where it can.

    Bitshuffle and LZ4 go through the compiled core, which tells of damage; HDF5's own plug-in may crash on it.
    """
    try:
        shape, chunks = item.shape, item.chunks
        itemsize = item.dtype.itemsize
        codec = _codec(item) if chunks is not None else None
        sizes = [np.prod(chunks or (1,), dtype=object), np.prod(shape[1:] if len(shape) > 2 else shape, dtype=object)]
        if max(int(size) * itemsize for size in sizes) > _MOST_BYTES:
            return "it, or its chunk, is of more than 2 GiB"
        absent = _absent_filter(item)
        if absent:
            return f"it is packed with filter {absent}, which is not installed here"
        if codec is not None:
            place = (image, *(0,) * (len(shape) - 1)) if len(shape) > 2 else (0, 0)
            info = item.id.get_chunk_info_by_coord(place)
            if info.byte_offset is None or not info.size:
                return ""
            mask, stored = item.id.read_direct_chunk(place)
            if mask == 0:
                return why_not_unpacked(stored, codec, tuple(shape[-2:]), item.dtype.name)
        _ = item[image] if len(shape) > 2 else item[()]
    except FAILURES as error:
        return short(error)
    return ""


def _codec(item: h5py.Dataset) -> str | None:
    """The compression, where one chunk is one image that the core can decode; None otherwise."""
    dtype, shape = item.dtype, item.shape
    little = dtype.byteorder == "|" or dtype.newbyteorder("=").newbyteorder("<") == dtype
    one_each = item.chunks == ((1, *shape[1:]) if len(shape) == 3 else shape)
    plist = item.id.get_create_plist()
    if dtype.name not in _NATIVE or not little or len(shape) > 3 or not one_each or plist.get_nfilters() != 1:
        return None
    number, _, values, _ = plist.get_filter(0)
    if number == _LZ4:
        return "lz4"
    # The values are (major, minor, element size, block size, compressor, ...).
    if number == _BITSHUFFLE and len(values) >= 5 and values[2] == dtype.itemsize:
        return _CODECS.get(values[4])
    return None


def _absent_filter(item: h5py.Dataset) -> str:
    plist = item.id.get_create_plist()
    for i in range(plist.get_nfilters()):
        number, _, _, name = plist.get_filter(i)
        if not h5py.h5z.filter_avail(number):
            return f"{number} ({name.decode('utf-8', 'replace')})" if name else str(number)
    return ""
