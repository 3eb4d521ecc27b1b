"""The file under an HDF5 output."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer


class OutputStream(io.RawIOBase):
    """A file that goes on taking bytes after a write has failed, and remembers the failure.

    HDF5 cannot close a file whose metadata it cannot write: it crashes the process. So it never hears of the
    failure: from then on what it writes is kept in memory, where it can read it again. Whoever uses the stream calls
    `check` often and gives the file up.

    Parameters
    ----------
    path : Path
        File to make.

    Raises
    ------
    OSError
        It cannot be made, or exists (EEXIST).
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.failure: BaseException | None = None
        self._unwritten: list[tuple[int, bytes]] = []
        self._place = 0
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)

    def readable(self) -> bool:
        """Say yes."""
        return True

    def writable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def tell(self) -> int:
        """Give the place in the file."""
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place in the file."""
        if whence == os.SEEK_END:
            offset += os.fstat(self._handle).st_size
        self._place = offset + (self._place if whence == os.SEEK_CUR else 0)
        return self._place

    def readinto(self, buffer: Buffer) -> int:
        """Fill the buffer; gives the number of bytes read."""
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view):
            got = os.preadv(self._handle, [view[done:]], self._place + done)
            if got == 0:
                break
            done += got
        if self._unwritten:
            view[done:] = bytes(len(view) - done)
            done = len(view)
            for start, kept in self._unwritten:
                first, last = max(start, self._place), min(start + len(kept), self._place + done)
                if first < last:
                    view[first - self._place : last - self._place] = kept[first - start : last - start]
        self._place += done
        return done

    def write(self, data: Buffer) -> int:
        """Take all bytes, even where they cannot be written."""
        view = memoryview(data).cast("B")
        done = 0
        try:
            while done < len(view) and self.failure is None:
                done += os.pwrite(self._handle, view[done:], self._place + done)
        except BaseException as error:  # noqa: BLE001  Ctrl-C as well: `check` raises it outside of HDF5
            self.failure = error
        if done < len(view):
            self._unwritten.append((self._place + done, bytes(view[done:])))
        self._place += len(view)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Set the size of the file."""
        size = self._place if size is None else size
        if self.failure is None:
            try:
                os.ftruncate(self._handle, size)
            except OSError as error:
                self.failure = error
        return size

    def check(self) -> None:
        """Raise what has made a write fail."""
        if self.failure is not None:
            raise self.failure

    def close(self) -> None:
        """Close the file and forget what could not be written."""
        if not self.closed:
            super().close()
            self._unwritten.clear()
            os.close(self._handle)
