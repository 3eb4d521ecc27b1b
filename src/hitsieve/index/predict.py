"""Which reflections a lattice should show on a still image, and where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hitsieve.model import Beam, Detector

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int32]

MOST = 30_000_000
"""Most points of reciprocal space that are looked at; with more, resolution is cut."""
LONGEST = 10_000.0
"""Longest axis (angstrom) of a cell: several times that of any crystal known."""
MOST_EXPECTED = 1_000_000
"""Reflections of one still, at most: more than a detector could show apart."""
SHARE = 0.9
"""Share of the indexed reflections that are within the distance from the Ewald sphere of what is predicted."""
LEAST = 2e-4
"""Least such distance (1/angstrom)."""

_CENTRED: dict[str, Callable[[Integers], npt.NDArray[np.bool_]]] = {
    "A": lambda hkl: (hkl[:, 1] + hkl[:, 2]) % 2 == 0,
    "B": lambda hkl: (hkl[:, 0] + hkl[:, 2]) % 2 == 0,
    "C": lambda hkl: (hkl[:, 0] + hkl[:, 1]) % 2 == 0,
    "I": lambda hkl: hkl.sum(axis=1) % 2 == 0,
    "F": lambda hkl: ((hkl[:, 0] + hkl[:, 1]) % 2 == 0) & ((hkl[:, 1] + hkl[:, 2]) % 2 == 0),
    "R": lambda hkl: (-hkl[:, 0] + hkl[:, 1] + hkl[:, 2]) % 3 == 0,
}
"""Reflections that each centring leaves; R: obverse, on hexagonal axes."""


@dataclass(frozen=True, slots=True)
class Predicted:
    """Reflections of one lattice on the detector, as columns of equal length n."""

    hkl: Integers
    """Miller indices, shape (n, 3)."""
    x: Floats
    """Pixels; of the ray through the reflection's point, which stands for the nearest one on the Ewald sphere."""
    y: Floats
    excitation: Floats
    """Distance (1/angstrom) of the point from the Ewald sphere; negative inside."""

    def __len__(self) -> int:
        return len(self.x)

    @classmethod
    def none(cls) -> Predicted:
        """No reflection."""
        return cls(np.zeros((0, 3), dtype=np.int32), np.zeros(0), np.zeros(0), np.zeros(0))

    def take(self, which: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Predicted:
        """The chosen reflections."""
        return Predicted(self.hkl[which], self.x[which], self.y[which], self.excitation[which])


def excitations(q: npt.ArrayLike, beam: Beam) -> Floats:
    """Distance |s0 + q| - |s0| (1/angstrom) of points q, shape (n, 3), from the Ewald sphere; |s0| = 1 / wavelength.

    Parameters
    ----------
    q : array of float, shape (n, 3)
        1/angstrom, laboratory frame.
    beam : Beam
        Of one known wavelength.
    """
    assert beam.wavelength is not None  # noqa: S101 - said above
    s0 = np.asarray(beam.direction) / beam.wavelength
    distance: Floats = np.linalg.norm(np.asarray(q, dtype=np.float64) + s0, axis=-1) - 1.0 / beam.wavelength
    return distance


def reach_of(A: Floats, hkl: npt.ArrayLike, beam: Beam) -> float:
    """Distance (1/angstrom) from the Ewald sphere up to which a crystal shows reflections, by those that are indexed.

    It stands for mosaicity, size of the mosaic blocks, divergence and bandwidth, none of which a still tells apart.

    Parameters
    ----------
    A : array of float, shape (3, 3)
        Columns a*, b*, c* (1/angstrom).
    hkl : array of int, shape (n, 3)
        Miller indices of the spots indexed.
    beam : Beam
        Of one known wavelength.
    """
    off = np.abs(excitations(np.asarray(hkl, dtype=np.float64) @ A.T, beam))
    return max(float(np.quantile(off, SHARE)), LEAST) if len(off) else LEAST


def why_not_predicted(A: Floats, beam: Beam, *, reach: float, d_min: float) -> str:
    """Why the reflections of a lattice are not worth predicting, in words; empty where they are.

    A lattice that is read from a file may be of any numbers: its reflections are counted before they are looked for.

    Parameters
    ----------
    A, beam, reach, d_min
        As for `predict`; their numbers may be anything.
    """
    assert beam.wavelength is not None  # noqa: S101 - of one known wavelength
    with np.errstate(all="ignore"):
        volume = abs(float(np.linalg.det(A)))
        try:
            longest = float(np.linalg.norm(np.linalg.inv(A), axis=1).max())
        except np.linalg.LinAlgError:
            longest = np.nan
    if not (np.isfinite(A).all() and 0 < volume < np.inf) or np.isnan(longest):
        return "its orientation matrix has no inverse"
    if not np.isfinite(reach):
        return "its spots lie at no known distance from the Ewald sphere"
    if longest > LONGEST:
        return f"its cell has an axis of {longest:.3g} angstrom, longer than that of any crystal"
    q_max = min(1.0 / d_min, 2.0 / beam.wavelength)
    # The cap of the Ewald sphere with |q| < q_max has an area of pi q_max^2.
    shell = min(2.0 * reach * np.pi * q_max**2, 4.0 / 3.0 * np.pi * q_max**3)
    expected = shell / volume
    if not expected <= MOST_EXPECTED:
        return f"it would have {expected:.2g} reflections on this image, as far from the Ewald sphere as its spots are"
    return ""


def resolution_within(A: Floats, beam: Beam, d_min: float, most: int = MOST) -> float:
    """The best resolution (angstrom), at most `d_min`, up to which a lattice has no more than `most` points to look at.

    It is never better than half the wavelength: nothing beyond meets the Ewald sphere.
    """
    assert beam.wavelength is not None  # noqa: S101 - of one known wavelength
    q_max = min(1.0 / d_min, 2.0 / beam.wavelength)
    lengths = np.linalg.norm(np.linalg.inv(A), axis=1)
    while np.prod(2.0 * np.floor(lengths * q_max) + 1) > most:
        q_max *= 0.9
    return 1.0 / q_max


def predict(A: Floats, detector: Detector, beam: Beam, *, reach: float, d_min: float, centring: str = "P") -> Predicted:
    """Predict the reflections of a lattice: those whose points lie within `reach` of the Ewald sphere.

    Parameters
    ----------
    A : array of float, shape (3, 3)
        Columns a*, b*, c* (1/angstrom), laboratory frame.
    detector : Detector
        With panels.
    beam : Beam
        Of one known wavelength.
    reach : float
        1/angstrom.
    d_min : float
        Resolution (angstrom) up to which reflections are looked for; a cell of more than 30 million of them is looked
        at up to a lower one, as `resolution_within` says.
    centring : str
        P, A, B, C, I, F or R, of the cell that A is of.

    Returns
    -------
    Predicted
        Those that fall on a panel, in no particular order.
    """
    assert beam.wavelength is not None  # noqa: S101 - said above
    direct = np.linalg.inv(A)
    q_max = 1.0 / resolution_within(A, beam, d_min)
    lengths = np.linalg.norm(direct, axis=1)
    most = np.floor(lengths * q_max).astype(int)
    s0 = np.asarray(beam.direction) / beam.wavelength
    # Plane by plane, so that memory does not grow with the cell; few planes, where there are few along one axis.
    first = int(np.argmin(most))
    others = [axis for axis in range(3) if axis != first]
    grid = np.stack(np.meshgrid(*(np.arange(-most[axis], most[axis] + 1) for axis in others), indexing="ij"), -1)
    plane = grid.reshape(-1, 2)
    in_plane = plane @ A[:, others].T
    # | |s| - k | <= reach where | |s|^2 - k^2 | <= reach (2 k + reach) or a little less.
    off_plane, square = 2.0 * in_plane @ s0, (in_plane**2).sum(axis=1)
    limit, found = reach * (2.0 / beam.wavelength + reach), []
    for index in range(-most[first], most[first] + 1):
        step = index * A[:, first]
        squares = square + 2.0 * in_plane @ step + step @ step
        these = np.flatnonzero((np.abs(squares + off_plane + 2.0 * step @ s0) <= limit) & (squares <= q_max**2))
        hkl = np.empty((len(these), 3), dtype=np.int32)
        hkl[:, first], hkl[:, others] = index, plane[these]
        found.append(hkl)
    hkl = np.concatenate(found)
    hkl = hkl[hkl.any(axis=1)]
    if centring in _CENTRED:
        hkl = hkl[_CENTRED[centring](hkl)]
    q = hkl @ A.T
    off = excitations(q, beam)
    near = np.abs(off) <= reach
    hkl, q, off = hkl[near], q[near], off[near]
    x, y = detector.meets(q + s0)
    on = ~np.isnan(x)
    return Predicted(hkl[on], x[on], y[on], off[on])
