"""Clusters that somebody else has started, and what their workers are given."""

from __future__ import annotations

from pathlib import Path

from distributed import LocalCluster

import hitsieve
from hitsieve.pipeline.cluster.worker import Job
from hitsieve.pipeline.units import fingerprint
from hitsieve.settings import RunSettings, SpotSettings
from hitsieve.source import open_run


def started(n_workers: int = 2, **options: object) -> LocalCluster:
    """Processes of one thread each, which are started again when they die; for a `with` statement."""
    return LocalCluster(
        n_workers=n_workers, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50, **options
    )


def job_of(master: Path, engine: str = "cpu", **spots: object) -> Job:
    """What a worker is told of a run."""
    chosen = RunSettings()
    with open_run([master]) as source:
        mark = fingerprint(source.run)
    return Job((master,), chosen.source, SpotSettings.model_validate(spots), hitsieve.__version__, mark, engine)
