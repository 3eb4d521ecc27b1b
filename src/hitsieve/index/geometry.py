"""What the indexed spots of a run say about the detector geometry.

A reflection with q = A hkl is predicted where the ray along s0 + q meets the panel of its spot: the direction of the
point of the Ewald sphere that is nearest to q. The shift of the beam centre and the distance come from one robust least
squares over all lattices, each with its own small rotation and strain, which are eliminated (Schur complement).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hitsieve.errors import MetadataError
from hitsieve.index.joint import Block, Frame, solve
from hitsieve.model import Beam, Detector, ImageResults, Panel, SpotFlag, Spots, UnitCell
from hitsieve.model.detector import beam_on, position

Floats = npt.NDArray[np.float64]

_MASK = (1 << 64) - 1

MIN_LATTICES = 10
MIN_SPOTS = 200
INDEXED, FREE = 60, 120
"""Spots indexed and not indexed of a lattice; of more, an even choice of both is used."""
BLOCK = 64
"""Lattices solved together."""
STRAIN = 0.005
"""Standard deviation of the strain of a lattice against the cell."""
STRAIN_OF_KNOWN = 0.001
"""The same where the distance is told by the cell: what a lattice may strain, a wrong distance may hide."""

SURE = 3.0
"""Standard errors that make a deviation significant."""
SHIFT = 0.5
"""Smallest shift (pixels) that is warned of."""
DISTANCE = 0.002
"""Smallest relative change of the distance that is warned of."""
RESIDUAL = 2.0
"""Largest median residual (pixels) with the suggestion that is not warned of."""
UNKNOWN_SHIFT = 0.5
"""Standard error (pixels) above which the spots cannot tell the shift."""
UNKNOWN_DISTANCE = 0.005
"""Relative standard error above which they cannot tell the distance."""


@dataclass(frozen=True, slots=True)
class GeometryFit:
    """What the indexed spots say; a positive shift moves the beam centre that way."""

    n_lattices: int
    n_spots: int
    residual: float
    """Median distance between spots and predictions (pixels), each lattice refined in the geometry as it is."""
    residual_after: float
    """The same in the geometry that is suggested."""
    shift_x: float
    """Suggested shift of the beam centre along the fast axis (pixels)."""
    shift_x_error: float
    """Its standard error, from the scatter between lattices alone: what all of them share is not in it."""
    shift_y: float
    shift_y_error: float
    distance: float | None
    """Suggested distance (m), if the cell is right; None where the cell is not known or the spots cannot tell."""
    distance_error: float | None
    warning: str
    """What is wrong, in words; empty where the geometry fits."""
    mend: str
    """What to do about it; empty where the geometry fits."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """One lattice and its spots."""

    A: Floats
    wave_number: float
    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.float32]
    indexed: npt.NDArray[np.bool_]


class GeometryCheck:
    """Collects lattices batch by batch, as many as memory allows, and fits the geometry to them.

    Parameters
    ----------
    detector, beam
        As the run was indexed with.
    max_lattices : int
        Of more, a choice that depends only on their images and numbers.

    Raises
    ------
    MetadataError
        The geometry or the wavelength is unknown.
    """

    def __init__(self, detector: Detector, beam: Beam, max_lattices: int = 1000) -> None:
        if not detector.panels:
            raise MetadataError("the detector's geometry is unknown: it cannot be checked", mend="give a geometry")
        if beam.wavelength is None and beam.wavelengths is None:
            raise MetadataError("the wavelength is unknown: the geometry cannot be checked", mend="set the wavelength")
        self._detector = detector
        self._beam = beam
        self._max = max_lattices
        self._kept: list[tuple[int, _Kept]] = []
        self._bound = 1 << 64

    def add(self, results: ImageResults) -> None:
        """Take in the lattices of a batch; batches may come in any order."""
        for i in np.flatnonzero(np.diff(results.lattice_offsets)):
            image = int(results.image[i])
            wavelength = self._wavelength(image)
            if not np.isfinite(wavelength) or wavelength <= 0:
                continue
            lattices, spots = results.lattices_of(int(i)), results.spots_of(int(i))
            place = self._places(spots)
            for number in range(len(lattices)):
                rank = _mixed(image * 128 + number)
                if rank < self._bound:
                    which = _some(place, number)
                    indexed = spots.lattice[which] == number
                    A = lattices.A[number].copy()
                    kept = _Kept(A, 1.0 / wavelength, spots.x[which], spots.y[which], indexed)
                    self._kept.append((rank, kept))
        if len(self._kept) > 2 * self._max:
            self._prune()

    def fit(self, cell: UnitCell, *, cell_known: bool) -> GeometryFit | None:
        """What the lattices say; None where they are too few, or too alike, to tell.

        Parameters
        ----------
        cell : UnitCell
            That of all lattices: the strain of each is restrained to it.
        cell_known : bool
            It comes from elsewhere than these images, and so tells the distance.
        """
        self._prune()
        kept = [lattice for _, lattice in self._kept]
        n_spots = sum(int(lattice.indexed.sum()) for lattice in kept)
        if len(kept) < MIN_LATTICES or n_spots < MIN_SPOTS:
            return None
        frame = _frame(self._detector, self._beam)
        blocks = _blocks(self._detector, kept, _reciprocal(cell))
        as_is = solve(blocks, frame, np.zeros(3), (), STRAIN)
        shifted = solve(blocks, frame, np.zeros(3), (0, 1), STRAIN)
        if not np.all(shifted.errors[:2] < UNKNOWN_SHIFT):
            return None
        moves = shifted.moves.copy()
        along = _distance(self._detector, frame)
        distance = error = None
        if cell_known:
            stretched = solve(blocks, frame, shifted.moves, (0, 1, 2), STRAIN_OF_KNOWN)
            if stretched.errors[2] < UNKNOWN_DISTANCE * along:
                moves[2] = stretched.moves[2]
                distance, error = along + float(moves[2]), float(stretched.errors[2])
        found = GeometryFit(
            n_lattices=len(kept),
            n_spots=n_spots,
            residual=as_is.residual,
            residual_after=solve(blocks, frame, moves, (), STRAIN).residual,
            shift_x=float(shifted.moves[0]),
            shift_x_error=float(shifted.errors[0]),
            shift_y=float(shifted.moves[1]),
            shift_y_error=float(shifted.errors[1]),
            distance=distance,
            distance_error=error,
            warning="",
            mend="",
        )
        said = _warnings(found, along)
        mends = _mends(self._detector, self._beam, found, float(moves[2]), said.keys())
        return replace(found, warning="; ".join(said.values()), mend=mends)

    def _places(self, spots: Spots) -> npt.NDArray[np.int64]:
        """Which lattice each spot is of; -1: of none, but counted and on a panel, so that it may be of one; else -2."""
        free = (spots.lattice >= 0) | ((spots.flags & (SpotFlag.ICE | SpotFlag.OUT_OF_RANGE)) == 0)
        there = free & (self._detector.panel_of(spots.x, spots.y) < len(self._detector.panels))
        return np.where(there, spots.lattice.astype(np.int64), -2)

    def _wavelength(self, image: int) -> float:
        if self._beam.wavelengths is not None:
            return float(self._beam.wavelengths[image])
        return float(self._beam.wavelength or np.nan)

    def _prune(self) -> None:
        self._kept.sort(key=lambda item: item[0])
        del self._kept[self._max :]
        if len(self._kept) == self._max:
            self._bound = self._kept[-1][0]


def _some(lattice: npt.NDArray[np.int64], number: int) -> npt.NDArray[np.int64]:
    """Spots of this lattice and of none, the same share of both where they are many."""
    own, free = np.count_nonzero(lattice == number), np.count_nonzero(lattice == -1)
    every = max(own / INDEXED, free / FREE, 1.0)
    candidates = np.flatnonzero((lattice == number) | (lattice == -1))
    n = max(1, int(len(candidates) / every))
    return candidates[np.arange(n) * len(candidates) // n]


def _warnings(fit: GeometryFit, along: float) -> dict[str, str]:
    """What is off (centre, distance, panels), in words."""
    said = {}
    shifts = ((fit.shift_x, fit.shift_x_error), (fit.shift_y, fit.shift_y_error))
    if any(abs(shift) > SHIFT and abs(shift) > SURE * error for shift, error in shifts):
        x, y = (f"{shift:+.{_digits(error)}f} ({error:.{_digits(error)}f})" for shift, error in shifts)
        said["centre"] = (
            f"the beam centre is off: shift it by {x} pixels in x, {y} in y "
            "(standard errors, from the scatter between lattices alone)"
        )
    if fit.distance is not None and fit.distance_error is not None:
        change = fit.distance - along
        if abs(change) > DISTANCE * along and abs(change) > SURE * fit.distance_error:
            digits = _digits(1e3 * fit.distance_error)
            said["distance"] = (
                f"distance or cell is off: the distance is {1e3 * fit.distance:.{digits}f} "
                f"({1e3 * fit.distance_error:.{digits}f}) mm, not {1e3 * along:.{digits}f}, if the cell is right; "
                f"else the cell is larger by a factor of {along / fit.distance:.4f}"
            )
    if fit.residual_after > RESIDUAL:
        said["panels"] = (
            f"spots are {fit.residual_after:.1f} pixels from where they should be, also with the best beam centre: "
            "the panels' places may be off"
        )
    return said


def _digits(error: float) -> int:
    """Decimals that show two digits of an error, four at most."""
    return min(max(1 - math.floor(math.log10(error)), 0), 4) if error > 0 else 4


def _mends(detector: Detector, beam: Beam, fit: GeometryFit, stretch: float, off: Collection[str]) -> str:
    """Flags that mend what is off; the values are those that the run is to have, rounded far below their errors."""
    meets = beam_on(detector.panels, beam.direction)
    if meets is None or not off:
        return ""
    x, y = meets[0] + fit.shift_x, meets[1] + fit.shift_y
    flags = [f"--set beam_center_x={x:.2f} --set beam_center_y={y:.2f}"] if "centre" in off else []
    flags += [f"--set distance={meets[2] + stretch:.6g}"] if "distance" in off else []
    # Between panels that are stacked in the image, the place of the beam is a pixel of another panel.
    apart = position(detector.panels, meets[0], meets[1]) - meets[2] * np.asarray(beam.direction)
    if "panels" in off or np.linalg.norm(apart) > np.linalg.norm(detector.panels[0].fast):
        return "--geometry FILE.geom with other places of the panels"
    return " ".join(flags)


def _blocks(detector: Detector, kept: list[_Kept], reference: Floats) -> list[Block]:
    """Lattices with about as many spots together."""
    kept = sorted(kept, key=lambda lattice: len(lattice.x))
    return [_block(detector, kept[i : i + BLOCK], reference) for i in range(0, len(kept), BLOCK)]


def _block(detector: Detector, kept: list[_Kept], reference: Floats) -> Block:
    shape = (len(kept), len(kept[-1].x))
    # Fillers repeat the first spot, so that they are on a panel.
    pick = [np.where(np.arange(shape[1]) < len(lattice.x), np.arange(shape[1]), 0) for lattice in kept]
    pairs = list(zip(kept, pick, strict=True))
    observed = np.array([np.stack([lattice.x[i], lattice.y[i]], axis=1) for lattice, i in pairs], dtype=np.float64)
    real = np.arange(shape[1]) < np.array([[len(lattice.x)] for lattice in kept])
    return Block(
        A=np.array([lattice.A for lattice in kept]),
        reference=reference,
        wave_number=np.array([lattice.wave_number for lattice in kept]),
        observed=observed,
        panel=detector.panel_of(observed[..., 0], observed[..., 1]),
        indexed=np.array([lattice.indexed[i] for lattice, i in pairs]) & real,
        real=real,
    )


def _frame(detector: Detector, beam: Beam) -> Frame:
    panels = detector.panels
    direction = np.asarray(beam.direction, dtype=np.float64)
    nearest = min(range(len(panels)), key=lambda n: _aside(panels[n], direction))
    fast, slow = (np.asarray(step, dtype=np.float64) for step in (panels[nearest].fast, panels[nearest].slow))
    return Frame(
        origin=np.array([panel.origin for panel in panels], dtype=np.float64),
        fast=np.array([panel.fast for panel in panels], dtype=np.float64),
        slow=np.array([panel.slow for panel in panels], dtype=np.float64),
        first=np.array([panel.first[::-1] for panel in panels], dtype=np.float64),
        moves=np.stack([-fast, -slow, direction]),
        beam=direction,
    )


def _aside(panel: Panel, direction: Floats) -> float:
    """Distance (m) from the beam to the middle of a panel."""
    middle = panel.lab(panel.first[1] + panel.shape[1] / 2, panel.first[0] + panel.shape[0] / 2)
    return float(np.linalg.norm(middle - (middle @ direction) * direction))


def _distance(detector: Detector, frame: Frame) -> float:
    """Distance as the source states it, else of the planes along the beam (m)."""
    if detector.distance is not None:
        return detector.distance
    normal = np.cross(frame.fast, frame.slow)
    return float(np.median((normal * frame.origin).sum(axis=1) / (normal @ frame.beam)))


def _reciprocal(cell: UnitCell) -> Floats:
    """A matrix of a cell in some orientation."""
    import gemmi

    rows = np.array(gemmi.UnitCell(*cell.parameters).frac.mat.tolist())
    return np.asarray(rows.T, dtype=np.float64)


def _mixed(number: int) -> int:
    """Number of 64 bits that shows no order (SplitMix64; Steele, Lea, Flood, OOPSLA 2014, 453)."""
    z = (number + 1) * 0x9E3779B97F4A7C15 & _MASK
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & _MASK
    return z ^ z >> 31
