"""Memory does not grow with the run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import pytest

from hitsieve.testing import Simulated

RUN = """
import sys
from pathlib import Path
from hitsieve.cli import main
try:
    main(["run", *sys.argv[1:]])
except SystemExit as done:
    assert not done.code
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(int(peak.split()[1]) * 1024)
"""
IMAGES = "/entry/data/data"


@pytest.mark.lasting
def test_memory_stays(mine: Simulated, tmp_path: Path) -> None:
    """An image more costs a few numbers, not its pixels: once what is kept of a run is full, at some 2000 images."""
    shorter, longer = (_peak(_over(mine.master, times), tmp_path) for times in (50, 160))
    assert (longer - shorter) / (110 * 40) < 16_000
    assert longer < 400e6


def _over(master: Path, times: int) -> Path:
    """A master over the same images many times."""
    made = master.with_name(f"times{times}_master.h5")
    made.write_bytes(master.read_bytes())
    with h5py.File(made, "r+") as file:
        once = file[IMAGES]
        shape, dtype, sources = once.shape, once.dtype, once.virtual_sources()
        layout = h5py.VirtualLayout((times * shape[0], *shape[1:]), dtype)
        for again in range(times):
            for number, source in enumerate(sources):
                rows = shape[0] // len(sources)
                first = again * shape[0] + number * rows
                layout[first : first + rows] = h5py.VirtualSource(source.file_name, IMAGES, (rows, *shape[1:]))
        del file[IMAGES]
        file.create_virtual_dataset(IMAGES, layout)
    return made


def _peak(master: Path, folder: Path) -> int:
    command = [sys.executable, "-c", RUN, str(master), "--output", str(folder / master.stem), "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)
