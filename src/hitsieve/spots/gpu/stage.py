"""A batch of stored images on a card: up go chunks, down come spots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hitsieve.cards import Bytes, Device, Numbers
from hitsieve.cards.rooms import Rooms
from hitsieve.spots.finder import Searched
from hitsieve.spots.gpu.kernels import source
from hitsieve.spots.gpu.plan import CardPlan

LIMIT = 1 << 15
"""Most strong pixels of an image that is searched on a card: a diffraction image has hundreds."""
DEFAULT_BLOCK = 8192
"""Bytes of a block where bitshuffle chose them by itself, which it writes as 0."""
TILE = 1024
"""Pixels whose strong ones the kernels count together."""
STRIDING = 32
"""Warps that take an image's strong pixels in turn."""
ALIGNED = 256
"""Where a chunk begins: cards read from there at once."""

SPOT = np.dtype(
    [("intensity", "f8")]
    + [(name, "f4") for name in ("x", "y", "background", "snr", "peak")]
    + [(name, "i4") for name in ("n_pixels", "flags", "accepted")],
    align=True,
)
"""A spot as the kernels write it."""


def block_bytes(chunk: bytes, pixel_size: int) -> int | None:
    """Block size as a chunk's header states it; None where the kernels cannot work with it."""
    if len(chunk) < 12:
        return None
    stated = int.from_bytes(chunk[8:12], "big")
    return None if (stated or DEFAULT_BLOCK) % (8 * pixel_size) else stated


@dataclass(frozen=True, slots=True)
class Chunks:
    """Stored images, one behind the other in memory here."""

    data: Bytes
    starts: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sizes)

    def part(self, first: int, end: int) -> Chunks:
        """Some that follow on one another."""
        start = int(self.starts[first])
        stop = len(self.data) if end == len(self) else int(self.starts[end])
        return Chunks(self.data[start:stop], self.starts[first:end] - start, self.sizes[first:end])

    @classmethod
    def of(cls, stored: Sequence[bytes], device: Device) -> Chunks:
        """Chunks that are in memory already."""
        sizes = np.array([len(chunk) for chunk in stored], dtype=np.int64)
        starts, end = placed(sizes)
        data = device.host_room(end)
        for chunk, start in zip(stored, starts.tolist(), strict=True):
            data[start : start + len(chunk)] = np.frombuffer(chunk, dtype=np.uint8)
        return cls(data, starts, sizes)


def placed(sizes: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], int]:
    """Where chunks of these sizes begin, and where the last ends."""
    ends = np.cumsum(-(-sizes // ALIGNED) * ALIGNED)
    return np.concatenate([[0], ends[:-1]]).astype(np.int64), int(ends[-1])


def image_bytes(plan: CardPlan, blocks: int) -> int:
    """Memory on a card that the search of an image takes, but for its stored form."""
    return sum(_sizes(plan, _n_blocks(plan, blocks)[1], min(LIMIT, plan.n_pixels)).values())


def _n_blocks(plan: CardPlan, blocks: int) -> tuple[int, int]:
    """Pixels of a block, and blocks of an image."""
    # As the core has it: no block is larger than the image.
    per_block = min((blocks or DEFAULT_BLOCK) // plan.dtype.itemsize, max(-(-plan.n_pixels // 8) * 8, 8))
    return per_block, -(-(plan.n_pixels // 8 * 8) // per_block)


def _sizes(plan: CardPlan, n_blocks: int, limit: int) -> dict[str, int]:
    """Bytes of working memory and results of an image."""
    n_blocks = max(n_blocks, 1)
    each_bin = dict.fromkeys(("bin_n", "bin_first", "bin_mean", "bin_sigma", "bin_threshold"), 8 * plan.n_bins)
    each_strong = dict.fromkeys(("list", "parents", "roots", "n_members", "order"), 4 * limit)
    each = dict.fromkeys(("tail_from", "n_strong", "n_saturated", "largest", "n_spots"), 8)
    return {
        "block_from": 8 * n_blocks,
        "block_length": 4 * n_blocks,
        "planes": plan.n_pixels * plan.dtype.itemsize,
        "pixels": plan.n_pixels * plan.dtype.itemsize,
        "marks": -(-plan.n_pixels // 8),
        "tile_counts": 4 * -(-plan.n_pixels // TILE),
        "measured": SPOT.itemsize * limit,
        **each_bin,
        **each_strong,
        **each,
        **dict.fromkeys(("status", "broken", "background"), 4),
    }


class Stage:
    """Memory on a card for some images at a time, and the way through it. One thread uses it at a time.

    Parameters
    ----------
    device : Device
    plan : CardPlan
    blocks : int
        Block size (bytes) as the headers of the chunks state it; images with another are not searched here.
    capacity : int
        Most images at a time.
    limit : int
        Most strong pixels of an image.

    Raises
    ------
    CardError
        The card has too little memory, or fails; so does `search`.
    """

    def __init__(self, device: Device, plan: CardPlan, blocks: int, capacity: int, limit: int = LIMIT) -> None:
        self.capacity = capacity
        self._plan = plan
        self._rooms = Rooms(device, source())
        self._limit = min(limit, plan.n_pixels)
        per_block, self._n_blocks = _n_blocks(plan, blocks)
        self._numbers: Numbers = plan.numbers | {
            "pixels_per_block": per_block,
            "n_blocks": self._n_blocks,
            "block_bytes": blocks,
            "limit": self._limit,
        }
        for name, array in plan.arrays.items():
            self._rooms.send(name, array)
        for name, size in _sizes(plan, self._n_blocks, self._limit).items():
            self._rooms.make(name, capacity * size)

    def search(self, chunks: Chunks) -> tuple[Searched, npt.NDArray[np.bool_]]:
        """Search some images, no more than `capacity`.

        Returns
        -------
        Searched
            Images that are not searched here have an empty reason.
        bool, shape (n,)
            Which are searched.
        """
        n = len(chunks)
        self._rooms.send("packed", chunks.data)
        self._rooms.send("starts", chunks.starts)
        self._rooms.send("sizes", chunks.sizes)
        self._launch(n)
        done = (self._rooms.fetch("status", np.uint32, n) | self._rooms.fetch("broken", np.uint32, n)) == 0
        n_spots = np.where(done, self._rooms.fetch("n_spots", np.int64, n), 0)
        return self._results(done, self._spots(n_spots)), done

    def _launch(self, n: int) -> None:
        """All but the last step: how many spots there are decides where they go."""
        lanes = self._rooms.lanes
        eights = -(-self._plan.n_pixels // (8 * lanes))
        numbers = self._numbers | {"n_images": n}
        self._rooms.launch(numbers, 1, {"walk": -(-n // lanes)})
        warps = {"decode": self._n_blocks, "unshuffle": eights, "statistics": self._plan.n_bins, "compare": eights}
        warps |= {"gather": 1, "connect": STRIDING, "label": STRIDING, "measure": STRIDING, "rank": 1}
        self._rooms.launch(numbers, n, warps)

    def _spots(self, n_spots: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
        """Where the spots of each image begin and end, and the spots."""
        ends = np.concatenate([[0], np.cumsum(n_spots)]).astype(np.int64)
        total = int(ends[-1])
        if not total:
            return ends, np.zeros(0, dtype=SPOT)
        self._rooms.make("spots", total * SPOT.itemsize)
        self._rooms.send("offsets", ends)
        n = len(n_spots)
        self._rooms.launch(self._numbers | {"n_images": n}, n, {"emit": STRIDING})
        return ends, self._rooms.fetch("spots", SPOT, total)

    def _results(self, done: npt.NDArray[np.bool_], found: tuple[npt.NDArray[np.int64], npt.NDArray[Any]]) -> Searched:
        ends, spots = found
        n = len(done)
        kept = _strongest(ends, spots["intensity"], self._plan.max_spots)
        if kept is not None:
            spots = spots[kept]
        offsets = ends if kept is None else np.concatenate([[0], np.cumsum(kept)])[ends]

        def column(name: str, kind: npt.DTypeLike, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
            return np.where(done, self._rooms.fetch(name, kind, n), -1).astype(dtype)

        background = self._rooms.fetch("background", np.float32, n)
        return Searched(
            reasons={int(i): "" for i in np.flatnonzero(~done)},
            n_spots=np.where(done, np.diff(ends), -1).astype(np.int32),
            n_strong=column("n_strong", np.int64, np.int32),
            n_saturated=column("n_saturated", np.int64, np.int32),
            max_count=column("largest", np.int64, np.int64),
            background=np.where(done, background, np.float32(np.nan)).astype(np.float32),
            offsets=offsets.astype(np.int64),
            x=spots["x"].copy(),
            y=spots["y"].copy(),
            intensity=spots["intensity"].astype(np.float32),
            spot_background=spots["background"].copy(),
            snr=spots["snr"].copy(),
            n_pixels=spots["n_pixels"].copy(),
            peak=spots["peak"].copy(),
            flags=spots["flags"].astype(np.uint8),
        )


def _strongest(
    ends: npt.NDArray[np.int64], intensity: npt.NDArray[np.float64], most: int
) -> npt.NDArray[np.bool_] | None:
    """Which spots are kept where images have more than `most`; None where none has. Of equals it is the earlier."""
    crowded = np.flatnonzero(np.diff(ends) > most)
    if not len(crowded):
        return None
    kept = np.ones(len(intensity), dtype=np.bool_)
    for i in crowded.tolist():
        mine = slice(int(ends[i]), int(ends[i + 1]))
        order = np.argsort(-intensity[mine], kind="stable")
        kept[mine] = False
        kept[mine.start + order[:most]] = True
    return kept
