"""Some rows of an array, as an array of its own; what is packed is packed by all cores."""

from __future__ import annotations

import os
import zlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

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
    """Write chunk by chunk: HDF5 packs with one core, and packing is most of the work."""
    assert made.chunks is not None  # noqa: S101 - asked by the caller
    n, rest = made.chunks[0], (0,) * (made.ndim - 1)
    level = made.id.get_create_plist().get_filter(1)[2][0]
    workers = min(_MOST_WORKERS, len(os.sched_getaffinity(0)))
    waiting: deque[tuple[int, Future[bytes]]] = deque()

    def write_first() -> None:
        start, packed = waiting.popleft()
        made.id.write_direct_chunk((start, *rest), packed.result())
        stream.check()

    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(rows), n):
            values = np.full((n, *made.shape[1:]), made.fillvalue, made.dtype)
            some = rows[start : start + n]
            values[: len(some)] = read_rows(source, some)
            waiting.append((start, pool.submit(_pack, values, level)))
            if len(waiting) > 2 * workers:
                write_first()
        while waiting:
            write_first()


def _pack(values: npt.NDArray[np.generic], level: int) -> bytes:
    """Bytes of a chunk: the first bytes of all numbers, then the second ones, ...; deflated."""
    planes = values.reshape(-1, 1).view(np.uint8).T
    return zlib.compress(planes.tobytes(), level)
