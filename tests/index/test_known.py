"""Simulated crystals of a known cell are found, noise is not."""

from __future__ import annotations

import numpy as np
import pytest

from hitsieve.index import CellIndexer, index_known
from hitsieve.testing.stills import CRYSTALS, Crystal, agrees, deviation, spurious, still

kinds = pytest.mark.parametrize("crystal", CRYSTALS.values(), ids=CRYSTALS)


@kinds
def test_single_lattices(crystal: Crystal) -> None:
    """20 to 100 spots of which 10 to 30 % are spurious: at least 97 % found."""
    random = np.random.default_rng(1)
    indexer = CellIndexer(crystal.cell, crystal.centring)
    found = 0
    for _ in range(60):
        n, share = int(random.integers(20, 101)), random.uniform(0.1, 0.3)
        A, q = still(random, crystal, round(n * (1 - share)))
        lattices = indexer.index(random.permutation(np.vstack([q, spurious(random, n - len(q))])))
        found += any(agrees(A, lattice.A) for lattice in lattices)
    assert found >= 59


@kinds
def test_two_lattices(crystal: Crystal) -> None:
    """Two crystals and spurious spots: both found in at least 85 %."""
    random = np.random.default_rng(2)
    indexer = CellIndexer(crystal.cell, crystal.centring)
    both = 0
    for _ in range(30):
        n, share = int(random.integers(20, 101)), random.uniform(0.1, 0.3)
        crystals = [still(random, crystal, round(n * (1 - share))) for _ in range(2)]
        q = random.permutation(np.vstack([*(q for _, q in crystals), spurious(random, round(n * share))]))
        lattices = indexer.index(q)
        both += all(any(agrees(A, lattice.A) for lattice in lattices) for A, _ in crystals)
    assert both >= 26


@kinds
def test_random_spots_are_no_lattice(crystal: Crystal) -> None:
    random = np.random.default_rng(3)
    indexer = CellIndexer(crystal.cell, crystal.centring)
    assert not any(indexer.index(spurious(random, int(random.integers(8, 80)))) for _ in range(60))


@pytest.mark.long
def test_random_spots_are_no_lattice_in_a_thousand() -> None:
    random = np.random.default_rng(4)
    indexers = [CellIndexer(crystal.cell, crystal.centring) for crystal in CRYSTALS.values()]
    false = sum(
        bool(indexer.index(spurious(random, n))) for indexer in indexers for n in range(8, 80) for _ in range(8)
    )
    assert false <= 0.001 * len(indexers) * 72 * 8


@kinds
def test_lattice_says_what_it_means(crystal: Crystal) -> None:
    random = np.random.default_rng(5)
    A, q = still(random, crystal, 60)
    (lattice,) = index_known(q, crystal.cell, centring=crystal.centring)
    assert deviation(A, lattice.A)[0] < 0.5
    predicted = lattice.hkl @ lattice.A.T
    distances = np.linalg.norm(predicted - q[lattice.spots], axis=1)
    assert np.median(distances) == pytest.approx(lattice.residual, rel=0.2)
    assert np.all(np.diff(lattice.spots) > 0)
    assert len(lattice.spots) >= 50
    assert np.all(crystal.allowed(lattice.hkl.astype(np.int64)))
    assert np.linalg.norm(lattice.direct, axis=1) == pytest.approx(lattice.cell[:3])
    assert lattice.cell[:3] == pytest.approx(crystal.cell[:3], rel=0.02)
    assert np.linalg.det(lattice.A) > 0
    assert lattice.chance < 1e-10


def test_same_spots_same_answer() -> None:
    random = np.random.default_rng(6)
    crystal = CRYSTALS["triclinic"]
    q = np.vstack([still(random, crystal, 40)[1], spurious(random, 10)])
    first, second = (index_known(q, crystal.cell) for _ in range(2))
    assert [lattice.A.tolist() for lattice in first] == [lattice.A.tolist() for lattice in second]
    order = random.permutation(len(q))
    (moved,) = index_known(q[order], crystal.cell)
    assert pytest.approx(first[0].A, abs=1e-9) == moved.A
    assert sorted(order[moved.spots]) == first[0].spots.tolist()


def test_another_cell_finds_nothing() -> None:
    random = np.random.default_rng(7)
    q = still(random, CRYSTALS["tetragonal"], 60)[1]
    assert index_known(q, (61, 83, 99, 90, 97, 90)) == ()
