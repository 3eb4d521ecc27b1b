"""SHA-256 of stored chunks, worked out beside the writing of them."""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

_WORKERS = 2
_LENGTH = 32
"""Bytes of a hash: they are kept as such, for there may be millions."""
_WAITING = 8
"""Chunks that may wait for their hash: they stay in memory until then."""


class Hasher:
    """Hashes chunks in threads of its own, in order: hashing takes longer than writing, and need not wait for it."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="hitsieve-hash")
        self._waiting: deque[Future[bytes]] = deque()
        self._done = bytearray()

    def add(self, chunk: bytes) -> None:
        """Take the next chunk; waits while too many are not done."""
        if len(self._waiting) >= _WAITING:
            self._collect()
        self._waiting.append(self._pool.submit(_sha256, chunk))

    def digests(self, start: int = 0) -> npt.NDArray[np.bytes_]:
        """The hash of every chunk from the `start`-th on, in hexadecimal, shape (n,)."""
        while self._waiting:
            self._collect()
        text = self._done[start * _LENGTH :].hex().encode("ascii")
        return np.frombuffer(text, dtype=f"S{2 * _LENGTH}")

    def close(self) -> None:
        """End the threads when all chunks are hashed; no more can be added."""
        self._pool.shutdown(wait=False)

    def abandon(self) -> None:
        """End the threads, whatever waits."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _collect(self) -> None:
        self._done += self._waiting.popleft().result()


def _sha256(chunk: bytes) -> bytes:
    return hashlib.sha256(chunk).digest()
