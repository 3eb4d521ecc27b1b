"""`dials.find_spots` at its default settings."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import hdf5plugin
import numpy as np

from benchmarks.found import Found, Subset
from benchmarks.timing import clock

_STILL = re.compile(r"per-image spot count for imageset (\d+):\n(?:(\d+) spots found on)?")


def find_spots(subset: Subset) -> Found | None:
    """Search the images one by one, as stills, in one process; None where DIALS is not installed."""
    if shutil.which("dials.find_spots") is None:
        return None
    told: list[str] = []
    seconds = []
    for master in (subset.few, subset.master):
        _dials(subset.folder, "dials.import", str(master), "output.experiments=imported.expt")
        seconds.append(
            clock(lambda: told.append(_dials(subset.folder, "dials.find_spots", "imported.expt", "nproc=1")))
        )
    n_spots = np.full(subset.n, -1, dtype=np.int64)
    for number, count in _STILL.findall(told[-1]):
        n_spots[int(number)] = int(count or 0)
    assert (n_spots >= 0).all(), "DIALS reports every image"
    how = f"start not counted, with decoding; {_version(subset.folder)}, default settings, {subset.n} images"
    return Found(subset.ms(seconds[1], seconds[0]), n_spots, how)


def _dials(folder: Path, *command: str) -> str:
    environment = {**os.environ, "HDF5_PLUGIN_PATH": hdf5plugin.PLUGIN_PATH, "OMP_NUM_THREADS": "1"}
    # DIALS runs on its own Python, to which this one's settings mean nothing.
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def _version(folder: Path) -> str:
    return next((line for line in _dials(folder, "dials.version").splitlines() if line.startswith("DIALS")), "DIALS")
