"""The hit rule: enough spots in the resolution range and outside ice bands, or a lattice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from hitsieve.errors import MetadataError
from hitsieve.model import Beam, Detector, Run, SpotFlag, State
from hitsieve.model.detector import inverse_d
from hitsieve.settings import VerdictSettings

ICE_RINGS = (3.895, 3.661, 3.438, 2.667, 2.249, 2.069, 1.947, 1.916, 1.882, 1.719, 1.522, 1.473, 1.443, 1.372, 1.299)
"""Resolution d (angstrom) of the powder rings of hexagonal ice (a = 4.498, c = 7.322 angstrom)."""
RESOLUTION_SHARE = 0.95
"""An image's resolution estimate is d of the spot at this share of its counted spots, from low to high resolution."""
RESOLUTION_MIN_SPOTS = 5


@dataclass(frozen=True, slots=True)
class Rated:
    """The spots of n images by resolution."""

    n_spots_counted: npt.NDArray[np.int32]
    n_spots_ice: npt.NDArray[np.int32]
    resolution: npt.NDArray[np.float32]
    """Resolution estimate of each image (angstrom); NaN with fewer than five counted spots, or without geometry."""
    counted: npt.NDArray[np.bool_]
    """Whether each spot counts: in the resolution range and outside ice bands."""
    spot_resolution: npt.NDArray[np.float32]
    """d of each spot (angstrom); NaN without geometry."""
    spot_flags: npt.NDArray[np.uint8]
    """Bits of SpotFlag.ICE and SpotFlag.OUT_OF_RANGE, to be added to those of the finder."""


@dataclass(frozen=True, slots=True)
class HitRule:
    """What makes an image a hit."""

    kind: Literal["either", "spots", "indexed", "both"]
    """Enough spots, a lattice, one of the two (either), or both."""
    min_spots: int
    """Fewest counted spots that are enough."""

    def decide(
        self, n_spots_counted: npt.NDArray[np.int32], n_lattices: npt.NDArray[np.int32]
    ) -> npt.NDArray[np.uint8]:
        """State of each searched image, HIT or MISS, by its counted spots and its lattices (-1: not indexed)."""
        enough, indexed = n_spots_counted >= self.min_spots, n_lattices > 0
        hit = {"spots": enough, "indexed": indexed, "either": enough | indexed, "both": enough & indexed}[self.kind]
        return np.where(hit, State.HIT, State.MISS).astype(np.uint8)


def check_geometry(run: Run, settings: VerdictSettings) -> None:
    """Refuse a resolution range where no resolution can be known.

    Raises
    ------
    MetadataError
        Limits are set, but the geometry or the wavelength is unknown.
    """
    if settings.d_min is None and settings.d_max is None:
        return
    if not run.detector.panels or run.beam.wavelength is None:
        raise MetadataError(
            f"{run.path}: resolution limits need the detector geometry and the wavelength",
            mend="give them with --set or --geometry, or leave out --d-min and --d-max",
        )


def rate_spots(
    images: npt.NDArray[np.int64],
    offsets: npt.NDArray[np.int64],
    centroids: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]],
    geometry: tuple[Detector, Beam],
    settings: VerdictSettings,
) -> Rated:
    """Tell which spots of n searched images count.

    Parameters
    ----------
    images : array of int, shape (n,)
        Index in the run; picks the wavelength where each image has its own.
    offsets : array of int, shape (n + 1,)
        Spots of image i are offsets[i] to offsets[i + 1].
    centroids : (x, y)
        Spot centroids (pixels), each of shape (spots,).
    geometry : (Detector, Beam)
    settings : VerdictSettings

    Returns
    -------
    Rated
    """
    detector, beam = geometry
    owner = np.repeat(np.arange(len(images)), np.diff(offsets))
    q = inverse_d(detector, beam, *centroids)
    if beam.wavelengths is not None and beam.wavelength is not None:
        q *= beam.wavelength / beam.wavelengths[images[owner]]
    return rate_resolutions(q, owner, len(images), settings)


def rate_resolutions(
    q: npt.NDArray[np.float64], owner: npt.NDArray[np.int64], n: int, settings: VerdictSettings
) -> Rated:
    """Tell which spots of n images count, by q = 1/d (1/angstrom) of each spot and the position of its image."""
    with np.errstate(divide="ignore"):
        d = 1.0 / q
    ice = near_ice(q, settings.ice_half_width)
    outside = np.zeros(len(q), dtype=np.bool_)
    if settings.d_min is not None:
        outside |= ~(d >= settings.d_min)
    if settings.d_max is not None:
        outside |= ~(d <= settings.d_max)
    counted = ~(outside | (ice & settings.ice))
    n_counted = np.bincount(owner[counted], minlength=n).astype(np.int32)
    return Rated(
        n_spots_counted=n_counted,
        n_spots_ice=np.bincount(owner[ice], minlength=n).astype(np.int32),
        resolution=_estimates(q[counted], owner[counted], n_counted),
        counted=counted,
        spot_resolution=d.astype(np.float32),
        spot_flags=(ice * np.uint8(SpotFlag.ICE) | outside * np.uint8(SpotFlag.OUT_OF_RANGE)).astype(np.uint8),
    )


def near_ice(q: npt.NDArray[np.float64], half_width: float) -> npt.NDArray[np.bool_]:
    """Whether q = 1/d (1/angstrom) lies within half_width of a powder ring of ice; never for NaN."""
    rings = np.sort(1.0 / np.array(ICE_RINGS))
    above = np.clip(np.searchsorted(rings, q), 1, len(rings) - 1)
    distance = np.minimum(np.abs(q - rings[above - 1]), np.abs(q - rings[above]))
    near: npt.NDArray[np.bool_] = distance <= half_width
    return near


def _estimates(
    q: npt.NDArray[np.float64], owner: npt.NDArray[np.int64], n: npt.NDArray[np.int32]
) -> npt.NDArray[np.float32]:
    order = np.lexsort((q, owner))
    starts = np.cumsum(n) - n
    out = np.full(len(n), np.nan, dtype=np.float32)
    enough = n >= RESOLUTION_MIN_SPOTS
    at = starts[enough] + np.floor(RESOLUTION_SHARE * (n[enough] - 1)).astype(np.int64)
    with np.errstate(divide="ignore"):
        out[enough] = 1.0 / q[order][at]
    return out
