"""Flags of the commands that a cluster can work for."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from hitsieve.settings import ClusterSettings, SlurmSettings


class ClusterFlags(ClusterSettings):
    """Cluster settings, with flags that have no opposite; the jobs of Slurm are described in a file."""

    slurm: Annotated[bool, Parameter(negative=())] = False
    """Have Slurm start workers, as the table [cluster.jobs] of the settings file says."""
    resume: Annotated[bool, Parameter(negative=())] = False
    """Keep what is found in a hidden folder beside the outputs until these are whole, and go on from what a run that
    was cut off has left there."""
    wait: Annotated[float, Parameter(name="--cluster-wait")] = 300.0
    """Longest time (s) without any worker: then the run fails; and without an answer about some images: then they are
    searched by this process."""
    patience: Annotated[float, Parameter(name="--cluster-patience")] = 3600.0
    """Longest time (s) that the scan of an archive waits for another cluster where its own has gone; then all other
    runs fail."""
    jobs: Annotated[SlurmSettings, Parameter(parse=False)] = SlurmSettings()
