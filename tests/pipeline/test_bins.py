"""Bins of pixels against the geometry of the model, pixel by pixel."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitsieve.model import Beam, Detector, Panel
from hitsieve.model.detector import inverse_d
from hitsieve.source import open_run
from hitsieve.spots.bins import BACKGROUND_RING, MAX_BINS, TILE, rings, scattering_angles, tiles
from hitsieve.testing import Simulated

PIXEL = 75e-6


def flat(shape: tuple[int, int], centre: tuple[float, float], distance: float) -> Detector:
    """A detector that faces the beam; centre (x, y) in pixels."""
    origin = (-centre[0] * PIXEL, -centre[1] * PIXEL, distance)
    return Detector(shape, (Panel("flat", origin, (PIXEL, 0, 0), (0, PIXEL, 0), (0, 0), shape),))


def centres(detector: Detector) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(x, y) of every pixel centre, each of the image's shape."""
    y, x = np.indices(detector.shape) + 0.5
    return x, y


def angles(detector: Detector, beam: Beam) -> npt.NDArray[np.float64]:
    """2 theta of every pixel from the model's 1/d."""
    wavelength = beam.wavelength or 1.0
    x, y = centres(detector)
    q = inverse_d(detector, replace(beam, wavelength=wavelength), x.ravel(), y.ravel())
    return (2 * np.arcsin(np.clip(wavelength * q / 2, 0, 1))).reshape(detector.shape)


@st.composite
def unit_vectors(draw: st.DrawFn) -> tuple[float, float, float]:
    values = np.array(draw(st.tuples(*[st.floats(-1, 1)] * 3)))
    length = float(np.linalg.norm(values))
    x, y, z = values / length if length > 0.1 else (0.0, 0.0, 1.0)
    return float(x), float(y), float(z)


@st.composite
def panels(draw: st.DrawFn) -> Panel:
    """A panel anywhere, in any orientation, that does not hold the sample."""
    fast = np.array(draw(unit_vectors()))
    other = np.array(draw(unit_vectors()))
    slow = np.cross(fast, other)
    if np.linalg.norm(slow) < 0.1:
        slow = np.cross(fast, (1.0, 0.0, 0.0) if abs(fast[0]) < 0.5 else (0.0, 1.0, 0.0))
    slow /= np.linalg.norm(slow)
    normal = np.cross(fast, slow)
    away = draw(st.floats(0.02, 2.0)) * normal
    shift = draw(st.floats(-0.1, 0.1)) * fast + draw(st.floats(-0.1, 0.1)) * slow
    shape = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    pitch = draw(st.floats(1e-5, 2e-4))
    steps = (tuple(float(v) for v in axis * pitch) for axis in (fast, slow))
    origin = tuple(float(v) for v in away + shift)
    return Panel("any", origin, *steps, (0, 0), shape)  # type: ignore[arg-type]


@given(panels(), unit_vectors())
def test_angles_are_those_of_the_model(panel: Panel, direction: tuple[float, float, float]) -> None:
    beam = Beam(1.0, direction=direction)
    detector = Detector(panel.shape, (panel,))
    found = scattering_angles(panel, beam, slice(0, panel.shape[0]))
    # Near the beam the model's 1 - cos loses digits: 1e-7 rad is far below a pixel.
    np.testing.assert_allclose(found, angles(detector, beam), rtol=1e-5, atol=3e-7)


@pytest.mark.parametrize("width", [1.0, 4.0, 7.5])
def test_rings_near_the_beam_are_circles_of_the_width(width: float) -> None:
    detector = flat((200, 240), (101.3, 77.9), 4000 * PIXEL)
    number = rings(detector, Beam(1.0), width).number
    x, y = centres(detector)
    radius = np.hypot(x - 101.3, y - 77.9) / width
    # At 4000 pixels a circle of equal angle differs from one of equal radius by at most 0.05 pixels here.
    clear = np.abs(radius - np.round(radius)) > 0.12 / width
    assert clear.mean() > 0.6
    assert np.array_equal(number[clear], np.floor(radius[clear]))


@given(
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.tuples(st.floats(-100, 100), st.floats(-100, 100)),
    st.floats(0.005, 1.0),
    st.floats(0.5, 12),
)
@settings(max_examples=50)
def test_rings_are_intervals_of_the_angle(
    shape: tuple[int, int], centre: tuple[float, float], distance: float, width: float
) -> None:
    detector = flat(shape, centre, distance)
    bins = rings(detector, Beam(1.0), width)
    assert bins.number.shape == shape
    assert len(bins.background) == bins.number.max() + 1
    two_theta = angles(detector, Beam(1.0))
    place = two_theta * distance / PIXEL / width
    assert np.all(np.abs(place - bins.number - 0.5) <= 0.5 + 1e-2)


def test_a_tilted_detector_has_rings_of_equal_angle() -> None:
    tilt = math.radians(30)
    fast = (math.cos(tilt) * PIXEL, 0.0, math.sin(tilt) * PIXEL)
    panel = Panel("tilted", (0.01, -0.01, 0.08), fast, (0.0, PIXEL, 0.0), (0, 0), (300, 250))
    detector = Detector((300, 250), (panel,))
    beam = Beam(1.0)
    number = rings(detector, beam, 4.0).number
    two_theta = angles(detector, beam)
    order = np.argsort(two_theta.ravel())
    assert np.all(np.diff(number.ravel()[order].astype(int)) >= 0)
    spread = [np.ptp(two_theta[number == n]) for n in np.unique(number)]
    assert max(spread) < 4.5 * PIXEL / 0.08
    assert len(spread) > 30


def test_panels_share_rings_and_gaps_have_none_of_their_own() -> None:
    whole = flat((100, 100), (50.0, 50.0), 0.1)
    panel = whole.panels[0]
    cut = Detector(
        (100, 100),
        tuple(
            Panel(f"p{i}", tuple(panel.lab(f, s)), panel.fast, panel.slow, (s, f), (40, 40))  # type: ignore[arg-type]
            for i, (s, f) in enumerate([(0, 0), (0, 60), (60, 0), (60, 60)])
        ),
    )
    inside = cut.panel_map() < 4
    assert inside.sum() == 6400
    together, apart = rings(whole, Beam(1.0), 3.0), rings(cut, Beam(1.0), 3.0)
    assert np.array_equal(apart.number[inside], together.number[inside])
    assert not apart.number[~inside].any()


def test_a_module_of_no_pixels_changes_nothing() -> None:
    whole = flat((40, 50), (25.0, 20.0), 0.1)
    for shape in ((40, 0), (0, 50)):
        empty = replace(whole.panels[0], name="empty", first=(0, 0), shape=shape)
        several = replace(whole, panels=(*whole.panels, empty))
        alone, both = (rings(detector, Beam(1.0), 2.0) for detector in (whole, several))
        np.testing.assert_array_equal(both.number, alone.number)


def test_background_ring_is_the_water_peak() -> None:
    detector, beam = flat((1000, 1000), (500.0, 500.0), 0.06), Beam(1.0)
    bins = rings(detector, beam, 4.0)
    assert bins.ring == BACKGROUND_RING
    x, y = centres(detector)
    d = 1 / inverse_d(detector, beam, x.ravel(), y.ravel()).reshape(detector.shape)
    in_ring = bins.background[bins.number]
    assert d[in_ring].min() == pytest.approx(3.0, rel=0.02)
    assert d[in_ring].max() == pytest.approx(4.0, rel=0.02)
    assert in_ring[(d > 3.05) & (d < 3.95)].all()


@pytest.mark.parametrize(("beam", "distance"), [(Beam(), 0.06), (Beam(1.0), 5.0)])
def test_without_the_water_peak_the_whole_image_is_the_background(beam: Beam, distance: float) -> None:
    bins = rings(flat((100, 100), (50.0, 50.0), distance), beam, 4.0)
    assert bins.ring is None
    assert bins.background.all()
    assert len(bins.background) == bins.number.max() + 1


def test_no_more_bins_than_numbers() -> None:
    bins = rings(flat((1, 70_000), (0.0, 0.0), 70_000 * PIXEL), Beam(1.0), 0.5)
    assert MAX_BINS / 2 < len(bins.background) <= MAX_BINS + 1
    assert np.all(np.diff(bins.number[0].astype(int)) >= 0)


def test_rings_of_a_file(simulated: Simulated) -> None:
    with open_run([simulated.master]) as opened:
        detector, beam = opened.run.detector, opened.run.beam
    number = rings(detector, beam, 4.0).number
    two_theta = angles(detector, beam)
    inside = detector.panel_map() < len(detector.panels)
    assert detector.distance is not None and detector.pixel_size is not None
    place = two_theta * detector.distance / detector.pixel_size[0] / 4.0
    assert np.all(np.abs(place - number - 0.5)[inside] <= 0.51)


@given(st.tuples(st.integers(1, 400), st.integers(1, 400)))
@settings(max_examples=50)
def test_tiles_are_squares(shape: tuple[int, int]) -> None:
    bins = tiles(Detector(shape))
    assert bins.ring is None
    assert bins.background.all()
    number = bins.number
    assert np.array_equal(np.unique(number), np.arange(len(bins.background)))
    for n in range(len(bins.background)):
        y, x = np.nonzero(number == n)
        assert len(y) == (np.ptp(y) + 1) * (np.ptp(x) + 1) <= TILE * TILE
        assert y.min() % TILE == 0 and x.min() % TILE == 0


def test_tiles_grow_before_their_numbers_run_out() -> None:
    bins = tiles(Detector((1, MAX_BINS * TILE + 1)))
    assert len(bins.background) <= MAX_BINS
    assert np.bincount(bins.number[0])[0] == 2 * TILE
