"""The hit rule against one written spot by spot."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hitsieve.errors import MetadataError
from hitsieve.model import Beam, Detector, ImageTable, Panel, Run, SpotFlag, State
from hitsieve.model.detector import inverse_d
from hitsieve.settings import VerdictSettings
from hitsieve.verdict import ICE_RINGS, HitRule, Rated, check_geometry, rate_spots
from hitsieve.verdict.rule import near_ice

SIDE = 1000
PIXEL = 75e-6
DISTANCE = 0.03
CENTRE = 500.0
WAVELENGTH = 1.2
FLAT = Detector(
    shape=(SIDE, SIDE),
    panels=(
        Panel("flat", (-CENTRE * PIXEL, -CENTRE * PIXEL, DISTANCE), (PIXEL, 0, 0), (0, PIXEL, 0), (0, 0), (SIDE, SIDE)),
    ),
)
BEAM = Beam(WAVELENGTH)
BLIND = Detector(shape=(SIDE, SIDE))


def d_at(x: float, y: float, wavelength: float = WAVELENGTH) -> float:
    """Bragg's law, by hand."""
    sideways = math.hypot(x - CENTRE, y - CENTRE) * PIXEL
    sine = math.sin(math.atan2(sideways, DISTANCE) / 2)
    return wavelength / (2 * sine) if sine else math.inf


def column_of(d: float, wavelength: float = WAVELENGTH) -> float:
    """The x right of the beam centre at which a spot has resolution d."""
    return CENTRE + DISTANCE * math.tan(2 * math.asin(wavelength / (2 * d))) / PIXEL


def rated(
    spots: list[list[tuple[float, float]]],
    settings: VerdictSettings | None = None,
    detector: Detector = FLAT,
    beam: Beam = BEAM,
    first: int = 0,
) -> Rated:
    flat = [spot for image in spots for spot in image]
    xs = np.array([x for x, _ in flat], dtype=np.float32)
    ys = np.array([y for _, y in flat], dtype=np.float32)
    offsets = np.cumsum([0, *(len(image) for image in spots)]).astype(np.int64)
    images = np.arange(first, first + len(spots), dtype=np.int64)
    return rate_spots(images, offsets, (xs, ys), (detector, beam), settings or VerdictSettings())


def row(n: int, d: float) -> list[tuple[float, float]]:
    return [(column_of(d), CENTRE)] * n


def test_ice_rings_are_those_of_the_cell() -> None:
    a, c = 4.498, 7.322
    known = set()
    for h in range(5):
        for k in range(5):
            for l in range(8):
                if h or k or l:
                    known.add((4 / 3 * (h * h + h * k + k * k) / a**2 + l * l / c**2) ** -0.5)
    for ring in ICE_RINGS:
        assert min(abs(d - ring) for d in known) < 0.002


@given(
    st.lists(st.floats(0, 2, allow_subnormal=False) | st.sampled_from([1 / d for d in ICE_RINGS]), max_size=30),
    st.floats(1e-5, 0.05),
)
def test_near_ice_is_the_nearest_ring(q: list[float], half_width: float) -> None:
    expected = [min(abs(value - 1 / d) for d in ICE_RINGS) <= half_width for value in q]
    assert near_ice(np.array(q, dtype=np.float64), half_width).tolist() == expected


def test_near_ice_never_for_nan() -> None:
    assert not near_ice(np.array([np.nan]), 1.0)[0]


Spot = tuple[float, float]
PLACES = st.tuples(st.floats(0, SIDE - 1, width=32), st.floats(0, SIDE - 1, width=32))


@dataclass(frozen=True)
class Expected:
    counted: int
    ice: int
    resolution: float


def by_hand(spots: list[Spot], settings: VerdictSettings) -> Expected:
    counted, ice = [], 0
    for x, y in spots:
        q = float(inverse_d(FLAT, BEAM, np.float32(x), np.float32(y))[0])
        d = 1 / q if q else math.inf
        in_ice = any(abs(q - 1 / ring) <= settings.ice_half_width for ring in ICE_RINGS)
        ice += in_ice
        in_range = (settings.d_min is None or d >= settings.d_min) and (settings.d_max is None or d <= settings.d_max)
        if in_range and not (in_ice and settings.ice):
            counted.append(q)
    counted.sort()
    at = math.floor(0.95 * (len(counted) - 1))
    resolution = (1 / counted[at] if counted[at] else math.inf) if len(counted) >= 5 else math.nan
    return Expected(len(counted), ice, resolution)


@st.composite
def verdicts(draw: st.DrawFn) -> VerdictSettings:
    limits = sorted(draw(st.lists(st.floats(1.0, 20.0), min_size=2, max_size=2, unique=True)))
    return VerdictSettings(
        d_min=draw(st.sampled_from([None, limits[0]])),
        d_max=draw(st.sampled_from([None, limits[1]])),
        ice=draw(st.booleans()),
        ice_half_width=draw(st.floats(1e-4, 0.02)),
    )


@given(st.lists(st.lists(PLACES, max_size=25), max_size=6), verdicts())
@example([], VerdictSettings())
@example([[], []], VerdictSettings())
@example([[(CENTRE, CENTRE)] * 30, []], VerdictSettings())
def test_rating_agrees_with_the_rule_by_hand(spots: list[list[Spot]], settings: VerdictSettings) -> None:
    verdict = rated(spots, settings)
    expected = [by_hand(image, settings) for image in spots]
    assert verdict.n_spots_counted.tolist() == [e.counted for e in expected]
    assert verdict.n_spots_ice.tolist() == [e.ice for e in expected]
    np.testing.assert_allclose(verdict.resolution, [e.resolution for e in expected], rtol=1e-5)
    flags = verdict.spot_flags
    left_out = (flags & SpotFlag.OUT_OF_RANGE > 0) | ((flags & SpotFlag.ICE > 0) & settings.ice)
    assert np.count_nonzero(~left_out) == sum(e.counted for e in expected)
    assert np.array_equal(verdict.counted, ~left_out)
    assert not np.any(flags & ~np.uint8(SpotFlag.ICE | SpotFlag.OUT_OF_RANGE))


@given(st.lists(PLACES, min_size=1, max_size=40))
def test_resolution_of_spots_is_braggs(spots: list[Spot]) -> None:
    d = rated([spots]).spot_resolution
    np.testing.assert_allclose(d, [d_at(np.float32(x), np.float32(y)) for x, y in spots], rtol=1e-4)


COUNTS = [0, 7, 8, 9, 0, 7, 8, 9, 7, 9]
LATTICES = [0, 0, 0, 0, 1, 2, 1, 3, -1, -1]


@pytest.mark.parametrize(
    ("kind", "hits"),
    [
        ("spots", [2, 3, 6, 7, 9]),
        ("indexed", [4, 5, 6, 7]),
        ("either", [2, 3, 4, 5, 6, 7, 9]),
        ("both", [6, 7]),
    ],
)
def test_each_rule_makes_its_hits(kind: Literal["either", "spots", "indexed", "both"], hits: list[int]) -> None:
    state = HitRule(kind, 8).decide(np.array(COUNTS, np.int32), np.array(LATTICES, np.int32))
    assert np.flatnonzero(state == State.HIT).tolist() == hits
    assert ((state == State.HIT) | (state == State.MISS)).all()


def test_spots_in_ice_do_not_count_unless_told() -> None:
    icy = [row(50, ICE_RINGS[0])]
    assert rated(icy).n_spots_counted.tolist() == [0]
    kept = rated(icy, VerdictSettings(ice=False))
    assert kept.n_spots_counted.tolist() == [50]
    assert kept.n_spots_ice.tolist() == [50]
    assert (kept.spot_flags == SpotFlag.ICE).all()


def test_range_counts_on_both_sides() -> None:
    spots = [row(3, 1.7) + row(4, 3.0) + row(5, 30.0)]
    for settings, counted in (
        (VerdictSettings(), 12),
        (VerdictSettings(d_min=2.0), 9),
        (VerdictSettings(d_max=20.0), 7),
        (VerdictSettings(d_min=2.0, d_max=20.0), 4),
    ):
        assert rated(spots, settings).n_spots_counted.tolist() == [counted]


def test_resolution_needs_five_spots_and_forgives_one_in_twenty() -> None:
    images = [row(4, 3.0), row(5, 3.0), row(20, 3.0) + row(1, 1.8), row(8, 3.0) + row(12, 2.5)]
    resolution = rated(images).resolution
    assert np.isnan(resolution[0])
    assert resolution[1:] == pytest.approx([3.0, 3.0, 2.5], rel=1e-4)


def test_each_image_has_its_own_wavelength() -> None:
    beam = Beam(WAVELENGTH, np.array([1.0, WAVELENGTH, 1.4]))
    x = column_of(3.0)
    d = rated([[(x, CENTRE)]] * 2, beam=beam, first=1).spot_resolution
    assert d == pytest.approx([d_at(x, CENTRE), d_at(x, CENTRE, 1.4)], rel=1e-5)


@pytest.mark.parametrize(("detector", "beam"), [(BLIND, BEAM), (FLAT, Beam())])
def test_without_geometry_every_spot_counts(detector: Detector, beam: Beam) -> None:
    verdict = rated([[(10.0, 10.0)] * 8, [(10.0, 10.0)] * 7], detector=detector, beam=beam)
    assert verdict.n_spots_counted.tolist() == [8, 7]
    assert np.isnan(verdict.spot_resolution).all()
    assert np.isnan(verdict.resolution).all()
    assert not verdict.spot_flags.any()


def test_spots_outside_every_panel_have_no_resolution_and_lie_in_no_range() -> None:
    half = replace(FLAT, panels=(replace(FLAT.panels[0], shape=(SIDE, SIDE // 2)),))
    spots = [[(750.0, 100.0), (250.0, 100.0)]]
    verdict = rated(spots, VerdictSettings(d_max=100.0), detector=half)
    assert np.isnan(verdict.spot_resolution).tolist() == [True, False]
    assert verdict.n_spots_counted.tolist() == [1]


def test_limits_without_geometry_are_refused() -> None:
    limited = VerdictSettings(d_min=2.0)
    for detector, beam in ((BLIND, BEAM), (FLAT, Beam())):
        run = a_run(detector, beam)
        check_geometry(run, VerdictSettings())
        with pytest.raises(MetadataError, match=r"master\.h5: resolution limits need .*--set"):
            check_geometry(run, limited)
    check_geometry(a_run(FLAT, BEAM), limited)


def a_run(detector: Detector, beam: Beam) -> Run:
    nothing = np.zeros(0, dtype=np.int64)
    table = ImageTable(nothing.astype(np.int32), nothing, nothing, nothing)
    return Run(Path("master.h5"), "master", (), table, np.dtype(np.uint16), detector, beam, "single")
