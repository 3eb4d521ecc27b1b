"""Batches of images indexed on cards; what a card cannot do, the cores do."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, fields
from queue import SimpleQueue
from threading import Lock

import numpy as np

from hitsieve.cards import Card, CardError, Device, makers
from hitsieve.index.gpu.trials import Tried, kernels
from hitsieve.index.known import CellIndexer
from hitsieve.index.vectors import Vectors
from hitsieve.model import Lattice

_log = logging.getLogger(__name__)
Found = list[tuple[Lattice, ...]]


class CardIndexing:
    """Indexes batches on devices, each for one batch at a time; close it to give their memory back.

    Parameters
    ----------
    devices : sequence of callable
        Each makes a device when it is first used.
    cores : ThreadPoolExecutor
        Indexes what devices cannot.
    workers : int
        Threads of it.
    """

    def __init__(self, devices: Sequence[Callable[[], Device]], cores: ThreadPoolExecutor, workers: int) -> None:
        common = _Common(cores, workers)
        self._lanes = [_Lane(make, common) for make in devices]
        self._idle: SimpleQueue[_Lane] = SimpleQueue()
        for lane in self._lanes:
            self._idle.put(lane)
        self._pool = ThreadPoolExecutor(len(self._lanes))

    def submit(self, indexer: CellIndexer, q: list[Vectors]) -> Future[Found]:
        """Begin to index a batch, as `CellIndexer.index` does each image of it."""
        return self._pool.submit(self._index, indexer, q)

    def close(self) -> None:
        """Stop."""
        self._pool.shutdown(cancel_futures=True)
        for lane in self._lanes:
            lane.close()

    def _index(self, indexer: CellIndexer, q: list[Vectors]) -> Found:
        # There are as many threads as lanes: one is idle.
        lane = self._idle.get()
        try:
            return lane.index(indexer, q)
        finally:
            self._idle.put(lane)


@dataclass(frozen=True, slots=True)
class _Common:
    """What streams share."""

    cores: ThreadPoolExecutor
    workers: int
    told: set[str] = field(default_factory=set)
    """What was said of cards that failed: the streams of a card fail alike."""
    telling: Lock = field(default_factory=Lock)


class _Lane:
    """A stream of a card. One thread uses it at a time."""

    def __init__(self, make: Callable[[], Device], common: _Common) -> None:
        self._make: Callable[[], Device] | None = make
        self._common = common
        self._tried: Tried | None = None
        self._proven = False

    def index(self, indexer: CellIndexer, q: list[Vectors]) -> Found:
        if self._make is None:
            return self._by_cores(indexer, q)
        try:
            if self._tried is None:
                self._tried = Tried(self._make())
            found = self._tried.lattices(indexer, q, self._common.workers)
        except CardError as error:
            why = str(error)
        else:
            return found if self._proven else self._proved(found, self._by_cores(indexer, q))
        # Not before the error is gone: it holds memory of the card.
        self._give_up(why)
        return self._by_cores(indexer, q)

    def close(self) -> None:
        """Give the memory back."""
        tried = self._tried
        self._make = self._tried = None
        if tried is not None:
            # One that has failed may fail in this, too.
            with suppress(CardError):
                tried.close()

    def _proved(self, found: Found, right: Found) -> Found:
        """What is right; a card that finds anything else is used no more."""
        self._proven = any(right)
        if not is_same(found, right):
            self._give_up("it does not find the lattices that the compiled core finds: please report this")
        return right

    def _by_cores(self, indexer: CellIndexer, q: list[Vectors]) -> Found:
        return list(self._common.cores.map(indexer.index, q))

    def _give_up(self, why: str) -> None:
        with self._common.telling:
            if why not in self._common.told:
                self._common.told.add(why)
                _log.warning("a graphics card indexes no more, and the cores go on in its place: %s", why)
        self.close()


def is_same(found: Found, others: Found) -> bool:
    """Both hold the same lattices, to the bit."""
    return [list(map(_bits, lattices)) for lattices in found] == [list(map(_bits, lattices)) for lattices in others]


def _bits(lattice: Lattice) -> list[bytes]:
    return [np.asarray(getattr(lattice, each.name)).tobytes() for each in fields(lattice)]


def devices_of(cards: Sequence[Card]) -> list[Callable[[], Device]]:
    """The streams of some cards: cards take batches in turn.

    Raises
    ------
    Exception
        CuPy cannot be imported.
    CardError
        It cannot compile.
    """
    return makers(cards, kernels())
