"""Scenes to draw, and how to read what was drawn."""

from __future__ import annotations

import io
from dataclasses import fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.image import imread

from hitsieve.model import Beam, Detector, Panel, Spots
from hitsieve.picture import Curve, IceBands, RunCounts, Scene, SpotKind, draw

PIXEL = 1e-4
COLOURS = {
    SpotKind.NOT_COUNTED: (0xAA, 0x33, 0x77),
    SpotKind.COUNTED: (0xD5, 0x5E, 0x00),
    SpotKind.INDEXED: (0x00, 0x72, 0xB2),
}
SHEET = np.s_[122:945, 60:880]
"""Rows and columns of the page in which the image is drawn, below the legend and left of the colour bar."""
INTEGERS: dict[str, Any] = {"flags": np.uint8, "lattice": np.int8, "n_pixels": np.int32}


def spots_at(places: list[tuple[float, float]], **columns: Any) -> Spots:
    """Spots at (x, y), with a peak of 500 counts and of no lattice unless told otherwise."""
    n = len(places)
    given: dict[str, Any] = {"peak": 500.0, "snr": 20.0, "resolution": 3.0, "lattice": -1, "n_pixels": 1}
    given |= {"x": [x for x, _ in places], "y": [y for _, y in places]} | columns
    return Spots(
        **{
            f.name: np.broadcast_to(given.get(f.name, 0), n).astype(
                INTEGERS.get(f.name, np.int16 if f.name in "hkl" else np.float32)
            )
            for f in fields(Spots)
        }
    )


def flat_panel(shape: tuple[int, int], distance: float = 0.1) -> Panel:
    """One panel across the beam, with the beam in its middle."""
    corner = (shape[1] / 2 * PIXEL, shape[0] / 2 * PIXEL, distance)
    return Panel("panel", corner, (-PIXEL, 0.0, 0.0), (0.0, -PIXEL, 0.0), (0, 0), shape)


def scene(shape: tuple[int, int], places: list[tuple[float, float]], kind: SpotKind, **changes: Any) -> Scene:
    """An empty image with single bright pixels at (x, y), each a spot of one kind."""
    image = np.zeros(shape, dtype=np.int32)
    for x, y in places:
        image[int(y), int(x)] = 500
    detector = changes.pop("detector", Detector(shape, (flat_panel(shape),)))
    # Rings of equal angle, at no matter which distance.
    slow, fast = np.indices(shape)
    bins = (np.hypot(slow - shape[0] / 2, fast - shape[1] / 2) / 8).astype(np.uint16)
    n_bins = int(bins.max()) + 1
    lattice = 0 if kind == SpotKind.INDEXED else -1
    whole = Scene(
        title="a test",
        lines=("of the picture",),
        image=image,
        used=np.ones(shape, dtype=np.bool_),
        detector=detector,
        beam=Beam(wavelength=1.0),
        spots=spots_at(places, lattice=lattice),
        kinds=np.full(len(places), kind, dtype=np.uint8),
        curve=Curve(np.linspace(0.001, 0.4, n_bins), np.full(n_bins, 0.1), np.full(n_bins, 4.0), bins, local=False),
        counts=RunCounts(np.array([0, 0, 1, 3, 30], dtype=np.int32), len(places), 9),
        ice=IceBands(np.array([0.26, 0.27, 0.29]), 0.0048, left_out=True),
    )
    return replace(whole, **changes)


def page(drawn: Scene) -> npt.NDArray[np.uint8]:
    """The page as red, green and blue, shape (1000, 1600, 3)."""
    values = imread(io.BytesIO(draw(drawn)), format="png")
    return np.asarray(np.round(values[..., :3] * 255), dtype=np.uint8)


def marks(pixels: npt.NDArray[np.uint8], kind: SpotKind) -> list[tuple[float, float]]:
    """Middles (x, y), from left to right, of the marks of one kind on the drawn image."""
    from scipy import ndimage

    near = np.abs(pixels[SHEET].astype(int) - COLOURS[kind]).max(axis=-1) < 60
    labels, _ = ndimage.label(near, np.ones((3, 3)))
    found = []
    for rows, columns in ndimage.find_objects(labels):
        if rows.stop - rows.start >= 6 and columns.stop - columns.start >= 6:
            x = (columns.start + columns.stop - 1) / 2 + SHEET[1].start
            y = (rows.start + rows.stop - 1) / 2 + SHEET[0].start
            found.append((x, y))
    return sorted(found)


def dark_at(pixels: npt.NDArray[np.uint8], place: tuple[float, float], reach: int = 3) -> bool:
    """Whether a black dot lies within a few pixels of a place on the page."""
    x, y = (round(value) for value in place)
    near = pixels[y - reach : y + reach + 1, x - reach : x + reach + 1]
    return bool((near.max(axis=-1) < 40).any())
