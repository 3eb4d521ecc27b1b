"""Some rows of an array, as an array of its own; what is packed is packed by all cores."""

from __future__ import annotations

import os
import zlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from math import prod

import h5py
import numpy as np
import numpy.typing as npt

from hitsieve.write.perimage import Index, make_like, read_rows, row_blocks, row_bytes
from hitsieve.write.stream import OutputStream

_MOST_WORKERS = 8
_PACKED = [h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE]


def write_rows(source: h5py.Dataset, output: h5py.File, stream: OutputStream, rows: Index) -> None:
    """Write some rows of an array to the same place of another file.

    Parameters
    ----------
    source : h5py.Dataset
        At least one-dimensional.
    output : h5py.File
    stream : OutputStream
        The file under it.
    rows : int64, shape (k,)
        In the order that they are written in.
    """
    made = make_like(output, str(source.name), source, (len(rows), *source.shape[1:]))
    if len(rows) and _is_packed(made):
        _write_packed(source, made, stream, rows)
        return
    for start, stop in row_blocks(len(rows), row_bytes(source)):
        made[start:stop] = read_rows(source, rows[start:stop])
        stream.check()


def _is_packed(made: h5py.Dataset) -> bool:
    """Whether chunks are whole rows of numbers, shuffled and deflated, as peak lists are."""
    if made.chunks is None or made.chunks[1:] != made.shape[1:] or made.dtype.kind not in "iuf":
        return False
    plist = made.id.get_create_plist()
    return [plist.get_filter(i)[0] for i in range(plist.get_nfilters())] == _PACKED


def _write_packed(source: h5py.Dataset, made: h5py.Dataset, stream: OutputStream, rows: Index) -> None:
    """Write chunk by chunk: HDF5 packs with one core, and packing is most of the work.

    Chunks of which all rows are wanted, in their order, are copied as they are.
    """
    assert made.chunks is not None  # noqa: S101 - asked by the caller
    n, rest = made.chunks[0], (0,) * (made.ndim - 1)
    level = made.id.get_create_plist().get_filter(1)[2][0]
    workers = min(_MOST_WORKERS, len(os.sched_getaffinity(0)))
    waiting: deque[tuple[int, Future[bytes]]] = deque()
    is_alike = source.chunks == made.chunks and source.dtype == made.dtype and _is_packed(source)

    def write_first() -> None:
        start, packed = waiting.popleft()
        made.id.write_direct_chunk((start, *rest), packed.result())
        stream.check()

    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(rows), n):
            some = rows[start : start + n]
            stored = _stored(source, some) if is_alike else None
            if stored is not None:
                waiting.append((start, pool.submit(_proven, stored, made.dtype.itemsize * prod(made.chunks))))
            else:
                values = np.full((n, *made.shape[1:]), made.fillvalue, made.dtype)
                values[: len(some)] = read_rows(source, some)
                waiting.append((start, pool.submit(_pack, values, level)))
            if len(waiting) > 2 * workers:
                write_first()
        while waiting:
            write_first()


def _stored(source: h5py.Dataset, rows: Index) -> bytes | None:
    """The stored chunk that holds just these rows; None where there is none, or not with all filters."""
    n, first = source.chunks[0], int(rows[0])
    if first % n or not np.array_equal(rows, np.arange(first, first + n)):
        return None
    place = (first, *(0,) * (source.ndim - 1))
    if source.id.get_chunk_info_by_coord(place).byte_offset is None:
        return None
    mask, stored = source.id.read_direct_chunk(place)
    return None if mask else bytes(stored)


def _proven(stored: bytes, size: int) -> bytes:
    """A chunk as it is, once it was seen that it can be unpacked: damage is not handed on."""
    unpacking = zlib.decompressobj()
    try:
        found = len(unpacking.decompress(stored, size + 1))
    except zlib.error as error:
        raise ValueError(f"a chunk cannot be unpacked: {error}") from None
    if found != size or not unpacking.eof:
        raise ValueError(f"a chunk has not {size:,} bytes")
    return stored


def _pack(values: npt.NDArray[np.generic], level: int) -> bytes:
    """Bytes of a chunk: the first bytes of all numbers, then the second ones, ...; deflated."""
    planes = values.reshape(-1, 1).view(np.uint8).T
    return zlib.compress(planes.tobytes(), level)
