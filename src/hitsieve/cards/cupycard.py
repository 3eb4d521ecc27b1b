"""A real card, through CuPy; nothing else imports it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import cupy
import numpy as np

from hitsieve.cards.device import Bytes, CardError, Kernels, OutOfMemoryError

WARPS = 4
"""Warps of a block."""
OPTIONS = ("--std=c++17", "--fmad=false", "--device-int128")
"""Results are equal to the core's to the bit: nothing may be fused, and sums need 128 bits.

CuPy adds that numbers of single precision below 1e-38 become 0; no result is as small.
"""
OUT_OF_MEMORY = ("cudaErrorMemoryAllocation", "CUDA_ERROR_OUT_OF_MEMORY")
"""What runtime and driver call it."""


class CupyCard:
    """A card with a stream of its own: copies of one overlap with the kernels of another.

    Parameters
    ----------
    number : int
        The card's number, as the driver counts.
    kernels : Kernels

    Raises
    ------
    CardError
        The kernels cannot be compiled, or the card cannot be used.
    """

    lanes = 32

    def __init__(self, number: int, kernels: Kernels) -> None:
        self._number = number
        with self._current():
            self._stream = cupy.cuda.Stream(non_blocking=True)
            options = (*OPTIONS, *(f"-D{define}" for define in kernels.defines))
            module = cupy.RawModule(code=kernels.text, options=options, backend="nvrtc")
            _compile(module)
            self._get_function: Callable[[str], Any] = cache(module.get_function)

    def room(self, n_bytes: int) -> Any:
        """Memory on the card."""
        with self._current(), self._stream:
            return cupy.empty(n_bytes, dtype=cupy.uint8)

    def free_bytes(self) -> int:
        """Memory on the card that nobody has; what CuPy keeps for later is given back when it is needed."""
        with self._current():
            return int(cupy.cuda.runtime.memGetInfo()[0]) + int(cupy.get_default_memory_pool().free_bytes())

    def address(self, room: Any) -> int:
        """Where that memory is."""
        return int(room.data.ptr)

    def host_room(self, n_bytes: int) -> Bytes:
        """Memory here that is not swapped out, so that the card copies it by itself."""
        with self._current():
            # Not from CuPy's pool, which would make twice as much of it: it counts in powers of two.
            memory = cupy.cuda.PinnedMemory(max(n_bytes, 1), cupy.cuda.runtime.hostAllocPortable)
            return np.frombuffer(cupy.cuda.PinnedMemoryPointer(memory, 0), dtype=np.uint8, count=n_bytes)

    def put(self, room: Any, data: Bytes) -> None:
        """Begin to copy to the card."""
        with self._current(), self._stream:
            room[: len(data)].set(data, stream=self._stream)

    def get(self, room: Any, n_bytes: int) -> Bytes:
        """Wait, and copy back."""
        # Into memory of its own: where card and host share all memory, CuPy may otherwise hand out that of the card.
        data: Bytes = np.empty(n_bytes, dtype=np.uint8)
        with self._current(), self._stream:
            room[:n_bytes].get(stream=self._stream, out=data)
            self._stream.synchronize()
        return data

    def launch(self, kernel: str, job: Any, warps: int, images: int) -> None:
        """Start a kernel behind what was started before."""
        with self._current(), self._stream:
            blocks = -(-warps // WARPS)
            self._get_function(kernel)((blocks, images), (WARPS * self.lanes,), (job,))

    def close(self) -> None:
        """Wait, and give back what nobody holds: CuPy would keep it, and every stream keeps its own."""
        with self._current():
            self._stream.synchronize()
            cupy.get_default_memory_pool().free_all_blocks()

    @contextmanager
    def _current(self) -> Iterator[None]:
        """Have this thread use the card, and tell its failures apart."""
        try:
            # For good: to go back to the card before would start that one, which may be too old, or another's alone.
            cupy.cuda.Device(self._number).use()
            yield
        except Exception as error:  # noqa: BLE001 - drivers and libraries fail in all ways, and the core can always go on
            what = " ".join(str(error).split()) or type(error).__name__
            is_memory = isinstance(error, MemoryError) or any(name in what for name in OUT_OF_MEMORY)
            kind = OutOfMemoryError if is_memory else CardError
            raise kind(f"card {self._number}: {what}") from None


def lack() -> str:
    """What CuPy lacks to compile kernels; empty where it has all that it asks for."""
    try:
        from cuda.pathfinder import find_nvidia_header_directory
    except ImportError:
        # Another CuPy, which does not ask in this way.
        return ""
    # It asks for them even where, as in our kernels, nothing is included.
    return "" if find_nvidia_header_directory("cudart") else "CuPy finds no headers of CUDA"


def _compile(module: Any) -> None:
    """Compile the kernels, or take those that were compiled before."""
    try:
        module.compile()
    except OSError:
        # They cannot be kept: the disk is full, or nobody may write there.
        os.environ["CUPY_CACHE_IN_MEMORY"] = "1"
        module.compile()
