"""Images stored one a chunk, their bytes verbatim from the source."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import numpy.typing as npt

from hitsieve.errors import SourceError
from hitsieve.model import Run
from hitsieve.write.attributes import copy_attributes
from hitsieve.write.columns import TEXT
from hitsieve.write.hashing import Hasher
from hitsieve.write.places import absolute_names, open_source
from hitsieve.write.stream import OutputStream
from hitsieve.write.virtual import absent_value

BITSHUFFLE = 32008
_LOSSLESS = frozenset({1, 2, 3, 32000, 32001, 32004, BITSHUFFLE, 32015, 32026})
"""Filters that lose nothing: deflate, shuffle, Fletcher's checksum, LZF, Blosc, LZ4, bitshuffle, zstd, Blosc2."""
_GROWTH = 256

Filters = tuple[tuple[int, tuple[int, ...]], ...]


def filters_of(dataset: h5py.Dataset) -> Filters:
    """(number, options) of each filter of a dataset, in order."""
    plist = dataset.id.get_create_plist()
    found = (plist.get_filter(i) for i in range(plist.get_nfilters()))
    return tuple((int(code), tuple(int(option) for option in options)) for code, _, options, _ in found)


class ImageChunks:
    """A growing dataset (n, slow, fast) with one image a chunk.

    Its type, filters and attributes are those of the run's first dataset that has one image a chunk, compressed without
    loss; images that come as pixels, or in another form of compression, are packed anew. Without such a dataset images
    are packed with bitshuffle and LZ4.

    Parameters
    ----------
    group : h5py.Group
        Where the dataset is made.
    run : Run
        The source.
    stream : OutputStream
        The file of the group.
    """

    def __init__(self, group: h5py.Group, run: Run, stream: OutputStream) -> None:
        self._run = run
        self._stream = stream
        self._source_filters: dict[int, Filters | None] = {}
        self._dataset = self._create(group)
        self._filters = filters_of(self._dataset)
        self._n = self._room = 0
        # Of millions of images, a few bytes each.
        self._images = array("q")
        self._verbatim = bytearray()
        self._hasher = Hasher()
        self.stored_bytes = 0

    def __len__(self) -> int:
        return self._n

    def _create(self, group: h5py.Group) -> h5py.Dataset:
        shape = self._run.detector.shape
        for file in self._run.files:
            if not file.dataset:
                continue
            try:
                with open_source(file.path) as handle:
                    if _can_be_cloned(handle[file.dataset]):
                        return clone_dataset(group, handle[file.dataset], shape)
            except (OSError, KeyError, RuntimeError, ValueError):
                continue
        return group.create_dataset(
            "data",
            shape=(0, *shape),
            maxshape=(None, *shape),
            dtype=self._run.dtype,
            chunks=(1, *shape),
            fillvalue=absent_value(self._run.dtype),
            **hdf5plugin.Bitshuffle(cname="lz4"),
        )

    def add(self, image: int, stored: bytes | npt.NDArray[Any]) -> None:
        """Append one image of the run, as stored bytes or as pixels."""
        place = self._n
        if place >= self._room:
            self._dataset.resize(place + _GROWTH, axis=0)
            self._room = place + _GROWTH
        if isinstance(stored, bytes) and self.fits(image):
            verbatim, chunk = True, stored
            self._dataset.id.write_direct_chunk((place, 0, 0), chunk)
        else:
            verbatim = False
            self._dataset[place] = self._pixels(image) if isinstance(stored, bytes) else stored
            chunk = self._dataset.id.read_direct_chunk((place, 0, 0))[1]
        self._stream.check()
        self._n += 1
        self._images.append(image)
        self._hasher.add(chunk)
        self._verbatim.append(verbatim)
        self.stored_bytes += len(chunk)

    def fits(self, image: int) -> bool:
        """Whether the stored bytes of an image of the run mean the same in this dataset."""
        number = int(self._run.images.file[image])
        if number not in self._source_filters:
            file = self._run.files[number]
            try:
                with open_source(file.path) as handle:
                    dataset = handle[file.dataset]
                    same = dataset.dtype == self._dataset.dtype
                    self._source_filters[number] = filters_of(dataset) if same else None
            except (OSError, KeyError):
                self._source_filters[number] = None
        return self._source_filters[number] == self._filters

    def _pixels(self, image: int) -> npt.NDArray[Any]:
        table = self._run.images
        file, row = self._run.files[table.file[image]], int(table.row[image])
        try:
            with open_source(file.path) as handle:
                dataset = handle[file.dataset]
                pixels: npt.NDArray[Any] = dataset[row] if dataset.ndim == 3 else dataset[()]
        except (OSError, KeyError) as error:
            raise SourceError(
                f"{file.path}: image {image} (row {row}) cannot be read: {error}",
                mend="see that the file did not change",
            ) from error
        return pixels

    @property
    def images(self) -> npt.NDArray[np.int64]:
        """Image (index in the run) of each chunk."""
        return np.array(self._images, dtype=np.int64)

    @property
    def verbatim(self) -> npt.NDArray[np.bool_]:
        """Whether each chunk was copied as it was stored."""
        return np.array(self._verbatim, dtype=np.uint8).astype(np.bool_)

    @property
    def hashes(self) -> npt.NDArray[np.bytes_]:
        """SHA-256 of each stored chunk, in hexadecimal."""
        return self._hasher.digests()

    def close(self) -> None:
        """Cut the dataset to the images that were added."""
        self._dataset.resize(self._n, axis=0)
        self._hasher.close()

    def abandon(self) -> None:
        """End what works in the background."""
        self._hasher.abandon()


def _can_be_cloned(dataset: h5py.Dataset) -> bool:
    """Whether its chunks are images, packed by filters that lose nothing and mean the same in another file."""
    codes = {code for code, _ in filters_of(dataset)}
    whole = dataset.chunks == ((1, *dataset.shape[1:]) if dataset.ndim == 3 else dataset.shape)
    return whole and bool(codes) and codes <= _LOSSLESS


def clone_dataset(
    group: h5py.Group, source: h5py.Dataset, shape: tuple[int, int], fill: Any | None = None
) -> h5py.Dataset:
    """Make the empty dataset `data` (0, slow, fast) with the type, filters and attributes of another one.

    Its fill value is that of the other, or, where that defines none, `fill`.
    """
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((1, *shape))
    # The same images give the same bytes, whenever they are written.
    plist.set_obj_track_times(False)
    original = source.id.get_create_plist()
    for i in range(original.get_nfilters()):
        code, flags, options, _ = original.get_filter(i)
        # Bitshuffle puts version and element size before the options that it is given.
        plist.set_filter(code, flags, options[3:] if code == BITSHUFFLE else options)
    if original.fill_value_defined() == h5py.h5d.FILL_VALUE_USER_DEFINED:
        value = np.empty((), dtype=source.dtype)
        original.get_fill_value(value)
        plist.set_fill_value(value)
    elif fill is not None:
        plist.set_fill_value(np.array(fill, dtype=source.dtype))
    space = h5py.h5s.create_simple((0, *shape), (h5py.h5s.UNLIMITED, *shape))
    made = h5py.Dataset(h5py.h5d.create(group.id, b"data", source.id.get_type().copy(), space, plist))
    copy_attributes(source, made)
    return made


def write_file_table(group: h5py.Group, run: Run) -> None:
    """Tables of the run's files and of the datasets in them, to which `source_file` refers, and what the user named."""
    files = group.create_dataset("source_files", data=absolute_names(file.path for file in run.files), dtype=TEXT)
    files.attrs["description"] = "files that hold images of the run, absolute"
    datasets = group.create_dataset("source_datasets", data=[file.dataset for file in run.files], dtype=TEXT)
    datasets.attrs["description"] = "dataset in each of source_files; empty for formats that are not HDF5"
    named = group.create_dataset("source_paths", data=absolute_names(run.named or [run.path]), dtype=TEXT)
    named.attrs["description"] = "what the user named to open the run: a master file, or data files or images; absolute"


def write_provenance(group: h5py.Group, run: Run, chunks: ImageChunks) -> None:
    """Where each chunk comes from, and its SHA-256."""
    images = chunks.images
    described: Sequence[tuple[str, Any, str]] = (
        ("source_image", images, "index of the image in the run, from 0"),
        ("source_file", run.images.file[images], "index in source_files and source_datasets of /entry/hit_finding"),
        ("source_row", run.images.row[images], "row in the source dataset"),
        ("sha256", chunks.hashes, "SHA-256 of the stored (compressed) chunk, hexadecimal"),
        ("verbatim", chunks.verbatim, "the stored chunk is the source's, byte by byte"),
    )
    for name, values, description in described:
        group.create_dataset(name, data=values).attrs["description"] = description
