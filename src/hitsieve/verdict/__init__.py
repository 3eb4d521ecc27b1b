"""Decides what an image is from its spots, and how sure the hit rate is."""

from hitsieve.verdict.calibrate import (
    DEFAULT_MIN_SPOTS,
    FLOOR,
    Blanks,
    Calibration,
    FalseHits,
    calibrate,
    false_hits,
)
from hitsieve.verdict.rate import hit_rate, wilson_interval
from hitsieve.verdict.rule import ICE_RINGS, HitRule, Rated, check_geometry, rate_resolutions, rate_spots

__all__ = [
    "DEFAULT_MIN_SPOTS",
    "FLOOR",
    "ICE_RINGS",
    "Blanks",
    "Calibration",
    "FalseHits",
    "HitRule",
    "Rated",
    "calibrate",
    "check_geometry",
    "false_hits",
    "hit_rate",
    "rate_resolutions",
    "rate_spots",
    "wilson_interval",
]
