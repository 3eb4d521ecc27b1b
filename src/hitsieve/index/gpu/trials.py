"""The trials of many searches on a card: up go spots and what is wanted, down come the best vectors."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from hitsieve import _core
from hitsieve.cards import Device, Kernels
from hitsieve.cards.rooms import Rooms
from hitsieve.index.known import CellIndexer
from hitsieve.index.vectors import Vectors
from hitsieve.model import Lattice

Trials = tuple[float, dict[str, npt.NDArray[Any]]]
"""Length of the vectors, and what else is wanted, as the job calls it."""
CHOSEN = np.dtype([("key", "u8"), ("moved", "f8", 3), ("score", "f8")])
TURN = np.dtype([("score", "f4"), ("number", "i4")])
KEPT = 3
"""Turns about each first vector."""
GOLDEN = 1 << 15
"""Turns by the golden angle that are sent at least: most searches try no more directions."""


@cache
def kernels() -> Kernels:
    """The text that cards get."""
    return Kernels(files("hitsieve.index.gpu").joinpath("trials.cu").read_text(encoding="utf-8"))


class Tried:
    """Memory on a card for trials, and the way through it. One thread uses it at a time.

    Parameters
    ----------
    device : Device
        With these kernels.
    """

    def __init__(self, device: Device) -> None:
        self._rooms = Rooms(device, kernels().text)
        self._golden = 0

    def lattices(self, indexer: CellIndexer, q: list[Vectors], workers: int) -> list[tuple[Lattice, ...]]:
        """Index some images, as `CellIndexer.index` does each.

        Parameters
        ----------
        indexer : CellIndexer
        q : list of float64 arrays, shape (n, 3)
            Reciprocal vectors of each image (1/angstrom).
        workers : int
            Threads for what is left to the cores.

        Raises
        ------
        CardError
            The card fails, or has too little memory.
        """
        searches = indexer.begin(q)
        while True:
            searches.go_on(workers)
            first, second = searches.first(), searches.second()
            if first is not None:
                searches.answer_first(*self._first(first))
            if second is not None:
                searches.answer_second(*self._second(second))
            if first is None and second is None:
                return indexer.ended(searches)

    def close(self) -> None:
        """Give the memory back."""
        self._rooms.close()

    def _first(self, trials: Trials) -> tuple[npt.NDArray[Any], ...]:
        length, wanted = trials
        most = int(wanted["n_directions"].max())
        if self._golden < most:
            self._golden = max(GOLDEN, 1 << (most - 1).bit_length())
            self._rooms.send("golden", _core.golden_turns(self._golden))
        scores_from, chosen_from = _starts(wanted["n_directions"]), _starts(wanted["wanted"])
        n, n_chosen = len(wanted["images"]), int(chosen_from[-1])
        self._send(wanted, scores_from=scores_from, chosen_from=chosen_from)
        self._make(scores=4 * int(scores_from[-1]), least=8 * n, n_chosen=4 * n, chosen=CHOSEN.itemsize * n_chosen)
        warps = {"directions": self._warps(most), "choose": 1, "gather": self._warps(most)}
        warps |= {"sharpen": self._warps(int(wanted["wanted"].max()))}
        self._rooms.launch({"n_images": n, "length": length}, n, warps)
        chosen = self._rooms.fetch("chosen", CHOSEN, n_chosen)
        return wanted["images"], chosen_from, chosen["key"], chosen["score"], chosen["moved"]

    def _second(self, trials: Trials) -> tuple[npt.NDArray[Any], ...]:
        length, wanted = trials
        n, axes = len(wanted["images"]), np.diff(wanted["axes_from"])
        turns = axes * np.diff(wanted["angles_from"])
        scores_from = _starts(turns)
        self._send(wanted, scores_from=scores_from)
        n_turns = KEPT * int(wanted["axes_from"][-1])
        self._make(scores=4 * int(scores_from[-1]), turns=TURN.itemsize * n_turns)
        warps = {"turn": self._warps(int(turns.max())), "peaks": self._warps(int(axes.max()))}
        self._rooms.launch({"n_images": n, "length": length}, n, warps)
        found = self._rooms.fetch("turns", TURN, n_turns).reshape(-1, KEPT)
        return wanted["images"], wanted["axes_from"], found["score"], found["number"]

    def _send(self, wanted: dict[str, npt.NDArray[Any]], **more: npt.NDArray[Any]) -> None:
        for name, array in (wanted | more).items():
            if name != "images":
                self._rooms.send(name, array)

    def _make(self, **sizes: int) -> None:
        for name, n_bytes in sizes.items():
            self._rooms.make(name, n_bytes)

    def _warps(self, threads: int) -> int:
        return -(-threads // self._rooms.lanes)


def _starts(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Where each of some lists begins that follow on one another, and the last ends."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
