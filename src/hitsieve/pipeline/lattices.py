"""Looks for lattices in the spots of a batch of images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hitsieve.index import CellIndexer, Vectors, reciprocal_vectors
from hitsieve.index.gpu import CardIndexing
from hitsieve.model import Lattice, Lattices, Run, UnitCell
from hitsieve.settings import IndexSettings
from hitsieve.spots import Searched
from hitsieve.verdict import Rated

Answer = Callable[[], tuple[Lattice, ...]]
"""Waits for the lattices of an image."""
FEW, MANY = 4, 256
"""Fewest images that are worth the way to a card and back, and most that go it together."""


@dataclass(frozen=True, slots=True)
class Indexed:
    """Lattices of n images; those of image i are offsets[i] to offsets[i + 1]."""

    n_lattices: npt.NDArray[np.int32]
    n_indexed: npt.NDArray[np.int32]
    spot_lattice: npt.NDArray[np.int8]
    """Which lattice of its image indexes each spot; -1: none."""
    hkl: npt.NDArray[np.int16]
    """Shape (spots, 3)."""
    offsets: npt.NDArray[np.int64]
    lattices: Lattices

    @classmethod
    def none(cls, n: int, n_spots: int, *, tried: bool) -> Indexed:
        """No lattice on n images."""
        count = np.full(n, 0 if tried else -1, dtype=np.int32)
        return cls(
            count,
            count.copy(),
            np.full(n_spots, -1, dtype=np.int8),
            np.zeros((n_spots, 3), dtype=np.int16),
            np.zeros(n + 1, dtype=np.int64),
            Lattices.of(()),
        )


@dataclass(frozen=True, slots=True)
class Candidates:
    """Images of a batch with a wavelength and enough counted spots to be indexed."""

    positions: list[int]
    """In the batch."""
    spots: list[npt.NDArray[np.int64]]
    """Of each image: positions of its counted spots in the batch's spot list."""
    q: list[Vectors]
    """Of each image: q of those spots (1/angstrom), shape (n, 3)."""


def candidates(run: Run, images: npt.NDArray[np.int64], searched: Searched, rated: Rated, min_spots: int) -> Candidates:
    """Choose the images with at least `min_spots` counted spots and a wavelength, and work out q of these spots."""
    positions = np.flatnonzero((rated.n_spots_counted >= min_spots) & run.beam.known(images))
    offsets = searched.offsets
    spots = [int(offsets[i]) + np.flatnonzero(rated.counted[int(offsets[i]) : int(offsets[i + 1])]) for i in positions]
    q = [
        reciprocal_vectors(run.detector, run.beam, searched.x[these], searched.y[these], image=int(images[i]))
        for i, these in zip(positions, spots, strict=True)
    ]
    return Candidates(positions.tolist(), spots, q)


class LatticeSearch:
    """Indexes images with enough counted spots in the threads of a pool, or on cards.

    Parameters
    ----------
    run : Run
        With geometry and wavelength.
    cell : UnitCell
        What is looked for.
    settings : IndexSettings
    pool : ThreadPoolExecutor
    cards : CardIndexing, optional
        Takes batches.
    """

    def __init__(
        self,
        run: Run,
        cell: UnitCell,
        settings: IndexSettings,
        pool: ThreadPoolExecutor,
        cards: CardIndexing | None = None,
    ) -> None:
        self.cell = cell
        self._run = run
        self._min_spots = settings.min_indexed
        self._indexer = CellIndexer(cell.parameters, cell.centring, settings)
        self._pool = pool
        self._cards = cards
        self._begun: dict[int, Answer] = {}

    def begin(self, wanted: Mapping[int, Vectors]) -> dict[int, Answer]:
        """Begin to index images ahead of their batch, from the q of their counted spots; they are not indexed again."""
        begun = self._begin(wanted)
        self._begun |= begun
        return begun

    def start(self, images: npt.NDArray[np.int64], searched: Searched, rated: Rated) -> Callable[[], Indexed]:
        """Begin to index a batch; what is returned waits for the answer."""
        chosen = candidates(self._run, images, searched, rated, self._min_spots)
        wanted = dict(zip(images[chosen.positions].tolist(), chosen.q, strict=True))
        begun = {image: self._begun.pop(image) for image in wanted if image in self._begun}
        begun |= self._begin({image: q for image, q in wanted.items() if image not in begun})
        return lambda: self._collect(len(images), len(searched.x), chosen, [begun[image] for image in wanted])

    def _begin(self, wanted: Mapping[int, Vectors]) -> dict[int, Answer]:
        if self._cards is None or len(wanted) < FEW:
            return {image: self._pool.submit(self._indexer.index, q).result for image, q in wanted.items()}
        images, q = list(wanted), list(wanted.values())
        begun: dict[int, Answer] = {}
        for first in range(0, len(images), MANY):
            batch = self._cards.submit(self._indexer, q[first : first + MANY])
            begun |= {image: _one(batch, i) for i, image in enumerate(images[first : first + MANY])}
        return begun

    @staticmethod
    def _collect(n: int, n_spots: int, chosen: Candidates, answers: list[Answer]) -> Indexed:
        indexed = Indexed.none(n, n_spots, tried=True)
        found: list[Lattice] = []
        for i, spots, answer in zip(chosen.positions, chosen.spots, answers, strict=True):
            lattices = answer()
            found += lattices
            indexed.n_lattices[i] = len(lattices)
            indexed.n_indexed[i] = sum(len(lattice.spots) for lattice in lattices)
            for number, lattice in enumerate(lattices):
                indexed.spot_lattice[spots[lattice.spots]] = number
                indexed.hkl[spots[lattice.spots]] = lattice.hkl
        indexed.offsets[1:] = np.cumsum(indexed.n_lattices)
        return Indexed(
            indexed.n_lattices,
            indexed.n_indexed,
            indexed.spot_lattice,
            indexed.hkl,
            indexed.offsets,
            Lattices.of(found),
        )


def _one(batch: Future[list[tuple[Lattice, ...]]], i: int) -> Answer:
    return lambda: batch.result()[i]
