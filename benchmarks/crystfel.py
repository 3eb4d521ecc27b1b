"""CrystFEL's indexamajig with peakfinder8 and without indexing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import hdf5plugin
import numpy as np

from benchmarks.data import IMAGES
from benchmarks.found import PEAKFINDER8, Found, Subset
from benchmarks.timing import clock
from hitsieve.source import open_run

PLANCK_LIGHT = 12398.419843320025
"""Electronvolts times angstrom."""
_CHUNK = re.compile(r"^Event: [^\n/]*//(\d+)$.*?^num_peaks = (\d+)$", re.MULTILINE | re.DOTALL)


def peakfinder8(subset: Subset) -> Found | None:
    """Search the images in one process; None where CrystFEL is not installed."""
    if shutil.which("indexamajig") is None:
        return None
    geometry = subset.folder / "crystfel.geom"
    geometry.write_text(_geometry(subset.master))
    stream = subset.folder / "crystfel.stream"
    seconds = []
    for master, n in ((subset.few, subset.n_few), (subset.master, subset.n)):
        listed = subset.folder / "crystfel.lst"
        listed.write_text("".join(f"{master} //{i}\n" for i in range(n)))
        seconds.append(clock(lambda listed=listed: _indexamajig(listed, geometry, stream)))  # type: ignore[misc]
    n_spots = np.full(subset.n, -1, dtype=np.int64)
    for event, count in _CHUNK.findall(stream.read_text()):
        n_spots[int(event)] = int(count)
    assert (n_spots >= 0).all(), "the stream holds every image"
    how = f"start not counted, with decoding; threshold {PEAKFINDER8.threshold}, snr {PEAKFINDER8.snr}"
    return Found(subset.ms(seconds[1], seconds[0]), n_spots, how)


def _indexamajig(listed: Path, geometry: Path, stream: Path) -> None:
    chosen = PEAKFINDER8
    options = [
        "--indexing=none",
        "--peaks=peakfinder8",
        f"--threshold={chosen.threshold}",
        f"--min-snr={chosen.snr}",
        f"--min-pix-count={chosen.min_pixels}",
        f"--max-pix-count={chosen.max_pixels}",
        f"--local-bg-radius={chosen.background_radius}",
        f"--max-res={chosen.max_radius}",
    ]
    command = ["indexamajig", "-i", str(listed), "-g", str(geometry), "-o", str(stream), "-j", "1", *options]
    environment = {**os.environ, "HDF5_PLUGIN_PATH": hdf5plugin.PLUGIN_PATH, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=stream.parent, env=environment, capture_output=True, check=True)


def _geometry(master: Path) -> str:
    """The detector as one panel; the mask from the master."""
    with open_run([master]) as opened:
        detector, beam = opened.run.detector, opened.run.beam
    assert detector.beam_center is not None
    assert detector.pixel_size is not None
    assert beam.wavelength is not None
    slow, fast = detector.shape
    lines = {
        "photon_energy": f"{PLANCK_LIGHT / beam.wavelength:.4f} eV",
        "adu_per_photon": "1",
        "clen": f"{detector.distance} m",
        "res": f"{1 / detector.pixel_size[0]:.6f}",
        "data": IMAGES,
        "dim0": "%",
        "dim1": "ss",
        "dim2": "fs",
        "mask": "/entry/instrument/detector/pixel_mask",
        "mask_good": "0x00000000",
        "mask_bad": "0xffffffff",
        "p0/min_fs": "0",
        "p0/max_fs": str(fast - 1),
        "p0/min_ss": "0",
        "p0/max_ss": str(slow - 1),
        "p0/corner_x": f"{-detector.beam_center[0]}",
        "p0/corner_y": f"{-detector.beam_center[1]}",
        "p0/fs": "+1.0x",
        "p0/ss": "+1.0y",
    }
    return "".join(f"{name} = {value}\n" for name, value in lines.items())
