"""Runs are seen to by themselves: found, sieved, checked, proven, entered and registered, each once."""

from hitsieve.pipeline.watch.facility import facility_names, with_facility
from hitsieve.pipeline.watch.journal import Alive, Journal, default_journal
from hitsieve.pipeline.watch.rows import STEPS, RunRow, Step
from hitsieve.pipeline.watch.settings import BeamlineSettings, ScicatSettings, WatchSettings

__all__ = [
    "STEPS",
    "Alive",
    "BeamlineSettings",
    "Journal",
    "RunRow",
    "ScicatSettings",
    "Step",
    "WatchSettings",
    "default_journal",
    "facility_names",
    "with_facility",
]
