"""What cannot be indexed is refused or left alone."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from hitsieve.errors import MetadataError, SettingsError
from hitsieve.index import CellIndexer, index_known, reciprocal_vectors
from hitsieve.model import Beam, Detector, Panel
from hitsieve.model.detector import inverse_d
from hitsieve.settings import IndexSettings

CELL = (79, 79, 38, 90, 90, 90)


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ((79, 79, 38, 60, 60, 130), "no crystal has the cell"),
        ((0, 79, 38, 90, 90, 90), "no crystal has the cell"),
        ((79, -79, 38, 90, 90, 90), "no crystal has the cell"),
        ((79, 79, float("nan"), 90, 90, 90), "no crystal has the cell"),
        ((79, 79, 38), "six numbers"),
    ],
)
def test_impossible_cells(cell: tuple[float, ...], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        CellIndexer(cell)


@pytest.mark.parametrize("centring", ["", "X", "p", "PC"])
def test_unknown_centring(centring: str) -> None:
    with pytest.raises(SettingsError, match="centring"):
        CellIndexer(CELL, centring)


@pytest.mark.parametrize("name", ["min_indexed", "max_chance", "max_lattices", "length_tolerance"])
def test_senseless_settings(name: str) -> None:
    with pytest.raises(ValidationError, match=name):
        IndexSettings.model_validate({name: 0})


@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_too_few_spots(n: int) -> None:
    q = np.random.default_rng(1).normal(0, 0.1, (n, 3))
    assert index_known(q, CELL) == ()


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, 1e300])
def test_spots_without_meaning(value: float) -> None:
    assert index_known(np.full((30, 3), value), CELL) == ()


def one_panel() -> Detector:
    panel = Panel("p", (-0.05, 0.05, 0.1), (1e-4, 0.0, 0.0), (0.0, -1e-4, 0.0), (0, 0), (1000, 1000))
    return Detector((1000, 1000), (panel,))


def test_reciprocal_vectors_have_the_length_of_bragg() -> None:
    random = np.random.default_rng(2)
    x, y = random.uniform(0, 1000, (2, 50))
    detector, beam = one_panel(), Beam(1.3)
    q = reciprocal_vectors(detector, beam, x, y)
    assert np.linalg.norm(q, axis=1) == pytest.approx(inverse_d(detector, beam, x, y))
    assert np.linalg.norm(q + np.array([0, 0, 1 / 1.3]), axis=1) == pytest.approx(1 / 1.3)
    # The frame's x grows along fast, y against slow on this detector.
    assert np.all((q[:, 0] > 0) == (x > 500)) and np.all((q[:, 1] > 0) == (y < 500))


def test_reciprocal_vectors_take_the_wavelength_of_the_image() -> None:
    beam = Beam(1.3, wavelengths=np.array([1.2, 1.4]))
    q = reciprocal_vectors(one_panel(), beam, [100], [200], image=1)
    assert q == pytest.approx(reciprocal_vectors(one_panel(), Beam(1.4), [100], [200]))


def test_reciprocal_vectors_need_geometry_and_wavelength() -> None:
    with pytest.raises(MetadataError, match="geometry"):
        reciprocal_vectors(Detector((10, 10)), Beam(1.0), [1], [1])
    with pytest.raises(MetadataError, match="wavelength"):
        reciprocal_vectors(one_panel(), Beam(), [1], [1])
    assert np.isnan(reciprocal_vectors(one_panel(), Beam(1.0), [-5], [1])).all()
