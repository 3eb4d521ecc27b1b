"""Copies finished files, with others made of their hashes, into one folder or zip archive: whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from hitsieve.errors import OutputError, SourceError
from hitsieve.write.atomic import OutputFiles, writing

BLOCK = 1 << 22
"""Bytes that are copied at once."""
MARGIN = 1 << 20
"""Bytes that a pack needs besides the files that are copied: the small files and the tables of an archive."""
ZIP = ".zip"
_OTHER = "choose another folder or file with --output"


@dataclass(frozen=True, slots=True)
class Packed:
    """A file as it is in the pack."""

    name: str
    size: int
    """Bytes."""
    sha256: str
    """Hexadecimal."""


class _Place(Protocol):
    """Where the bytes of one file go."""

    def write(self, data: bytes, /) -> int: ...


class Pack:
    """Takes files, one after another.

    Parameters
    ----------
    place : callable
        Gives where the bytes of a file of a name go, in a `with` statement.
    check : callable
        Raises OutputError where a write has failed.
    """

    def __init__(self, place: Callable[[str], AbstractContextManager[_Place]], check: Callable[[str], None]) -> None:
        self._place = place
        self._check = check
        self.files: list[Packed] = []
        """What was taken, in order."""

    def copy(self, path: Path, step: Callable[[int], None] | None = None) -> Packed:
        """Take a file under its name; `step` is called with the number of bytes of each block.

        Raises
        ------
        SourceError
            It cannot be read, or changes meanwhile.
        OutputError
            It cannot be written.
        """
        try:
            before = path.stat()
            packed = self._take(path.name, _blocks(path), step)
            after = path.stat()
        except OSError as error:
            raise SourceError(f"{path}: cannot be read: {error.strerror}", mend="check its permissions") from error
        if packed.size != before.st_size or (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
            raise SourceError(f"{path}: has changed while it was copied", mend="wait until nothing writes to it")
        return packed

    def add(self, name: str, content: bytes) -> Packed:
        """Take bytes under a name.

        Raises
        ------
        OutputError
            They cannot be written.
        """
        return self._take(name, (content,), None)

    def _take(self, name: str, blocks: Iterable[bytes], step: Callable[[int], None] | None) -> Packed:
        digest, size = hashlib.sha256(), 0
        with self._place(name) as place:
            for block in blocks:
                place.write(block)
                self._check(name)
                digest.update(block)
                size += len(block)
                if step is not None:
                    step(len(block))
        self._check(name)
        packed = Packed(name, size, digest.hexdigest())
        self.files.append(packed)
        return packed


@dataclass(frozen=True, slots=True)
class PackRequest:
    """Where a pack goes, and what it will hold."""

    target: Path
    """Folder, or zip archive (*.zip)."""
    copied: tuple[Path, ...]
    """Files that will be copied, for the space that they need."""
    added: tuple[str, ...]
    """Names of the files besides."""
    date: datetime
    """That the files of an archive are given."""
    overwrite: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """All files of the pack."""
        return (*(path.name for path in self.copied), *self.added)

    @property
    def is_zip(self) -> bool:
        """Whether it is an archive."""
        return self.target.suffix.lower() == ZIP


@contextmanager
def packing(request: PackRequest, inputs: Iterable[Path]) -> Iterator[Pack]:
    """Make a pack; it becomes visible when the block ends without an error, else nothing is left.

    Parameters
    ----------
    request : PackRequest
    inputs : iterable of Path
        Files that must never be written.

    Raises
    ------
    OutputError
        It exists, its folder holds other files, there is not enough space, or it cannot be written.
    """
    _check_place(request)
    finals = [request.target] if request.is_zip else [request.target / name for name in request.names]
    with OutputFiles(finals, overwrite=request.overwrite, inputs=inputs) as files:
        _check_space(request)
        with (_zipped if request.is_zip else _beside)(files, request) as pack:
            yield pack


def _check_place(request: PackRequest) -> None:
    """Refuse a folder with files that would not be of the pack."""
    target = request.target
    if request.is_zip:
        return
    if target.is_dir():
        with writing(target):
            strange = sorted(file.name for file in target.iterdir() if file.name not in request.names)
        if strange:
            left = f"remove what a call that was killed left, or {_OTHER}" if strange[0].endswith(".tmp") else _OTHER
            raise OutputError(f"{target}: holds other files, such as {strange[0]}", mend=left)


def _check_space(request: PackRequest) -> None:
    """Refuse what the disk has no place for, before it is filled."""
    needed = MARGIN + sum(path.stat().st_size for path in request.copied)
    folder = request.target.parent if request.is_zip else request.target
    with writing(request.target):
        free = shutil.disk_usage(folder).free
    if needed > free:
        what = f"{request.target}: needs {needed / 1e6:,.0f} MB, {free / 1e6:,.0f} MB are free"
        raise OutputError(what, mend=f"free some space, or {_OTHER}")


@contextmanager
def _beside(files: OutputFiles, request: PackRequest) -> Iterator[Pack]:
    """Each file by itself."""

    @contextmanager
    def place(name: str) -> Iterator[_Place]:
        yield files.open(request.target / name)

    yield Pack(place, lambda name: files.check(request.target / name))


@contextmanager
def _zipped(files: OutputFiles, request: PackRequest) -> Iterator[Pack]:
    """All files in one archive, as they are: the images are compressed already."""
    # ZIP knows no time before 1980.
    date = max(request.date.timetuple()[:6], (1980, 1, 1, 0, 0, 0))
    stream = files.open(request.target)
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:

        def place(name: str) -> AbstractContextManager[_Place]:
            member = zipfile.ZipInfo(name, date)
            member.external_attr = 0o644 << 16
            return archive.open(member, "w", force_zip64=True)

        yield Pack(place, lambda _: files.check(request.target))


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        while block := file.read(BLOCK):
            yield block
