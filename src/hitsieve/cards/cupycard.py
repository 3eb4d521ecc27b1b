"""A real card, through CuPy; nothing else imports it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
            module.compile()
        self._module = module

    def room(self, n_bytes: int) -> Any:
        """Memory on the card."""
        with self._current(), self._stream:
            return cupy.empty(n_bytes, dtype=cupy.uint8)

    def address(self, room: Any) -> int:
        """Where that memory is."""
        return int(room.data.ptr)

    def host_room(self, n_bytes: int) -> Bytes:
        """Memory here that is not swapped out, so that the card copies it by itself."""
        with self._current():
            return np.frombuffer(cupy.cuda.alloc_pinned_memory(max(n_bytes, 1)), dtype=np.uint8, count=n_bytes)

    def put(self, room: Any, data: Bytes) -> None:
        """Begin to copy to the card."""
        with self._current(), self._stream:
            room[: len(data)].set(data, stream=self._stream)

    def get(self, room: Any, n_bytes: int) -> Bytes:
        """Wait, and copy back."""
        with self._current(), self._stream:
            data: Bytes = room[:n_bytes].get(stream=self._stream)
            self._stream.synchronize()
        return data

    def launch(self, kernel: str, job: Any, warps: int, images: int) -> None:
        """Start a kernel behind what was started before."""
        with self._current(), self._stream:
            blocks = -(-warps // WARPS)
            self._module.get_function(kernel)((blocks, images), (WARPS * self.lanes,), (job,))

    def close(self) -> None:
        """Wait, and give back what nobody holds: CuPy would keep it, and every stream keeps its own."""
        with self._current():
            self._stream.synchronize()
            cupy.get_default_memory_pool().free_all_blocks()
            cupy.get_default_pinned_memory_pool().free_all_blocks()

    @contextmanager
    def _current(self) -> Iterator[None]:
        """Have this thread use the card, and tell its failures apart."""
        try:
            # For good: to go back to the card before would start that one, which may be too old, or another's alone.
            cupy.cuda.Device(self._number).use()
            yield
        except Exception as error:  # noqa: BLE001 - drivers and libraries fail in all ways, and the core can always go on
            what = " ".join(str(error).split()) or type(error).__name__
            is_memory = isinstance(error, MemoryError) or "cudaErrorMemoryAllocation" in what
            kind = OutOfMemoryError if is_memory else CardError
            raise kind(f"card {self._number}: {what}") from None
