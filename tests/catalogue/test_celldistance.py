"""The distance of lattices: a metric, blind to settings, and what it says of strains is true."""

from __future__ import annotations

import math
from itertools import product

import gemmi
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitsieve.catalogue.celldistance import CENTRINGS, NearLattice, distance, possible_centrings, reduced_metric
from hitsieve.errors import SettingsError

Floats = npt.NDArray[np.float64]
Setting = tuple[tuple[float, ...], str]
RHOMBOHEDRAL = (86.60254038, 86.60254038, 86.60254038, 109.4712206, 109.4712206, 109.4712206)
"""Of a body-centred cube of 100."""
LYSOZYME = (79.0, 79.0, 38.0, 90.0, 90.0, 90.0)
SMALL = [np.reshape(g, (3, 3)) for g in product((-1, 0, 1), repeat=9)]
SMALL = [g for g in SMALL if abs(round(float(np.linalg.det(g)))) == 1]

lengths = st.floats(20, 300)
angles = st.floats(65, 115)
cells = st.tuples(lengths, lengths, lengths, angles, angles, angles)
steps = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.sampled_from((-1, 1))), max_size=4)
strains = st.tuples(*[st.floats(-0.015, 0.015)] * 3)
turns = st.tuples(*[st.floats(-3, 3)] * 3)


def axes_of(cell: tuple[float, ...]) -> Floats:
    return np.array(gemmi.UnitCell(*cell).orth.mat.tolist()).T


def metric_of(axes: Floats) -> tuple[float, ...]:
    """Reduced metric of axes (rows)."""
    return reduced_metric(cell_of(axes))


def cell_of(axes: Floats) -> tuple[float, ...]:
    a, b, c = np.linalg.norm(axes, axis=1)
    cosines = axes[1] @ axes[2] / (b * c), axes[0] @ axes[2] / (a * c), axes[0] @ axes[1] / (a * b)
    return (float(a), float(b), float(c), *(math.degrees(math.acos(x)) for x in cosines))


def changed(axes: Floats, moves: list[tuple[int, int, int]]) -> Floats:
    """Another basis of the same lattice."""
    out = axes.copy()
    for i, j, n in moves:
        if i != j:
            out[i] += n * out[j]
    return out


def strained(axes: Floats, strain: tuple[float, ...], turn: tuple[float, ...]) -> Floats:
    """Axes stretched by exp(strain) along three directions at right angles."""
    directions = np.linalg.qr(np.array(turn).reshape(1, 3).T @ np.ones((1, 3)) + np.eye(3))[0]
    return axes @ directions @ np.diag(np.exp(strain)) @ directions.T


@given(cells, steps)
@settings(max_examples=60)
def test_any_basis_of_a_lattice_is_the_same_lattice(cell: tuple[float, ...], moves: list[tuple[int, int, int]]) -> None:
    axes = axes_of(cell)
    assert distance(metric_of(axes), metric_of(changed(axes, moves))) < 1e-6


@pytest.mark.parametrize("centring", CENTRINGS)
def test_a_centred_cell_is_its_primitive_one(centring: str) -> None:
    cell = (78.0, 78.0, 120.0, 90.0, 90.0, 120.0) if centring == "R" else (61.0, 72.0, 95.0, 90.0, 101.0, 90.0)
    primitive = np.array(CENTRINGS[centring]) @ axes_of(cell)
    assert distance(reduced_metric(cell, centring), metric_of(primitive)) < 1e-9
    points = {"P": 1, "F": 4, "R": 3}.get(centring, 2)
    assert abs(np.linalg.det(primitive)) == pytest.approx(abs(np.linalg.det(axes_of(cell))) / points)
    theirs = gemmi.GruberVector(gemmi.UnitCell(*cell), centring)
    theirs.niggli_reduce()
    assert reduced_metric(cell, centring)[:3] == pytest.approx(sorted(theirs.parameters[:3]))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        # A face-centred cube on other axes; a body-centred one; hexagonal as orthohexagonal; other order of axes.
        (((100, 100, 100, 90, 90, 90), "F"), ((70.71067812, 70.71067812, 70.71067812, 60, 60, 60), "P")),
        (((100, 100, 100, 90, 90, 90), "F"), ((70.71067812, 70.71067812, 100, 90, 90, 90), "I")),
        (((100, 100, 100, 90, 90, 90), "I"), (RHOMBOHEDRAL, "P")),
        (((60, 60, 90, 90, 90, 120), "P"), ((60, 103.9230485, 90, 90, 90, 90), "C")),
        (((38, 79, 79, 90, 90, 90), "P"), (LYSOZYME, "P")),
    ],
)
def test_settings_of_one_lattice_agree(
    one: tuple[tuple[float, ...], str], other: tuple[tuple[float, ...], str]
) -> None:
    assert distance(reduced_metric(*one), reduced_metric(*other)) < 1e-6


@given(cells, strains, turns, steps)
@settings(max_examples=60)
def test_a_strained_lattice_is_as_near_as_its_strain(
    cell: tuple[float, ...], strain: tuple[float, ...], turn: tuple[float, ...], moves: list[tuple[int, int, int]]
) -> None:
    axes = axes_of(cell)
    other = changed(strained(axes, strain, turn), moves)
    assert distance(metric_of(axes), metric_of(other)) <= max(map(abs, strain)) + 1e-6


@given(cells, strains, turns)
@settings(max_examples=30)
def test_the_least_of_all_changes_of_basis_is_found(
    cell: tuple[float, ...], strain: tuple[float, ...], turn: tuple[float, ...]
) -> None:
    one, other = metric_of(axes_of(cell)), metric_of(strained(axes_of(cell), strain, turn))
    g, h = (np.array([[m[0], m[5], m[4]], [m[5], m[1], m[3]], [m[4], m[3], m[2]]]) for m in (one, other))
    inverse = np.linalg.inv(np.linalg.cholesky(h))
    all_of = np.array([inverse @ change @ g @ change.T @ inverse.T for change in SMALL])
    least = np.abs(np.log(np.linalg.eigvalsh(all_of))).max(axis=1).min() / 2
    assert distance(one, other) <= least + 1e-9
    assert distance(one, other) == pytest.approx(distance(other, one), abs=1e-9)


@given(cells, strains, strains, turns)
@settings(max_examples=40)
def test_triangles(
    cell: tuple[float, ...], strain: tuple[float, ...], more: tuple[float, ...], turn: tuple[float, ...]
) -> None:
    a = axes_of(cell)
    b = strained(a, strain, turn)
    c = strained(b, more, turn[::-1])
    x, y, z = map(metric_of, (a, b, c))
    assert distance(x, z) <= distance(x, y) + distance(y, z) + 1e-6


def test_two_percent_are_two_percent() -> None:
    """Of any one length, also of the shortest axis of a long cell; and no more than that."""
    within = NearLattice(reduced_metric(LYSOZYME), math.log(1.02))
    near = [(79, 79, 38 * 1.0199, 90, 90, 90), (79 * 1.0199, 79, 38, 90, 90, 90), (79 / 1.0199, 79, 38, 90, 90, 90)]
    far = [(79, 79, 38 * 1.0201, 90, 90, 90), (79, 79 / 1.0201, 38, 90, 90, 90), (79, 79, 38, 90, 90, 93)]
    metrics = np.array([reduced_metric(cell) for cell in (*near, *far)])
    found = within.distances(metrics)
    assert found[:3] == pytest.approx(math.log(1.0199))
    assert np.isinf(found[3:]).all()
    assert len(within.distances(np.zeros((0, 6)))) == 0


def test_unlike_lattices_are_far() -> None:
    assert distance(reduced_metric(LYSOZYME), reduced_metric((58, 58, 150, 90, 90, 90))) == math.inf
    assert distance(reduced_metric(LYSOZYME, "I"), reduced_metric(LYSOZYME)) == math.inf


def test_too_thin() -> None:
    thin = reduced_metric((2.5, 3, 1900, 90, 90, 90))
    with pytest.raises(SettingsError, match="too thin"):
        NearLattice(thin, math.log(1.1)).distances([thin])


def test_centrings_that_axes_may_have() -> None:
    assert "R" not in possible_centrings(LYSOZYME)
    assert "R" in possible_centrings((78, 78, 120, 90, 90, 120))
