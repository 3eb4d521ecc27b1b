"""A symmetry is imposed where the images allow it, and not where they refute it."""

from __future__ import annotations

import numpy as np
import pytest

from hitsieve.index import bravais_candidates, find_cell
from hitsieve.index.support import Support
from hitsieve.testing.crystals import random_rotation, reciprocal_matrix
from hitsieve.testing.stills import Crystal, Floats, spurious, still

BEAM = np.array([0.0, 0, 1])
Cell = tuple[float, float, float, float, float, float]


def sharp(cell: Cell, n: int) -> list[Floats]:
    """Spots of n crystals of any orientation, whose cells scatter little."""
    random = np.random.default_rng(7)
    return [
        np.vstack([still(random, Crystal(cell), 50, strained=3e-4, err=2e-4)[1], spurious(random, 8)]) for _ in range(n)
    ]


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        ((79, 79, 38, 90, 90, 90), "tP"),
        ((40, 80, 81, 90, 90, 90), "oP"),
        ((50, 70, 90, 90, 90.7, 90), "mP"),
    ],
)
def test_a_small_deviation_that_images_agree_on_is_no_symmetry(cell: Cell, kind: str) -> None:
    found = find_cell(sharp(cell, 8))
    assert found is not None and found.bravais.type == kind
    assert sorted(found.cell.parameters) == pytest.approx(sorted(cell), rel=2e-3)


def supported(strain: float, n: int, *, alike: bool, scatter: float = 2e-4) -> str:
    """Bravais type of crystals, tetragonal but for one strain of all along their a axis."""
    random = np.random.default_rng(3)
    fixed = random_rotation(random)
    axes = np.linalg.inv(reciprocal_matrix((79, 79, 38, 90, 90, 90)))
    cells, direct = [], []
    for _ in range(n):
        rows = axes @ (np.eye(3) + np.diag([strain, 0, 0]) + random.normal(0, scatter, (3, 3)))
        direct.append(rows @ (fixed if alike else random_rotation(random)).T)
        lengths = np.linalg.norm(rows, axis=1)
        unit = rows / lengths[:, None]
        cosines = unit[1] @ unit[2], unit[0] @ unit[2], unit[0] @ unit[1]
        cells.append([*lengths, *np.degrees(np.arccos(cosines))])
    support = Support(np.array(cells), direct, BEAM)
    assert support.alike == pytest.approx(1 if alike else 0, abs=0.01 if alike else 2 / np.sqrt(n))
    median = np.median(cells, axis=0)
    candidates = bravais_candidates(median.tolist(), length_tolerance=0.02, angle_tolerance=1.5)
    return next(found.type for found in candidates if support.of(found))


@pytest.mark.parametrize("n", [6, 12, 40])
def test_deviations_of_like_orientations_are_not_believed(n: int) -> None:
    """The geometry may be at fault where all images are of one orientation, and can not be where they are of all."""
    assert supported(0.01, n, alike=True) == "tP"
    assert supported(0.01, n, alike=False) == "oP"
    assert supported(0.0, n, alike=False) == supported(0.0, n, alike=True) == "tP"


def test_deviations_within_the_scatter_are_not_believed() -> None:
    assert supported(0.006, 12, alike=False, scatter=0.004) == "tP"
    assert supported(0.03, 12, alike=False, scatter=0.002) == "oP"


def test_axes_may_be_given_in_any_order() -> None:
    """The likeness is that of the crystals, whatever axes the lattice of an image was found on."""
    random = np.random.default_rng(4)
    axes = np.linalg.inv(reciprocal_matrix((60, 45, 38, 90, 90, 90)))
    turned = axes @ random_rotation(random).T
    cells = np.tile([60.0, 45, 38, 90, 90, 90], (3, 1))
    found = Support(cells, [turned, turned[[2, 0, 1]], -turned[[1, 0, 2]]], BEAM)
    assert found.alike == pytest.approx(1)
