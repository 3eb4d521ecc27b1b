"""What the parts of the benchmarks share: the runs they read, where they write, how often they repeat."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from benchmarks.data import SimulatedRun, prepare
from benchmarks.table import Report
from hitsieve.testing import SimulateSettings


@dataclass
class Bench:
    """One run of the benchmarks."""

    work: Path
    main_settings: SimulateSettings
    weak_settings: SimulateSettings
    rounds: int
    peer_images: int
    weak_peer_images: int
    reference_images: int
    om_python: str
    long: bool = False
    """Whether parts that can be had at more than one length take the longest."""
    smoke: bool = False
    """Whether it is only to be seen that everything works."""
    report: Report = field(default_factory=Report)
    own_ms: float | None = None
    """Milliseconds an image of the whole run with one worker, once measured."""

    @cached_property
    def main(self) -> SimulatedRun:
        """The run that is timed: few hits."""
        return prepare(self.work, self.main_settings)

    @cached_property
    def weak(self) -> SimulatedRun:
        """The run of weak hits, half of the images."""
        return prepare(self.work, self.weak_settings)

    def folder(self, name: str) -> Path:
        """A folder for outputs."""
        return self.work / "out" / name
