"""SHA-256 of stored chunks, worked out beside the writing of them."""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

_WORKERS = 2
_WAITING = 8
"""Chunks that may wait for their hash: they stay in memory until then."""


class Hasher:
    """Hashes chunks in threads of its own, in order: hashing takes longer than writing, and need not wait for it."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="hitsieve-hash")
        self._waiting: deque[Future[str]] = deque()
        self._done: list[bytes] = []

    def add(self, chunk: bytes) -> None:
        """Take the next chunk; waits while too many are not done."""
        if len(self._waiting) >= _WAITING:
            self._collect()
        self._waiting.append(self._pool.submit(_sha256, chunk))

    def digests(self) -> list[bytes]:
        """The hash of every chunk so far, in hexadecimal."""
        while self._waiting:
            self._collect()
        return self._done

    def close(self) -> None:
        """End the threads when all chunks are hashed; no more can be added."""
        self._pool.shutdown(wait=False)

    def abandon(self) -> None:
        """End the threads, whatever waits."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _collect(self) -> None:
        self._done.append(self._waiting.popleft().result().encode("ascii"))


def _sha256(chunk: bytes) -> str:
    return hashlib.sha256(chunk).hexdigest()
