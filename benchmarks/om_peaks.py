"""OM's peakfinder8, in the Python environment where OM is installed."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks.found import PEAKFINDER8, Found, Subset
from hitsieve.source import open_run

SCRIPT = Path(__file__).with_name("om_search.py")


def peakfinder8(subset: Subset, python: str, *, fast: bool) -> Found | None:
    """Search the images, unpacked before; None where OM is not installed."""
    if subprocess.run([python, str(SCRIPT)], capture_output=True, check=False).returncode:
        return None
    unpacked = subset.folder / "unpacked.npz"
    _unpack(subset.master, unpacked)
    request = json.dumps({**asdict(PEAKFINDER8), "file": str(unpacked), "fast": fast})
    done = subprocess.run([python, str(SCRIPT), request], check=True, stdout=subprocess.PIPE, text=True)
    answer = json.loads(done.stdout.splitlines()[-1])
    unpacked.unlink()
    how = f"without decoding; threshold {PEAKFINDER8.threshold}, snr {PEAKFINDER8.snr}"
    return Found(answer["ms"], np.asarray(answer["n_spots"], dtype=np.int64), how)


def _unpack(master: Path, target: Path) -> None:
    """Images, good pixels, and each pixel's distance (pixels) from the beam."""
    with open_run([master]) as opened:
        detector = opened.run.detector
        images = np.stack([opened.pixels(i) for i in range(len(opened.run))])
    assert detector.beam_center is not None
    assert detector.pixel_mask is not None
    slow, fast = np.indices(detector.shape)
    radius = np.hypot(fast + 0.5 - detector.beam_center[0], slow + 0.5 - detector.beam_center[1])
    np.savez(target, images=images, good=(detector.pixel_mask == 0).astype(np.int8), radius=radius.astype(np.float32))
