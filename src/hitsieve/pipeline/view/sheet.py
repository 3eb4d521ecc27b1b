"""How a detector is drawn: its panels, the resolution rings on them, and the beam centre."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hitsieve.model import Beam, Detector, Panel
from hitsieve.picture import in_one_plane, on_one_grid, round_d
from hitsieve.verdict import ICE_RINGS

AROUND = 721
"""Points of a ring that are looked at."""
EACH = 4
"""Of these, every so many-th is drawn, and the ends of each piece: pieces reach to the edges of small panels."""
N_RINGS = 6

Floats = npt.NDArray[np.float64]
Line = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Ring:
    """Where a resolution is on the detector."""

    d: float
    """Angstrom."""
    lines: tuple[Line, ...]
    """Pieces of the ring, as (x, y) in pixels of the image; broken where it leaves a panel."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """What is drawn of a detector and its beam; without geometry there are neither panels nor rings."""

    shape: tuple[int, int]
    """(slow, fast)."""
    panels: tuple[Panel, ...]
    """One for the whole image, where all lie on one grid of pixels."""
    assembled: bool
    """Panels are drawn where they stand, as seen along the beam; else the image is drawn as it is stored."""
    beam: Beam
    """Of one wavelength, or none."""
    centre: tuple[float, float] | None
    """Of the beam, (x, y) in pixels; None where it has no place in the image."""
    centre_panel: int
    """Panel on whose plane that place is: it may lie beyond its edge, between panels."""
    rings: tuple[Ring, ...] = ()
    ice: tuple[Ring, ...] = ()
    """Powder rings of ice."""


def sheet_of(detector: Detector, beam: Beam) -> Sheet:
    """Lay a detector out for drawing.

    Parameters
    ----------
    detector : Detector
    beam : Beam
        Of the image: without a wavelength there are no rings.
    """
    panels, assembled = detector.panels, False
    if len(panels) > 1:
        if on_one_grid(detector):
            panels = (_whole(panels[0], detector.shape),)
        else:
            # Panels of a curved detector would hide each other.
            assembled = in_one_plane(panels)
    rings: tuple[Ring, ...] = ()
    ice: tuple[Ring, ...] = ()
    if panels and beam.wavelength is not None:
        q_max = max(float(np.nanmax(_q_of_edges(panel, beam))) for panel in panels)
        rings = _rings(panels, beam, round_d(q_max, N_RINGS))
        ice = _rings(panels, beam, [d for d in ICE_RINGS if 1.0 / d < q_max])
    centre, centre_panel = _centre(panels, detector.beam_center, beam, assembled=assembled)
    return Sheet(detector.shape, panels, assembled, beam, centre, centre_panel, rings, ice)


def _centre(
    panels: tuple[Panel, ...], stated: tuple[float, float] | None, beam: Beam, *, assembled: bool
) -> tuple[tuple[float, float] | None, int]:
    """Place of the beam in the image, and the panel that it is counted from."""
    if stated is None or not np.isfinite(stated).all():
        return None, 0
    if len(panels) < 2:
        return stated, 0
    off = [float(np.linalg.norm(np.cross(panel.lab(*stated), beam.direction))) for panel in panels]
    nearest = int(np.argmin(off))
    # Between panels, the place beyond the edge of one may be that of pixels of another, which are elsewhere.
    taken = any(panel.holds(*stated) for panel in panels) and not panels[nearest].holds(*stated)
    return (None if taken and not assembled else stated), nearest


def _whole(panel: Panel, shape: tuple[int, int]) -> Panel:
    """One panel as large as the image, of which the given one is a part."""
    slow, fast = panel.first
    x, y, z = (np.asarray(panel.origin) - slow * np.asarray(panel.slow) - fast * np.asarray(panel.fast)).tolist()
    return Panel("", (x, y, z), panel.fast, panel.slow, (0, 0), shape)


def _q_of_edges(panel: Panel, beam: Beam) -> Floats:
    """1/d (1/angstrom) at points along the edges of a panel."""
    (s, f), (ns, nf) = panel.first, panel.shape
    along = np.linspace(0, 1, 9)
    x = np.concatenate([f + nf * along, f + nf * along, np.full(9, f), np.full(9, f + nf)])
    y = np.concatenate([np.full(9, s), np.full(9, s + ns), s + ns * along, s + ns * along])
    positions = panel.lab(x, y)
    assert beam.wavelength is not None  # noqa: S101 - asked by the caller
    cosine = positions @ np.asarray(beam.direction) / np.linalg.norm(positions, axis=-1)
    q: Floats = np.sqrt(np.clip(2.0 * (1.0 - cosine), 0.0, None)) / beam.wavelength
    return q


def _rings(panels: tuple[Panel, ...], beam: Beam, ds: Sequence[float]) -> tuple[Ring, ...]:
    assert beam.wavelength is not None  # noqa: S101 - asked by the caller
    angles = 2.0 * np.arcsin(np.clip(beam.wavelength / (2.0 * np.asarray(ds)), 0.0, 1.0))[:, None, None]
    along = np.asarray(beam.direction)
    # Any two directions across the beam.
    across = np.cross(along, [0.0, 1.0, 0.0] if abs(along[1]) < 0.9 else [1.0, 0.0, 0.0])
    across /= np.linalg.norm(across)
    other = np.cross(along, across)
    azimuth = np.linspace(0.0, 2.0 * np.pi, AROUND)[:, None]
    rays = np.cos(angles) * along + np.sin(angles) * (np.cos(azimuth) * across + np.sin(azimuth) * other)
    lines: list[list[Line]] = [[] for _ in ds]
    for panel in panels:
        x, y = panel.meets(rays)
        inside = panel.holds(x, y)
        for number in np.flatnonzero(inside.any(axis=1)).tolist():
            lines[number] += _pieces(x[number], y[number], inside[number])
    return tuple(Ring(d, tuple(pieces)) for d, pieces in zip(ds, lines, strict=True))


def _pieces(x: Floats, y: Floats, inside: npt.NDArray[np.bool_]) -> list[Line]:
    """Stretches of points that are inside, each with its ends and some of the points between."""
    ends = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(np.int8)))
    pieces = []
    for start, stop in zip(ends[::2].tolist(), ends[1::2].tolist(), strict=True):
        if stop - start > 1:
            points = [*range(start, stop - 1, EACH), stop - 1]
            pieces.append(tuple(zip(x[points].tolist(), y[points].tolist(), strict=True)))
    return pieces
