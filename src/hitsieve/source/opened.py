"""An opened run: its description, and access to the bytes and pixels of each image."""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path
from threading import Lock

import h5py
import numpy as np
import numpy.typing as npt

from hitsieve.errors import SourceError
from hitsieve.model import Closing, DataFile, Run
from hitsieve.source.access import open_hdf5
from hitsieve.source.chunks import is_one_a_chunk
from hitsieve.source.images import read_pixels

MAX_OPEN = 32
"""Files kept open at a time, of each kind."""


class OpenedRun(Closing):
    """A run whose images can be read; close it, or use it in a `with` statement. Safe to share between threads."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._lock = Lock()
        self._descriptors: OrderedDict[Path, int] = OrderedDict()
        self._hdf5: OrderedDict[Path, h5py.File] = OrderedDict()

    def stored(self, i: int) -> bytes:
        """Stored bytes of image i: one HDF5 chunk, still compressed.

        Raises
        ------
        SourceError
            The image is not there, or is not stored as one chunk that can be read directly.
        """
        file = self._file(i)
        offset, size = int(self.run.images.offset[i]), int(self.run.images.size[i])
        if offset < 0:
            raise SourceError(
                f"{file.path}: image {i} is not stored as one chunk that can be read directly", mend="use its pixels"
            )
        with self._lock:
            try:
                stored = os.pread(self._descriptor(file.path), size, offset)
            except OSError as error:
                raise SourceError(
                    f"{file.path}: image {i} cannot be read: {error.strerror}", mend="check the file system"
                ) from None
        if len(stored) != size:
            raise SourceError(
                f"{file.path}: image {i} is cut short ({len(stored)} of {size} bytes)",
                mend="copy the file again from its origin",
            )
        return stored

    def chunk(self, i: int) -> bytes | None:
        """Stored bytes of image i, whatever its compression; None where it is not stored as one compressed HDF5 chunk.

        Raises
        ------
        SourceError
            The image is not there, or cannot be read.
        """
        file = self._file(i)
        if self.run.images.offset[i] >= 0:
            return self.stored(i)
        return self._library_chunk(file, int(self.run.images.row[i]), i) if file.dataset else None

    def salvaged(self, i: int) -> bytes:
        """Stored bytes of an image that cannot be decoded: its chunk, or all of its file where that holds no other.

        Empty where there is no such chunk or file, or not the whole of it.
        """
        images = self.run.images
        number, offset, size = (int(column[i]) for column in (images.file, images.offset, images.size))
        if i in images.missing or number < 0:
            return b""
        file = self.run.files[number]
        try:
            if offset >= 0:
                with self._lock:
                    stored = os.pread(self._descriptor(file.path), size, offset)
                return stored if len(stored) == size else b""
            if file.dataset:
                return self._library_chunk(file, int(images.row[i]), i) or b""
            return file.path.read_bytes() if file.n_images == 1 else b""
        except (OSError, SourceError):
            return b""

    def pixels(self, i: int) -> npt.NDArray[np.generic]:
        """Counts of image i, shape (slow, fast), in the run's type, unpacked by the format's own library.

        Raises
        ------
        SourceError
            The image is not there, cannot be decoded, or is not like the run's other images.
        """
        file = self._file(i)
        row = int(self.run.images.row[i])
        values = self._hdf5_pixels(file, row, i) if file.dataset else read_pixels(file.path, row)
        if values.shape != self.run.detector.shape or values.dtype.newbyteorder("=") != self.run.dtype:
            raise SourceError(
                f"{file.path}: image {i} is {values.dtype} {values.shape}, the run is {self.run.dtype} "
                f"{self.run.detector.shape}",
                mend="open files of different detectors one by one",
            )
        return values.astype(self.run.dtype, copy=False)

    def close(self) -> None:
        """Close all files."""
        with self._lock:
            while self._descriptors:
                os.close(self._descriptors.popitem()[1])
            while self._hdf5:
                self._hdf5.popitem()[1].close()

    def _file(self, i: int) -> DataFile:
        images = self.run.images
        if not 0 <= i < len(images):
            raise SourceError(f"{self.run.path}: has no image {i}, only {len(images)}", mend="count from 0")
        for state, reasons in (("missing", images.missing), ("unreadable", images.unreadable)):
            if i in reasons:
                raise SourceError(f"{self.run.path}: image {i} is {state}: {reasons[i]}")
        return self.run.files[int(images.file[i])]

    def _descriptor(self, path: Path) -> int:
        if path in self._descriptors:
            self._descriptors.move_to_end(path)
            return self._descriptors[path]
        if len(self._descriptors) >= MAX_OPEN:
            os.close(self._descriptors.popitem(last=False)[1])
        self._descriptors[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return self._descriptors[path]

    def _hdf5_file(self, path: Path) -> h5py.File:
        if path in self._hdf5:
            self._hdf5.move_to_end(path)
        else:
            if len(self._hdf5) >= MAX_OPEN:
                self._hdf5.popitem(last=False)[1].close()
            self._hdf5[path] = open_hdf5(path)
        return self._hdf5[path]

    def _library_chunk(self, file: DataFile, row: int, i: int) -> bytes | None:
        with self._lock:
            handle = self._hdf5_file(file.path)
            try:
                dataset = handle[file.dataset]
                if not is_one_a_chunk(dataset) or not dataset.id.get_create_plist().get_nfilters():
                    return None
                skipped, stored = dataset.id.read_direct_chunk((row, 0, 0) if dataset.ndim == 3 else (0, 0))
            except (OSError, KeyError, ValueError, RuntimeError) as error:
                raise SourceError(
                    f"{file.path}: image {i} (row {row}) cannot be read: {' '.join(str(error).split())}",
                    mend="copy the file again from its origin",
                ) from None
        # A filter that was left out of one chunk alone cannot be told to another dataset.
        return bytes(stored) if skipped == 0 else None

    def _hdf5_pixels(self, file: DataFile, row: int, i: int) -> npt.NDArray[np.generic]:
        with self._lock:
            handle = self._hdf5_file(file.path)
            try:
                dataset = handle[file.dataset]
                return np.asarray(dataset[row] if dataset.ndim == 3 else dataset[()])
            except (OSError, KeyError, ValueError, RuntimeError) as error:
                raise SourceError(
                    f"{file.path}: image {i} (row {row}) cannot be decoded: {' '.join(str(error).split())}",
                    mend="copy the file again from its origin",
                ) from None
