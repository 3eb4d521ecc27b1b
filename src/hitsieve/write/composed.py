"""A file that is never stored whole: its metadata are, and its images are read from another file when it is read."""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from hitsieve.errors import SourceError
from hitsieve.model import Closing
from hitsieve.write.stream import OutputStream

if TYPE_CHECKING:
    from typing_extensions import Buffer

_PIECE = 1 << 20
_MARK = 16
"""Bytes by which an image that is left out is known."""


class ImagelessStream(OutputStream):
    """The file under an HDF5 output of which the stored images are left out: only their places are kept.

    It has no name, lies in the folder for temporary files, and takes as much space as the metadata.

    Raises
    ------
    OSError
        It cannot be made.
    """

    def __init__(self) -> None:
        aside = Path(tempfile.gettempdir()) / f".hitsieve.{secrets.token_hex(8)}.tmp"
        super().__init__(aside)
        aside.unlink()
        # No metadata begin so.
        self._mark = secrets.token_bytes(_MARK)
        self._stand_in = memoryview(self._mark)
        self._expected = -1
        self.places: list[int] = []
        """Where each image that was left out begins."""

    def stand_in(self, size: int) -> memoryview:
        """So many bytes to be written in place of an image: they are left out."""
        if size > len(self._stand_in):
            self._stand_in = memoryview(self._mark + bytes(size - _MARK))
        self._expected = size
        return self._stand_in[:size]

    def write(self, data: Buffer) -> int:
        """Take all bytes, and note the place of those that are left out."""
        view = memoryview(data).cast("B")
        if len(view) != self._expected or view[:_MARK] != self._mark[: len(view)]:
            return super().write(data)
        self._expected = -1
        self.places.append(self.tell())
        self.seek(len(view), os.SEEK_CUR)
        return len(view)

    def part(self, start: int, stop: int) -> bytes:
        """Bytes start to stop, where no image lies; may be called from several threads."""
        found = bytearray()
        while len(found) < stop - start:
            piece = os.pread(self._handle, stop - start - len(found), start + len(found))
            if not piece:
                raise OSError("the metadata of the file are cut short")
            found += piece
        return bytes(found)


@dataclass(frozen=True, slots=True)
class StoredImages:
    """Where the stored bytes of some images are in one file, in the order that they are wanted in."""

    path: Path
    offset: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]
    sha256: npt.NDArray[np.bytes_]
    """In hexadecimal."""

    def identity(self) -> tuple[int, int, int, int]:
        """What tells the file from another one of this name, or from itself after a change.

        Raises
        ------
        SourceError
            It is not there.
        """
        try:
            found = self.path.stat()
        except OSError as error:
            raise SourceError(f"{self.path}: cannot be read: {error.strerror}", mend="bring it back") from error
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


class ComposedFile(Closing):
    """The bytes of a file, made of its metadata and of images of another file; close it, or use it in `with`.

    The same choice of the same images gives the same bytes.

    Parameters
    ----------
    stream : ImagelessStream
        The file, complete but for its images; closed with this object.
    images : StoredImages
        Those that were left out, in that order.
    identity : tuple
        Of the file of the images when the stream was made.
    """

    def __init__(self, stream: ImagelessStream, images: StoredImages, identity: Sequence[int]) -> None:
        self._stream = stream
        self._images = images
        self._identity = tuple(identity)
        self.size = stream.seek(0, os.SEEK_END)
        """Bytes of the whole file."""
        # HDF5 gives images places in any order.
        self._order = np.argsort(np.array(stream.places, dtype=np.int64), kind="stable")
        self._starts = np.array(stream.places, dtype=np.int64)[self._order].tolist()
        digest = hashlib.sha256()
        for piece in self._metadata():
            digest.update(piece)
        self.tag = digest.hexdigest()
        """Tells one such file from another: the metadata have the SHA-256 of each image."""

    def __len__(self) -> int:
        return len(self._starts)

    def close(self) -> None:
        """Forget the metadata."""
        self._stream.close()

    def _end(self, number: int) -> int:
        return int(self._starts[number] + self._images.size[self._order[number]])

    def _metadata(self) -> Iterator[bytes]:
        place = 0
        for number, start in enumerate([*self._starts, self.size]):
            yield from self._between(place, start)
            place = self._end(number) if number < len(self) else start

    def _between(self, start: int, stop: int) -> Iterator[bytes]:
        for at in range(start, stop, _PIECE):
            yield self._stream.part(at, min(at + _PIECE, stop))

    def check(self) -> None:
        """See that the file of the images is as it was.

        Raises
        ------
        SourceError
            It is not there any more, or has changed.
        """
        if self._images.identity() != self._identity:
            raise SourceError(f"{self._images.path}: has changed since the choice was made", mend="choose again")

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Bytes start to stop, in pieces; several may read at a time, each from a thread of its own.

        Raises
        ------
        SourceError
            The file of the images is not there any more, has changed or is damaged: what came before is right, and is
            no whole file.
        """
        self.check()
        place, end = start, self.size if stop is None else stop
        with self._opened() as handle:
            number = max(0, bisect_right(self._starts, place) - 1)
            while place < end:
                while number < len(self) and self._end(number) <= place:
                    number += 1
                first = self._starts[number] if number < len(self) else self.size
                if place < first:
                    for piece in self._between(place, min(first, end)):
                        yield piece
                        place += len(piece)
                    continue
                image = self._image(handle.fileno(), int(self._order[number]))
                piece = image[place - first : end - first]
                yield piece
                place += len(piece)

    def _opened(self) -> BinaryIO:
        try:
            return cast("BinaryIO", self._images.path.open("rb", buffering=0))
        except OSError as error:
            raise SourceError(f"{self._images.path}: cannot be read: {error.strerror}", mend="bring it back") from error

    def _image(self, handle: int, row: int) -> bytes:
        """Stored bytes of an image, which agree with their hash."""
        offset, size = int(self._images.offset[row]), int(self._images.size[row])
        found = b""
        try:
            while len(found) < size and (piece := os.pread(handle, size - len(found), offset + len(found))):
                found += piece
        except OSError as error:
            raise SourceError(f"{self._images.path}: cannot be read: {error.strerror}", mend="copy it again") from error
        if hashlib.sha256(found).hexdigest().encode() != self._images.sha256[row]:
            raise SourceError(
                f"{self._images.path}: image {row} of the choice does not agree with its SHA-256",
                mend="see with hitsieve verify whether the file is damaged, and copy it again",
            )
        return found
