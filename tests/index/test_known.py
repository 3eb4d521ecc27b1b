"""Simulated crystals of a known cell are found, noise is not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from hitsieve.index import CellIndexer, index_known
from hitsieve.model import CellParameters
from hitsieve.testing.crystals import random_rotation, reciprocal_matrix
from hitsieve.testing.stills import CRYSTALS, NOISE, Crystal, Floats, agrees, deviation, on_sphere, spurious, still

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


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE)
def test_random_spots_are_no_lattice_wherever_they_lie(noise: Callable[[np.random.Generator, int], Floats]) -> None:
    """Also on a section that is nearly flat, where a dense plane of the lattice can lie along it."""
    random = np.random.default_rng(8)
    for name in ("tetragonal", "monoclinic", "hexagonal"):
        indexer = CellIndexer(CRYSTALS[name].cell)
        assert not any(indexer.index(noise(random, n)) for n in (20, 40, 80) for _ in range(20))


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


@pytest.mark.parametrize("cell", [(40, 80, 55, 90, 90, 90), (79, 79, 38, 90, 90, 90)])
def test_lattices_at_a_right_angle_are_two(cell: CellParameters) -> None:
    """Many vectors of the second lie along vectors of the first, but are of another length."""
    random = np.random.default_rng(9)
    # About the c axis, or, where that is a symmetry, about a.
    about_c, about_a = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]]), np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])
    quarter = about_a if cell[0] == cell[1] else about_c
    both = 0
    for _ in range(10):
        turn = random_rotation(random)
        crystals = [turn @ change @ reciprocal_matrix(cell) for change in (np.eye(3), quarter)]
        q = np.vstack([seen(random, A, 50) for A in crystals])
        found = index_known(q, cell)
        both += all(any(agrees(A, lattice.A) for lattice in found) for A in crystals)
    assert both >= 9


def seen(random: np.random.Generator, A: Floats, n: int) -> Floats:
    """Some reflections of this A matrix near the Ewald sphere, to 3 angstrom, with small errors, on it."""
    most = np.linalg.norm(np.linalg.inv(A), axis=1) / 3
    hkl = np.stack(np.meshgrid(*[np.arange(-int(n), int(n) + 1) for n in most], indexing="ij"), -1).reshape(-1, 3)
    q = hkl[np.abs(hkl).any(axis=1)] @ A.T
    q = q[np.linalg.norm(q, axis=1) < 1 / 3]
    moved = on_sphere(q)
    near = random.permutation(moved[np.linalg.norm(moved - q, axis=1) < 6e-4])[:n]
    return on_sphere(near + random.normal(0, 2e-4, near.shape))


def test_axes_of_nearly_one_length_are_not_interchanged() -> None:
    random = np.random.default_rng(10)
    cell = (80, 81, 40, 90, 90, 90)
    indexer = CellIndexer(cell)
    for _ in range(24):
        A = random_rotation(random) @ reciprocal_matrix(cell)
        (lattice,) = indexer.index(np.vstack([seen(random, A, 60), spurious(random, 12)]))
        assert lattice.cell[:2] == pytest.approx(cell[:2], abs=0.3)


def test_another_cell_finds_nothing() -> None:
    random = np.random.default_rng(7)
    q = still(random, CRYSTALS["tetragonal"], 60)[1]
    assert index_known(q, (61, 83, 99, 90, 97, 90)) == ()
