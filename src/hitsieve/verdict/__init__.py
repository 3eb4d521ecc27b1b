"""Decides what an image is from its spots, and how sure the hit rate is."""

from hitsieve.verdict.rate import hit_rate, wilson_interval
from hitsieve.verdict.rule import ICE_RINGS, HitRule, Rated, check_geometry, rate_resolutions, rate_spots

__all__ = [
    "ICE_RINGS",
    "HitRule",
    "Rated",
    "check_geometry",
    "hit_rate",
    "rate_resolutions",
    "rate_spots",
    "wilson_interval",
]
