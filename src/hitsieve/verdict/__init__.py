"""Decides what an image is from its spots, and how sure the hit rate is."""

from hitsieve.verdict.bias import BiasFinding, bias_report
from hitsieve.verdict.calibrate import (
    DEFAULT_MIN_SPOTS,
    FLOOR,
    MAX_MEAN,
    Blanks,
    Calibration,
    FalseHits,
    calibrate,
    false_hits,
)
from hitsieve.verdict.content import Line, ice_share, saturated_share, timeline, with_ice
from hitsieve.verdict.rate import hit_rate, rate_interval, scatter, wilson_interval
from hitsieve.verdict.rule import ICE_RINGS, HitRule, Rated, check_geometry, rate_resolutions, rate_spots
from hitsieve.verdict.segments import WITHOUT_JET, HitTrust, Segment, files_without_jet, find_segments
from hitsieve.verdict.states import StateRates, rates_by_state

__all__ = [
    "DEFAULT_MIN_SPOTS",
    "FLOOR",
    "ICE_RINGS",
    "MAX_MEAN",
    "WITHOUT_JET",
    "BiasFinding",
    "Blanks",
    "Calibration",
    "FalseHits",
    "HitRule",
    "HitTrust",
    "Line",
    "Rated",
    "Segment",
    "StateRates",
    "bias_report",
    "calibrate",
    "check_geometry",
    "false_hits",
    "files_without_jet",
    "find_segments",
    "hit_rate",
    "ice_share",
    "rate_interval",
    "rate_resolutions",
    "rate_spots",
    "rates_by_state",
    "saturated_share",
    "scatter",
    "timeline",
    "wilson_interval",
    "with_ice",
]
