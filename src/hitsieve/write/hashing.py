"""SHA-256 of stored chunks, worked out beside the writing of them."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from hitsieve._core import hashes_fast, sha256_all

_WORKERS = 2
_LENGTH = 32
"""Bytes of a hash: they are kept as such, for there may be millions."""
_TOGETHER = 4
"""Chunks that are hashed at a time: two take little longer than one."""
_WAITING = 3
"""Times as many that may wait for their hash: they stay in memory until then."""


class Hasher:
    """Hashes chunks in threads of its own, in order: hashing takes longer than writing, and need not wait for it."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="hitsieve-hash")
        self._next: list[bytes] = []
        self._waiting: deque[Future[bytes]] = deque()
        self._done = bytearray()

    def add(self, chunk: bytes) -> None:
        """Take the next chunk; waits while too many are not done."""
        self._next.append(chunk)
        if len(self._next) == _TOGETHER:
            self._submit()

    def digests(self, start: int = 0) -> npt.NDArray[np.bytes_]:
        """The hash of every chunk from the `start`-th on, in hexadecimal, shape (n,)."""
        if self._next:
            self._submit()
        while self._waiting:
            self._collect()
        return hexadecimal(self._done[start * _LENGTH :])

    def close(self) -> None:
        """End the threads when all chunks are hashed; no more can be added."""
        if self._next:
            self._submit()
        self._pool.shutdown(wait=False)

    def abandon(self) -> None:
        """End the threads, whatever waits."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _submit(self) -> None:
        if len(self._waiting) >= _WAITING:
            self._collect()
        self._waiting.append(self._pool.submit(_sha256, self._next))
        self._next = []

    def _collect(self) -> None:
        self._done += self._waiting.popleft().result()


def hexadecimal(digests: bytes | bytearray) -> npt.NDArray[np.bytes_]:
    """Hashes that stand one after the other, in hexadecimal, shape (n,)."""
    return np.frombuffer(digests.hex().encode("ascii"), dtype=f"S{2 * _LENGTH}")


def _sha256(chunks: Sequence[bytes]) -> bytes:
    # Where the processor has no instructions for it, the library is faster than the core.
    return b"".join(sha256_all(chunks) if hashes_fast() else (hashlib.sha256(chunk).digest() for chunk in chunks))
