"""What is fixed for a run, as the kernels take it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hitsieve.cards import Numbers
from hitsieve.settings import SpotSettings
from hitsieve.spots.finder import Ground

NO_BIN = 0xFFFF
"""Bin of a pixel that is not valid."""
UNIT = 4096
"""Pixels of a unit of the background sample."""
MOST = 2**62
"""Larger limits limit nothing, and would not fit."""

Arrays = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class CardPlan:
    """Fields of a job that no batch changes."""

    dtype: np.dtype[np.generic]
    n_pixels: int
    n_bins: int
    max_spots: int
    numbers: Numbers
    arrays: Arrays


def card_plan(ground: Ground, settings: SpotSettings, units: npt.NDArray[np.uint32]) -> CardPlan:
    """Lay out a finder's maps and settings for the kernels.

    Parameters
    ----------
    ground : Ground
    settings : SpotSettings
        The algorithm must be `radial`: the kernels know no other.
    units : uint32, shape (n,)
        Numbers of the units of pixels that the background is sampled from, as the compiled core chose them.

    Returns
    -------
    CardPlan
    """
    slow, fast = ground.valid.shape
    valid = ground.valid.ravel()
    bins = np.where(valid, ground.bins.number.ravel(), NO_BIN).astype(np.uint16)
    background = ground.bins.background[:NO_BIN]
    # The pixels of each bin lie together in the list, so that one warp adds them up without meeting another.
    starts = units.astype(np.int64) * UNIT
    pixels = np.concatenate([np.arange(start, min(start + UNIT, valid.size)) for start in starts.tolist()])
    pixels = pixels[valid[pixels]]
    of_bin = bins[pixels]
    order = np.argsort(of_bin, kind="stable")
    arrays: Arrays = {
        "bins": bins,
        "background_bins": background.astype(np.uint8),
        "sample": pixels[order].astype(np.uint32),
        "sample_starts": np.searchsorted(of_bin[order], np.arange(len(background) + 1)).astype(np.int64),
    }
    if ground.panels is not None:
        arrays["panels"] = np.ascontiguousarray(ground.panels).ravel()
    numbers: Numbers = {
        "n_pixels": valid.size,
        "slow": slow,
        "fast": fast,
        "n_bins": len(background),
        "underload": ground.underload,
        "has_saturation": ground.saturation is not None,
        "saturation": ground.saturation or 0,
        "has_error_value": ground.error_value is not None,
        "error_value": ground.error_value or 0,
        "min_count": min(settings.min_count, MOST),
        "min_pixels": min(settings.min_pixels, MOST),
        "max_pixels": min(settings.max_pixels, MOST),
        "ring_width": settings.ring_width,
        "snr": settings.snr,
        "spot_snr": settings.spot_snr,
    }
    return CardPlan(np.dtype(ground.dtype), valid.size, len(background), settings.max_spots, numbers, arrays)
