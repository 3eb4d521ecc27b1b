"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import h5py

from benchmarks.bench import Bench
from hitsieve._core import cpu_features


def facts(bench: Bench) -> dict[str, str]:
    """Machine, versions and data."""
    load = os.getloadavg()[0]
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "h5py", "hdf5plugin", "pyarrow"))
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "processor": f"{_processor()}, {os.cpu_count()} cores ({len(os.sched_getaffinity(0))} usable)",
        "load before": f"{load:.2f} (above 0.3 other programs blur the ratios)",
        "kernels": cpu_features(),
        "versions": f"hitsieve {version('hitsieve')}, Python {platform.python_version()}, {libraries}, "
        f"HDF5 {h5py.version.hdf5_version}",
        "images": f"{len(bench.main)} of {bench.main.settings.detector}, "
        f"{bench.main.stored_bytes / len(bench.main) / 1e6:.2f} MB each, bitshuffle and LZ4, in the page cache",
        "rounds": f"{bench.rounds}; ratios are medians (least to most)",
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
