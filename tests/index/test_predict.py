"""Predicted reflections: where a lattice should show itself."""

from __future__ import annotations

import numpy as np
import pytest

from hitsieve.index import predict, reach_of, reciprocal_vectors, resolution_within, why_not_predicted
from hitsieve.model import Beam, Detector, Panel
from hitsieve.testing.crystals import random_rotation, reciprocal_matrix
from hitsieve.testing.stills import CRYSTALS, Crystal, reflections

PIXEL, DISTANCE, SHAPE = 75e-6, 0.12, (1000, 1100)
BEAM = Beam(wavelength=1.2)
S0 = np.array([0, 0, 1 / 1.2])


def detector(panels: int = 1) -> Detector:
    """A flat detector across the beam, of one panel or of strips that lie a little askew."""
    rows = SHAPE[0] // panels
    strips = tuple(
        Panel(
            str(i),
            (SHAPE[1] / 2 * PIXEL, (SHAPE[0] / 2 - i * rows) * PIXEL, DISTANCE + 1e-3 * i),
            (-PIXEL, 2e-7 * i, 0.0),
            (0.0, -PIXEL, 3e-7 * i),
            (i * rows, 0),
            (rows, SHAPE[1]),
        )
        for i in range(panels)
    )
    return Detector(SHAPE, strips)


@pytest.mark.parametrize("name", sorted(CRYSTALS))
@pytest.mark.parametrize("panels", [1, 4])
def test_every_reflection_near_the_sphere_is_predicted_where_it_falls(name: str, panels: int) -> None:
    """What is predicted is what a search through all reflections finds, and each lies where its ray does."""
    crystal, place = CRYSTALS[name], detector(panels)
    A = random_rotation(np.random.default_rng([7, panels])) @ reciprocal_matrix(crystal.cell)
    reach, d_min = 8e-4, 3.0
    found = predict(A, place, BEAM, reach=reach, d_min=d_min, centring=crystal.centring)
    assert len(found) > 20

    hkl = all_reflections(crystal, d_min)
    q = hkl @ A.T
    off = np.linalg.norm(q + S0, axis=1) - 1 / 1.2
    near = np.abs(off) <= reach
    x, _ = place.meets(q[near] + S0)
    wanted = {tuple(h) for h in hkl[near][~np.isnan(x)].tolist()}
    assert {tuple(h) for h in found.hkl.tolist()} == wanted

    seen = reciprocal_vectors(place, BEAM, found.x, found.y)
    # A place on the detector says a point on the sphere; it is no farther from the reflection than that is.
    assert np.linalg.norm(seen - found.hkl @ A.T, axis=1).max() <= reach * 1.01
    assert np.abs(found.excitation).max() <= reach


def all_reflections(crystal: Crystal, d_min: float) -> np.ndarray:
    """Miller indices up to d_min, by brute force."""
    ranges = [np.arange(-int(length / d_min) - 1, int(length / d_min) + 2) for length in crystal.cell[:3]]
    hkl = np.stack(np.meshgrid(*ranges, indexing="ij"), -1).reshape(-1, 3)
    hkl = hkl[crystal.allowed(hkl) & hkl.any(axis=1)]
    return hkl[np.linalg.norm(hkl @ reciprocal_matrix(crystal.cell).T, axis=1) <= 1 / d_min]


def test_reach_is_that_of_the_reflections_indexed() -> None:
    crystal, random = CRYSTALS["tetragonal"], np.random.default_rng(1)
    A = random_rotation(random) @ reciprocal_matrix(crystal.cell)
    hkl = reflections(crystal)
    off = np.abs(np.linalg.norm(hkl @ A.T + S0, axis=1) - 1 / 1.2)
    shown = hkl[off < 1e-3]
    reach = reach_of(A, shown, BEAM)
    assert 8e-4 < reach < 1e-3
    predicted = {tuple(h) for h in predict(A, detector(), BEAM, reach=reach, d_min=2.5).hkl.tolist()}
    inside = shown[np.abs(off[off < 1e-3]) <= reach]
    x, _ = detector().meets(inside @ A.T + S0)
    assert {tuple(h) for h in inside[~np.isnan(x)].tolist()} <= predicted


def test_a_huge_cell_is_looked_at_up_to_a_lower_resolution() -> None:
    A = reciprocal_matrix((900.0, 900.0, 900.0, 90.0, 90.0, 90.0))
    found = predict(A, detector(), BEAM, reach=2e-5, d_min=1.0)
    d = 1.0 / np.linalg.norm(found.hkl @ A.T, axis=1)
    assert len(found) > 0
    assert d.min() > 5.0


def test_places_and_rays_are_each_others_inverse() -> None:
    random = np.random.default_rng(3)
    place = detector(4)
    x, y = random.uniform(1, SHAPE[1] - 1, 200), random.uniform(1, SHAPE[0] - 1, 200)
    back_x, back_y = place.meets(3.7 * place.lab(x, y))
    known = ~np.isnan(back_x)
    # At a step between strips one may hide another, or a ray may pass between them.
    assert known.mean() > 0.9
    same = known & (place.panel_of(back_x, back_y) == place.panel_of(x, y))
    assert same.sum() > 180
    np.testing.assert_allclose(back_x[same], x[same], atol=1e-6)
    np.testing.assert_allclose(back_y[same], y[same], atol=1e-6)
    assert np.isnan(place.meets([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])[0]).all()


@pytest.mark.parametrize(
    ("A", "reach", "says"),
    [
        (np.zeros((3, 3)), 1e-3, "no inverse"),
        (np.full((3, 3), np.nan), 1e-3, "no inverse"),
        (np.ones((3, 3)), 1e-3, "no inverse"),
        (np.eye(3) * 1e300, 1e-3, "no inverse"),
        (np.diag([1e-300, 1e150, 1e150]), 1e-3, "an axis of inf angstrom"),
        (np.diag([1e-5, 1.0, 1.0]), 1e-3, "an axis of 1e+05 angstrom"),
        (np.diag([1 / 2000.0] * 3), 1e9, "reflections on this image"),
        (np.diag([1 / 80.0] * 3), np.nan, "no known distance"),
    ],
)
def test_a_lattice_of_any_numbers_is_not_looked_through(A: np.ndarray, reach: float, says: str) -> None:
    assert says in why_not_predicted(A, BEAM, reach=reach, d_min=1e-30)


@pytest.mark.parametrize("name", sorted(CRYSTALS))
def test_a_lattice_of_a_crystal_is(name: str) -> None:
    A = random_rotation(np.random.default_rng(3)) @ reciprocal_matrix(CRYSTALS[name].cell)
    assert why_not_predicted(A, BEAM, reach=2e-3, d_min=1.5) == ""
    assert resolution_within(A, BEAM, 1.5) == pytest.approx(1.5)
    assert resolution_within(A, BEAM, 1e-3) >= 0.6, "beyond half the wavelength nothing diffracts"
    assert resolution_within(A, BEAM, 1.5, 1000) > 3
