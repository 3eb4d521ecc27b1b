"""Stored images of a kept file, compared with those of the source by the core, in one pass over the file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import h5py
import numpy as np
import numpy.typing as npt

from hitsieve._core import Comparison, hashes_fast
from hitsieve.model import Run
from hitsieve.write.chunks import filters_of
from hitsieve.write.hashing import hexadecimal
from hitsieve.write.keptrun import KeptFile
from hitsieve.write.sameness import Packing, packed_as

MOST = 1000
"""Failures after which no more images are compared."""
_BLOCK = 64
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pass:
    """What a pass over a kept file has proven."""

    images: Integers
    """Images (index in the run) whose stored bytes are those of the source and agree with their SHA-256."""
    hashes: npt.NDArray[np.bytes_]
    """SHA-256 of each, hexadecimal."""
    sha256: str = ""
    """Of the file, hexadecimal; empty where it was not read to its end."""


def pass_over(part: KeptFile, run: Run, packings: dict[int, Packing | None], step: Callable[[int], None]) -> Pass:
    """Read a kept file once, and compare the images that it holds as the source stores them.

    Images that are not among those proven differ, or are none that the core can compare: whoever wants to know looks at
    each of them.

    Parameters
    ----------
    part : KeptFile
        File of hits or of misses.
    run : Run
        The source, with as many images as the run that is kept.
    packings : dict of int to Packing
        Type and filters of the files of the source, by number; those that are met are added.
    step : callable
        Called with the number of images that were proven since the last call.
    """
    rows, places = _comparable(part, run, packings)
    good, hashes, whole = np.zeros(len(rows), dtype=np.bool_), np.zeros(len(rows), dtype="S64"), ""
    # Without instructions for SHA-256, those who compare one by one have the faster library.
    if hashes_fast():
        table, images = run.images, part.images[rows]
        files = [str(file.path) for file in run.files]
        offset, size = places[:, rows]
        try:
            comparison = Comparison(
                str(part.path), offset, size, files, table.file[images].astype(np.int32), table.offset[images]
            )
            for start in range(0, len(rows), _BLOCK):
                these = slice(start, start + _BLOCK)
                same, digests = comparison.take(_BLOCK)
                hashes[these] = hexadecimal(digests)
                good[these] = same & (hashes[these] == part.hashes[rows[these]])
                step(int(good[these].sum()))
                if start + len(same) - good.sum() >= MOST:
                    break
            else:
                whole = comparison.finish().hex()
        except OSError:
            # What cannot be read is told image by image.
            whole = ""
    return Pass(part.images[rows][good], hashes[good], whole)


def _comparable(part: KeptFile, run: Run, packings: dict[int, Packing | None]) -> tuple[Integers, Integers]:
    """Rows of images that the core can compare, in the order of the file; and where the chunk of every row is."""
    places = _places(part.data, len(part.images))
    table, images = run.images, part.images
    fits = part.verbatim & (places[0] >= 0) & (table.offset[images] >= 0) & (table.size[images] == places[1])
    for lost in (table.missing, table.unreadable):
        fits &= ~np.isin(images, np.fromiter(lost, dtype=np.int64))
    own = (part.data.dtype, filters_of(part.data))
    for number in np.unique(table.file[images[fits]]).tolist():
        if number not in packings:
            packings[number] = packed_as(run, number)
        # The same bytes are other pixels where type or filters are not the same.
        if packings[number] != own:
            fits &= table.file[images] != number
    rows = np.flatnonzero(fits)
    rows = rows[np.argsort(places[0, rows])]
    offset, size = places[:, rows]
    apart = bool((offset[1:] >= offset[:-1] + size[:-1]).all())
    return rows if apart else rows[:0], places


def _places(data: h5py.Dataset, n: int) -> Integers:
    """Offset in the file and size of the chunk of each row, shape (2, n); -1 where that is not the whole truth."""
    places = np.full((2, n), -1, dtype=np.int64)
    found: list[h5py.h5d.StoreInfo] = []
    if data.file.userblock_size == 0 and hasattr(data.id, "chunk_iter"):
        data.id.chunk_iter(found.append)
    for chunk in found:
        row = int(chunk.chunk_offset[0])
        if 0 <= row < n and chunk.filter_mask == 0 and chunk.byte_offset is not None:
            places[:, row] = chunk.byte_offset, chunk.size
    return places
