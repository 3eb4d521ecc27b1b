"""The jobs that are timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401  (registers the filters)
import numpy as np

import hitsieve
from benchmarks.data import IMAGES
from hitsieve.pipeline import RunReport
from hitsieve.settings import RunSettings, WriteSettings
from hitsieve.source import OpenedRun
from hitsieve.spots import Finder, Searched

BATCH = 64


SPOTS_ONLY: dict[str, object] = {"index": {"indexing": "off"}, "verdict": {"min_spots": 8}}
"""Settings with which nothing but spots is looked for."""
ANY_CELL: dict[str, object] = {"index": {"cell": "unknown"}}
"""Settings with which the cell is found in the run, although the source states it."""


def sieve(master: Path, output: Path, workers: int = 1, rooms: Mapping[str, object] | None = None) -> RunReport:
    """The whole job, all outputs written; those of the last time are replaced.

    `rooms` are settings by room; by default those that a user has who gives none.
    """
    write = WriteSettings(output=output, overwrite=True)
    settings = RunSettings.model_validate({**(rooms or {}), "workers": workers, "write": write})
    return hitsieve.run(master, settings=settings)


def scan(opened: OpenedRun, finder: Finder, workers: int = 1) -> list[Searched]:
    """Spot finding alone."""
    return list(finder.scan(opened.run, np.arange(len(opened.run)), workers, BATCH))


def decode(data_files: list[Path]) -> int:
    """Unpack every image into one array, with h5py and hdf5plugin; gives the number of images."""
    done = 0
    for path in data_files:
        with h5py.File(path, "r") as file:
            stack = file[IMAGES]
            image = np.empty(stack.shape[1:], stack.dtype)
            for row in range(len(stack)):
                stack.read_direct(image, np.s_[row])
            done += len(stack)
    return done


def lz4_alone(data_file: Path, images: int) -> tuple[Callable[[], None], Callable[[], None], int] | None:
    """LZ4 of all blocks of some images into one block of memory, by liblz4: the least that decoding can cost.

    Returns
    -------
    The job; the same calls with nothing to decode, the cost of calling from Python; the number of images. None where
    liblz4 is not installed.
    """
    import ctypes
    import ctypes.util

    name = ctypes.util.find_library("lz4")
    if name is None:
        return None
    unpack = ctypes.CDLL(name).LZ4_decompress_safe
    unpack.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
    kept, blocks = [], []
    with h5py.File(data_file, "r") as file:
        stack = file[IMAGES]
        images = min(images, len(stack))
        for row in range(images):
            chunk = stack.id.read_direct_chunk((row, 0, 0))[1]
            block = int.from_bytes(chunk[8:12], "big")
            memory = ctypes.create_string_buffer(chunk, len(chunk))
            kept.append(memory)
            left, place, base = int.from_bytes(chunk[:8], "big"), 12, ctypes.addressof(memory)
            # Bitshuffle stores the last elements, fewer than eight, as they are.
            while left >= 8 * stack.dtype.itemsize:
                size = int.from_bytes(chunk[place : place + 4], "big")
                blocks.append((base + place + 4, size))
                place, left = place + 4 + size, left - min(block, left)
        out = ctypes.create_string_buffer(block)

    def job() -> None:
        for start, size in blocks:
            unpack(start, out, size, block)

    def empty() -> None:
        for start, _ in blocks:
            unpack(start, out, 0, block)

    # The pointers lead into these.
    job.kept = kept  # type: ignore[attr-defined]
    assert all(unpack(start, out, size, block) > 0 for start, size in blocks[:100])
    return job, empty, images
