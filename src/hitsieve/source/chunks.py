"""Where the stored bytes of each image of one HDF5 dataset are, and whether the core can decode them."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from hitsieve.errors import SourceError
from hitsieve.model import Codec, DataFile
from hitsieve.source.access import damaged
from hitsieve.source.layout import NO_FAULT, Fault, Layout

BITSHUFFLE, LZ4 = 32008, 32004
BITSHUFFLE_CODECS: dict[int, Codec] = {2: "bslz4", 3: "bszstd"}
NATIVE = frozenset(["uint8", "int8", "uint16", "int16", "uint32", "int32"])

MOST_IMAGES = 10**9
"""No dataset holds as many; a damaged one may say that it does."""

NEVER_WRITTEN = Fault(True, "its chunk was never written")
PARTLY_WRITTEN = Fault(False, "some of its chunks were never written")
BEYOND_END = Fault(False, "its chunk lies beyond the end of the file (truncated)")


def frames(dataset: h5py.Dataset, path: Path) -> tuple[int, tuple[int, int]]:
    """Number of images and their (slow, fast) shape; a 2-D dataset is one image.

    Raises
    ------
    SourceError
        It has no images, or more than can be.
    """
    shape = dataset.shape
    if shape is None or len(shape) not in (2, 3):
        raise SourceError(
            f"{path}: {dataset.name} has shape {shape}, not (images, slow, fast)", mend="name a file with 2-D images"
        )
    n = shape[0] if len(shape) == 3 else 1
    if n > MOST_IMAGES:
        raise damaged(path, f"{dataset.name} says that it holds {n} images")
    return int(n), (int(shape[-2]), int(shape[-1]))


def native_type(dataset: h5py.Dataset, path: Path) -> np.dtype[np.generic]:
    """The dataset's type in the machine's byte order; SourceError unless it is an integer."""
    dtype: np.dtype[np.generic] = dataset.dtype
    if dtype.kind not in "iu":
        raise SourceError(
            f"{path}: {dataset.name} holds {dtype}; integer counts are needed", mend="name the file with raw counts"
        )
    return dtype.newbyteorder("=")


def is_one_a_chunk(dataset: h5py.Dataset) -> bool:
    """Whether each image is stored as one chunk of its own."""
    shape = dataset.shape
    return bool(dataset.chunks == ((1, *shape[1:]) if len(shape) == 3 else shape))


def codec_of(dataset: h5py.Dataset) -> Codec | None:
    """The compression, where one chunk is one image that the core can decode; None otherwise."""
    dtype = dataset.dtype
    little = dtype.byteorder == "|" or dtype.newbyteorder("=").newbyteorder("<") == dtype
    if dtype.name not in NATIVE or not little or dataset.chunks is None:
        return None
    if not is_one_a_chunk(dataset):
        return None
    plist = dataset.id.get_create_plist()
    if plist.get_nfilters() != 1:
        return None
    number, _, values, _ = plist.get_filter(0)
    if number == LZ4:
        return "lz4"
    # The values are (major, minor, element size, block size, compressor, ...).
    if number == BITSHUFFLE and len(values) >= 5 and values[2] == dtype.itemsize:
        return BITSHUFFLE_CODECS.get(values[4])
    return None


def index_dataset(dataset: h5py.Dataset, path: Path) -> Layout:
    """Index a dataset that stores its images itself (not a virtual one)."""
    n, shape = frames(dataset, path)
    dtype = native_type(dataset, path)
    codec = codec_of(dataset)
    offset = np.full(n, -1, dtype=np.int64)
    size = np.zeros(n, dtype=np.int64)
    fault = np.full(n, NO_FAULT, dtype=np.int32)
    if dataset.chunks is not None:
        rows, masks, offsets, sizes = _chunk_columns(dataset, path)
        if len(rows) and not (rows.min() >= 0 and rows.max() < n):
            raise damaged(path, f"{dataset.name} has chunks of images beyond its {n}")
        fault[:] = _unwritten(dataset, n, rows)
        if codec is not None and len(rows):
            base = _base_address(dataset, path)
            direct = masks == 0
            if base is not None:
                offset[rows[direct]], size[rows[direct]] = offsets[direct] + base, sizes[direct]
        if len(rows):
            end = path.stat().st_size
            fault[(offset >= 0) & (offset + size > end)] = 2
    elif dataset.id.get_storage_size() == 0:
        fault[:] = 0
    return Layout(
        shape=shape,
        dtype=dtype,
        files=(DataFile(path, str(dataset.name), n, codec),),
        file=np.zeros(n, dtype=np.int32),
        row=np.arange(n, dtype=np.int64),
        offset=offset,
        size=size,
        fault=fault,
        faults=(NEVER_WRITTEN, PARTLY_WRITTEN, BEYOND_END),
    )


Column = npt.NDArray[np.int64]


def _chunk_columns(dataset: h5py.Dataset, path: Path) -> tuple[Column, Column, Column, Column]:
    """First row, filter mask, byte offset and stored size of each written chunk."""
    found: list[h5py.h5d.StoreInfo] = []
    if hasattr(dataset.id, "chunk_iter"):
        dataset.id.chunk_iter(found.append)
    else:
        found = [dataset.id.get_chunk_info(i) for i in range(dataset.id.get_num_chunks())]
    stack = dataset.ndim == 3
    places = [(c.chunk_offset[0] if stack else 0, c.filter_mask, c.byte_offset, c.size) for c in found]
    try:
        columns = np.array(places, dtype=np.int64).reshape(-1, 4)
    except OverflowError:
        raise damaged(path, f"{dataset.name} has chunks beyond the end of any file") from None
    return columns[:, 0], columns[:, 1], columns[:, 2], columns[:, 3]


def _unwritten(dataset: h5py.Dataset, n: int, rows: Column) -> npt.NDArray[np.int32]:
    """Fault number of each image: 0 where no chunk of it was written, 1 where some were not."""
    extent, chunk = (
        (dataset.shape, dataset.chunks) if dataset.ndim == 3 else ((1, *dataset.shape), (1, *dataset.chunks))
    )
    expected = -(-extent[1] // chunk[1]) * -(-extent[2] // chunk[2])
    written = np.bincount(rows // chunk[0], minlength=-(-n // chunk[0]))
    per_image = np.repeat(written, chunk[0])[:n]
    return np.where(per_image == 0, 0, np.where(per_image < expected, 1, NO_FAULT)).astype(np.int32)


def _base_address(dataset: h5py.Dataset, path: Path) -> int | None:
    """What to add to HDF5's chunk offsets to get offsets in the file.

    Libraries differ in whether the offsets count from the start of the file or from the end of its user block;
    the bytes themselves decide.
    """
    block = int(dataset.file.userblock_size)
    if block == 0:
        return 0
    first = dataset.id.get_chunk_info(0)
    _, stored = dataset.id.read_direct_chunk(first.chunk_offset)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        for base in (0, block):
            if os.pread(descriptor, len(stored), first.byte_offset + base) == stored:
                return base
    finally:
        os.close(descriptor)
    return None
