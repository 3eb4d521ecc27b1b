"""Decides what an image is from its spots, and how sure the hit rate is."""

from hitsieve.verdict.rate import hit_rate, wilson_interval
from hitsieve.verdict.rule import ICE_RINGS, Judged, check_geometry, judge

__all__ = ["ICE_RINGS", "Judged", "check_geometry", "hit_rate", "judge", "wilson_interval"]
