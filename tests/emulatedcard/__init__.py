"""The kernels on an ordinary processor: the text that cards get, compiled with what CUDA would give it."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from hitsieve.cards import Bytes, Kernels, OutOfMemoryError
from hitsieve.spots.gpu.kernels import kernels_for

HERE = Path(__file__).parent
GUARD = 256
"""Bytes before and behind each room, which no kernel may touch."""
UNUSED = 0xA5
"""What memory holds before it is written."""


def compiled(dtype: str, lanes: int) -> ctypes.PyDLL:
    """The kernels of the spot finder for a pixel type as a library."""
    return library_of(kernels_for(dtype), lanes)


@cache
def library_of(kernels: Kernels, lanes: int) -> ctypes.PyDLL:
    """Some kernels as a library."""
    library = built(kernels, lanes, Path(mkdtemp(prefix="hitsieve-kernels-")))
    loaded = load(library)
    library.unlink()
    library.parent.rmdir()
    return loaded


def load(library: Path) -> ctypes.PyDLL:
    """What was built."""
    # With the interpreter locked: the emulated threads of a library share the numbers that say which of them runs.
    return ctypes.PyDLL(str(library))


def built(kernels: Kernels, lanes: int, folder: Path) -> Path:
    """Have the compiler make the library."""
    compiler = os.environ.get("CXX", "c++")
    if shutil.which(compiler) is None:
        pytest.skip(f"no C++ compiler {compiler}: the kernels cannot be emulated")
    library, text = folder / "kernels.so", folder / "kernels.cu"
    text.write_text(kernels.text, encoding="utf-8")
    options = ["-std=c++17", "-O1", "-ffp-contract=off", "-fwrapv", "-shared", "-fPIC", "-Wno-unknown-pragmas"]
    defines = [*(f"-D{define}" for define in kernels.defines), f"-DLANES={lanes}", f'-DKERNELS="{text}"']
    subprocess.run([compiler, *options, *defines, str(HERE / "emulation.cpp"), "-o", str(library)], check=True)
    text.unlink()
    return library


class Room:
    """Memory between guards."""

    def __init__(self, n_bytes: int) -> None:
        self.nbytes = n_bytes
        self.whole = np.full(n_bytes + 2 * GUARD, UNUSED, dtype=np.uint8)
        self.bytes = self.whole[GUARD : GUARD + n_bytes]

    def is_whole(self) -> bool:
        """Nobody wrote outside."""
        return bool((self.whole[:GUARD] == UNUSED).all() and (self.whole[GUARD + self.nbytes :] == UNUSED).all())


class EmulatedCard:
    """A device that is none, with the memory of one.

    With one lane, threads run from beginning to end; with more, the lanes of a warp take turns.
    """

    def __init__(
        self,
        kernels: str | Kernels,
        lanes: int = 1,
        memory: int = 1 << 40,
        free: int = 1 << 40,
        library: ctypes.PyDLL | None = None,
    ) -> None:
        """`kernels`: some, or the pixel type for those of the spot finder."""
        self.lanes = lanes
        self.launched: list[str] = []
        self.host_rooms: list[int] = []
        self.closed = False
        self._memory, self._free = memory, free
        known = kernels_for(kernels) if isinstance(kernels, str) else kernels
        self._library = library_of(known, lanes) if library is None else library
        self._rooms: list[Room] = []

    def room(self, n_bytes: int) -> Room:
        if n_bytes > self._memory:
            raise OutOfMemoryError(f"no {n_bytes} bytes")
        self._rooms.append(Room(n_bytes))
        return self._rooms[-1]

    def free_bytes(self) -> int:
        return self._free

    def address(self, room: Room) -> int:
        return int(room.bytes.ctypes.data)

    def host_room(self, n_bytes: int) -> Bytes:
        self.host_rooms.append(n_bytes)
        return np.empty(n_bytes, dtype=np.uint8)

    def put(self, room: Room, data: Bytes) -> None:
        room.bytes[: len(data)] = data

    def get(self, room: Room, n_bytes: int) -> npt.NDArray[Any]:
        return room.bytes[:n_bytes].copy()

    def close(self) -> None:
        self.closed = True

    def launch(self, kernel: str, job: Room, warps: int, images: int) -> None:
        self.launched.append(kernel)
        pointer = ctypes.c_void_p(self.address(job))
        function = ctypes.cast(getattr(self._library, kernel), ctypes.c_void_p)
        self._library.launch(function, pointer, ctypes.c_uint(warps), ctypes.c_uint(images))
        assert all(room.is_whole() for room in self._rooms), f"{kernel} wrote outside"
