"""What the picture shows is where it belongs, as far as its pixels tell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hitsieve.model import Beam, Detector, Panel
from hitsieve.picture import SpotKind, draw
from hitsieve.picture.zoom import places_of

from .scenes import PIXEL, SHEET, dark_at, flat_panel, marks, page, scene, spots_at

PLAIN: dict[str, Any] = {"beam": Beam(), "ice": None}
"""Without rings, which may cross the marks."""
PLACES = [(30.5, 40.5), (60.5, 170.5), (150.5, 90.5)]


@pytest.mark.parametrize("kind", list(SpotKind))
def test_marks_stand_on_their_spots(kind: SpotKind) -> None:
    pixels = page(scene((200, 200), PLACES, kind, **PLAIN))
    assert pixels.shape == (1000, 1600, 3)
    found = marks(pixels, kind)
    assert len(found) == 3
    for place in found:
        assert dark_at(pixels, place)
    # Two marks give the scale; the third must obey it.
    (x0, y0), (x1, y1), (x2, y2) = found
    scale = (x1 - x0) / 30
    assert (x2 - x0) / scale == pytest.approx(120, abs=1)
    assert (y1 - y0) / scale == pytest.approx(130, abs=1)
    assert (y2 - y0) / scale == pytest.approx(50, abs=1)
    for other in set(SpotKind) - {kind}:
        assert marks(pixels, other) == []


def test_spots_of_one_pixel_survive_on_a_large_detector() -> None:
    pixels = page(scene((4371, 4150), [(400.5, 500.5), (3000.5, 2222.5)], SpotKind.COUNTED, **PLAIN))
    found = marks(pixels, SpotKind.COUNTED)
    assert len(found) == 2
    assert all(dark_at(pixels, place) for place in found)


def turned_panels() -> Detector:
    """Stored one above the other; they stand side by side, the second turned by 90 degrees and a little more."""
    cosine, sine = np.cos(np.radians(92.0)), np.sin(np.radians(92.0))
    fast, slow = (-PIXEL * cosine, -PIXEL * sine, 0.0), (PIXEL * sine, -PIXEL * cosine, 0.0)
    first = Panel("a", (0.021, 0.010, 0.1), (-PIXEL, 0.0, 0.0), (0.0, -PIXEL, 0.0), (0, 0), (200, 200))
    second = Panel("b", (-0.021, 0.011, 0.1), fast, slow, (200, 0), (200, 200))
    return Detector((400, 200), (first, second))


def test_panels_are_assembled_with_their_spots() -> None:
    detector = turned_panels()
    places = [(20.5, 30.5), (170.5, 60.5), (40.5, 350.5), (150.5, 220.5)]
    drawn = scene((400, 200), places, SpotKind.COUNTED, detector=detector)
    pixels = page(drawn)
    found = np.array(marks(pixels, SpotKind.COUNTED))
    assert len(found) == 4
    assert all(dark_at(pixels, (x, y)) for x, y in found)
    lab = detector.lab(*np.array(places).T)
    expected = -lab[np.argsort(-lab[:, 0]), :2]
    scale = (found[-1] - found[0])[0] / (expected[-1] - expected[0])[0]
    np.testing.assert_allclose((found - found[0]) / scale, expected - expected[0], atol=2 * PIXEL)


def test_no_holes_in_a_turned_panel() -> None:
    drawn = scene((400, 200), [], SpotKind.COUNTED, detector=turned_panels())
    drawn.image[...] = 500
    pixels = page(replace(drawn, ice=None, beam=Beam()))[SHEET]
    shades = pixels.max(axis=-1)
    # Both panels are black: around each dark pixel lie dark ones, but for the edges.
    dark = shades < 40
    assert dark.mean() > 0.25
    enclosed = dark[:-2, 1:-1] & dark[2:, 1:-1] & dark[1:-1, :-2] & dark[1:-1, 2:]
    assert dark[1:-1, 1:-1][enclosed].all()


def test_a_curved_detector_is_drawn_as_stored() -> None:
    panels = []
    for k, degrees in enumerate((-60, 0, 60)):
        cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        middle = 0.1 * np.array([0.0, -sine, cosine])
        slow = PIXEL * np.array([0.0, -cosine, -sine])
        origin = middle - 50 * slow + np.array([100 * PIXEL, 0.0, 0.0])
        panels.append(Panel(str(k), tuple(origin), (-PIXEL, 0.0, 0.0), tuple(slow), (100 * k, 0), (100, 200)))
    places = [(20.5, 50.5), (100.5, 150.5), (180.5, 280.5)]
    drawn = scene((300, 200), places, SpotKind.COUNTED, detector=Detector((300, 200), tuple(panels)))
    pixels = page(drawn)
    found = marks(pixels, SpotKind.COUNTED)
    assert len(found) == 3
    (x0, y0), (x1, y1), (_, y2) = found
    assert (y1 - y0) / (x1 - x0) == pytest.approx(100 / 80, rel=0.05)
    assert (y2 - y1) / (y1 - y0) == pytest.approx(1.3, rel=0.05)


def coloured(pixels: Any, colour: tuple[int, int, int]) -> int:
    """Pixels of the drawn image of a colour."""
    return int((np.abs(pixels[SHEET].astype(int) - colour).max(axis=-1) < 30).sum())


RING = (0x7A, 0x1F, 0xA2)
MASK = (0xD9, 0xCF, 0xA8)


def test_rings_stand_where_geometry_and_wavelength_are_known() -> None:
    known = scene((200, 200), [], SpotKind.COUNTED)
    assert coloured(page(known), RING) > 1000
    assert coloured(page(replace(known, beam=Beam(), ice=None)), RING) == 0
    unknown = replace(known, detector=Detector((200, 200)), curve=replace(known.curve, angle=None), ice=None)
    assert coloured(page(unknown), RING) == 0


def test_ring_has_the_radius_of_its_resolution() -> None:
    """At 0.1 m and 1 angstrom, a ring's radius r on the page gives d by Bragg's law, and one of them is a round d."""
    drawn = scene((800, 800), [(100.5, 400.5), (700.5, 400.5)], SpotKind.COUNTED, ice=None)
    pixels = page(drawn)
    (left, middle), (right, _) = marks(pixels, SpotKind.COUNTED)
    scale = (right - left) / 600
    centre = (left + right) / 2
    row = pixels[round(middle) - 40 : round(middle) + 41, round(centre) : SHEET[1].stop].astype(int)
    ring = np.abs(row - RING).max(axis=-1) < 60
    rows, columns = np.nonzero(ring)
    radii = np.hypot(columns, rows - 40) / scale * PIXEL
    ds = 1 / (2 * np.sin(np.arctan2(radii, 0.1) / 2))
    rounds = np.array([10, 5, 4, 3.5, 3, 2.7, 2.5, 2.2, 2.0, 12, 15, 20, 6, 7, 8, 4.5, 30])
    clear = ds < 12
    off = np.abs(ds[clear, None] / rounds - 1).min(axis=1)
    assert clear.sum() > 50
    assert np.quantile(off, 0.8) < 0.02


def test_masked_pixels_are_tinted() -> None:
    drawn = scene((200, 200), [], SpotKind.COUNTED)
    before = coloured(page(drawn), MASK)
    drawn.used[50:100, 20:180] = False
    after = coloured(page(drawn), MASK)
    assert after - before > 0.1 * 650 * 650


@pytest.mark.parametrize("value", [0, 1, 2**31 - 1])
def test_any_level_can_be_drawn(value: int) -> None:
    drawn = scene((100, 300), [], SpotKind.COUNTED)
    drawn.image[...] = value
    assert page(drawn).shape == (1000, 1600, 3)


def test_nothing_to_see_can_be_drawn() -> None:
    drawn = scene((64, 64), [], SpotKind.COUNTED)
    nothing = np.full_like(drawn.curve.mean, np.nan)
    drawn = replace(
        drawn,
        used=np.zeros((64, 64), dtype=np.bool_),
        curve=replace(drawn.curve, mean=nothing, threshold=nothing),
        counts=replace(drawn.counts, counted=np.zeros(0, dtype=np.int32), enough=None),
    )
    assert page(drawn).shape == (1000, 1600, 3)


def test_local_thresholds_and_many_lattices_can_be_drawn() -> None:
    drawn = scene((64, 64), PLACES[:1] * 4, SpotKind.INDEXED)
    spots = spots_at([(10.5, 10.5), (20.5, 20.5), (30.5, 30.5), (40.5, 40.5)], lattice=np.arange(4))
    local = replace(drawn.curve, threshold=np.full_like(drawn.curve.mean, np.nan), local=True)
    assert page(replace(drawn, spots=spots, curve=local)).shape == (1000, 1600, 3)


def test_a_png_file_with_its_title() -> None:
    content = draw(scene((64, 64), [], SpotKind.COUNTED))
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert b"a test" in content


def test_beam_between_panels_is_not_looked_for_among_the_pixels_of_another() -> None:
    # Two panels side by side, stored one below the other: the beam goes 4 pixels below the first, stored on the second.
    first = Panel("a", (8 * PIXEL, 20 * PIXEL, 0.1), (-PIXEL, 0.0, 0.0), (0.0, -PIXEL, 0.0), (0, 0), (16, 16))
    second = replace(first, name="b", origin=(-12 * PIXEL, 20 * PIXEL, 0.1), first=(16, 0))
    gapped = Detector((32, 16), (first, second), beam_center=(8.0, 20.0))
    whole = replace(gapped, panels=(flat_panel((32, 16)),), beam_center=(8.0, 16.0))
    for detector, label in ((gapped, "middle of the image"), (whole, "beam centre")):
        drawn = scene((32, 16), [], SpotKind.COUNTED, detector=detector)
        assert label in [place.label for place in places_of(drawn)]
