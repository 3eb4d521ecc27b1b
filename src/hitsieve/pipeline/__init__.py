"""Where the rooms meet: whole jobs from a source to its outputs."""

from hitsieve.pipeline.run import Progress, RunReport, run

__all__ = ["Progress", "RunReport", "run"]
