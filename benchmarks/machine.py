"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform
import resource
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import h5py

from benchmarks.bench import Bench
from hitsieve._core import cpu_features


def facts(bench: Bench) -> dict[str, str]:
    """Machine, versions and data."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "h5py", "hdf5plugin", "pyarrow"))
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "processor": f"{_processor()}, {os.cpu_count()} cores ({len(os.sched_getaffinity(0))} usable)",
        "kernels": cpu_features(),
        "versions": f"hitsieve {version('hitsieve')}, Python {platform.python_version()}, {libraries}, "
        f"HDF5 {h5py.version.hdf5_version}",
        "images": f"{len(bench.main)} of {bench.main.settings.detector}, "
        f"{bench.main.stored_bytes / len(bench.main) / 1e6:.2f} MB each, bitshuffle and LZ4, in the page cache",
        "rounds": f"{bench.rounds}; ratios are medians (least to most)",
    }


class OtherPrograms:
    """How much of the machine other programs took since this was made."""

    def __init__(self) -> None:
        self._start = self._times()

    def __str__(self) -> str:
        busy, total, own = (now - then for now, then in zip(self._times(), self._start, strict=True))
        return f"{max(0.0, busy - own) / total:.0%} of the cores' time while measuring" if total else "unknown"

    @staticmethod
    def _times() -> tuple[float, float, float]:
        """Seconds that all cores were busy, seconds in all, and seconds of this process and its children."""
        fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
        ticks = [int(field) / os.sysconf("SC_CLK_TCK") for field in fields]
        idle = ticks[3] + ticks[4]
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(ticks) - idle, sum(ticks), sum(u.ru_utime + u.ru_stime for u in used)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
