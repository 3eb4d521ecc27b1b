"""Looks for lattices in the spots of a batch of images."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hitsieve.index import CellIndexer, reciprocal_vectors
from hitsieve.model import Lattice, Lattices, Run, UnitCell
from hitsieve.settings import IndexSettings
from hitsieve.spots import Searched
from hitsieve.verdict import Rated

Vectors = npt.NDArray[np.float64]


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
    """Indexes images with enough counted spots in the threads of a pool.

    Parameters
    ----------
    run : Run
        With geometry and wavelength.
    cell : UnitCell
        What is looked for.
    settings : IndexSettings
    pool : ThreadPoolExecutor
    """

    def __init__(self, run: Run, cell: UnitCell, settings: IndexSettings, pool: ThreadPoolExecutor) -> None:
        self.cell = cell
        self._run = run
        self._min_spots = settings.min_indexed
        self._indexer = CellIndexer(cell.parameters, cell.centring, settings)
        self._pool = pool
        self._begun: dict[int, Future[tuple[Lattice, ...]]] = {}

    def begin(self, image: int, q: Vectors) -> Future[tuple[Lattice, ...]]:
        """Begin to index one image ahead of its batch, from the q of its counted spots; it is not indexed again."""
        self._begun[image] = self._submit(q)
        return self._begun[image]

    def _submit(self, q: Vectors) -> Future[tuple[Lattice, ...]]:
        return self._pool.submit(self._indexer.index, q)

    def start(self, images: npt.NDArray[np.int64], searched: Searched, rated: Rated) -> Callable[[], Indexed]:
        """Begin to index a batch; what is returned waits for the answer."""
        chosen = candidates(self._run, images, searched, rated, self._min_spots)
        wanted = zip(images[chosen.positions].tolist(), chosen.q, strict=True)
        futures = [self._begun.pop(image) if image in self._begun else self._submit(q) for image, q in wanted]
        return lambda: self._collect(len(images), len(searched.x), chosen, futures)

    @staticmethod
    def _collect(n: int, n_spots: int, chosen: Candidates, futures: list[Future[tuple[Lattice, ...]]]) -> Indexed:
        indexed = Indexed.none(n, n_spots, tried=True)
        found: list[Lattice] = []
        for i, spots, future in zip(chosen.positions, chosen.spots, futures, strict=True):
            lattices = future.result()
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
