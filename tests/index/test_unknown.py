"""Cells are found without being known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from pydantic import ValidationError

from hitsieve.errors import SettingsError
from hitsieve.index import consensus_cell, index_unknown
from hitsieve.settings import IndexSettings
from hitsieve.testing.stills import CRYSTALS, NOISE, Crystal, Floats, agrees, spurious, still

KINDS = {
    "tetragonal": (CRYSTALS["tetragonal"], (38, 79, 79, 90, 90, 90)),
    "orthorhombic": (Crystal((61, 83, 99, 90, 90, 90)), (61, 83, 99, 90, 90, 90)),
    "monoclinic": (CRYSTALS["monoclinic"], (50, 70, 90, 90, 105, 90)),
    "triclinic": (CRYSTALS["triclinic"], (45, 60, 75, 80, 95, 105)),
}
CELL = (45.0, 60.0, 75.0, 80.0, 95.0, 105.0)
kinds = pytest.mark.parametrize(("crystal", "reduced"), KINDS.values(), ids=KINDS)


def like(cell: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Within 1 % and 1 degree, angles up to the choice of sign of the axes."""
    lengths = np.allclose(cell[:3], other[:3], rtol=0.01)
    folded = [90 - np.abs(90 - np.array(angles)) for angles in (cell[3:], other[3:])]
    return bool(lengths and np.abs(folded[0] - folded[1]).max() < 1)


@kinds
def test_consensus_of_simulated_hits(crystal: Crystal, reduced: tuple[float, ...]) -> None:
    random = np.random.default_rng(1)
    cells, right = [], 0
    for _ in range(40):
        n, share = int(random.integers(20, 101)), random.uniform(0.1, 0.3)
        A, q = still(random, crystal, round(n * (1 - share)))
        lattice = index_unknown(np.vstack([q, spurious(random, n - len(q))]))
        if lattice is not None:
            cells.append(lattice.cell)
            right += agrees(A, lattice.A)
    assert right >= 36
    found = consensus_cell(cells)
    assert found is not None
    assert like(found.cell, reduced)
    assert len(found.members) >= 36 and found.n_cells == len(cells)


def test_random_spots_have_no_cell() -> None:
    random = np.random.default_rng(2)
    assert not any(index_unknown(spurious(random, int(random.integers(8, 80)))) for _ in range(40))


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE)
def test_random_spots_have_no_cell_wherever_they_lie(noise: Callable[[np.random.Generator, int], Floats]) -> None:
    random = np.random.default_rng(7)
    assert not any(index_unknown(noise(random, n)) for n in (20, 40, 80) for _ in range(7))


@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_too_few_spots(n: int) -> None:
    assert index_unknown(np.random.default_rng(3).normal(0, 0.1, (n, 3))) is None


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, 1e300])
def test_spots_without_meaning(value: float) -> None:
    assert index_unknown(np.full((30, 3), value)) is None


def test_same_spots_same_answer() -> None:
    q = still(np.random.default_rng(4), CRYSTALS["triclinic"], 50)[1]
    first, second = index_unknown(q), index_unknown(q)
    assert first is not None and second is not None
    assert first.A.tolist() == second.A.tolist()


def test_consensus_sees_through_the_choice_of_axes() -> None:
    """Angles either side of 90 degrees, and near-equal axes in either order, are one cell."""
    cells = [
        (38.0, 79.0, 79.2, 90.3, 89.8, 90.1),
        (38.1, 79.1, 79.0, 89.6, 90.4, 89.9),
        (38.0, 79.0, 79.1, 90.2, 90.2, 89.7),
    ]
    strays = [(41.0, 66.0, 90.0, 84.0, 99.0, 101.0), (52.0, 52.5, 90.0, 90.0, 90.0, 90.0)]
    found = consensus_cell([*strays, *cells])
    assert found is not None
    assert found.members.tolist() == [2, 3, 4]
    assert like(found.cell, (38, 79, 79.1, 90, 90, 90))


def test_consensus_of_many_is_found_among_others() -> None:
    """Where there are more cells than are tried in turn as the middle of a group."""
    random = np.random.default_rng(5)
    cells = [
        (*random.uniform(40, 120, 3), 90.0, 90.0, 90.0) if i % 3 else tuple(np.array(CELL) * random.normal(1, 2e-3, 6))
        for i in range(450)
    ]
    found = consensus_cell([(a, b, c, d, e, f) for a, b, c, d, e, f in cells])
    assert found is not None
    assert set(range(0, 450, 3)) <= set(found.members.tolist())
    assert like(found.cell, CELL)


def test_bad_cells_and_lengths() -> None:
    assert consensus_cell([]) is None
    with pytest.raises(SettingsError, match="impossible"):
        consensus_cell([(38.0, 79.0, 79.0, 30.0, 30.0, 90.0)])
    with pytest.raises(ValidationError, match="no cell would do"):
        IndexSettings(min_length=100, max_length=50)
