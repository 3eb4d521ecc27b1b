"""Tells raw readings of gain-switching detectors from counts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hitsieve.errors import SourceError
from hitsieve.model import Problem
from hitsieve.source.opened import OpenedRun

GAIN_BITS = 14
"""The gain stage stands above the 14 bits of the converter: 0, 1 and 3; 2 does not occur."""
MARKERS = 65534
"""Values from here on mark bad or saturated pixels."""
PEDESTAL = 256
"""Readings without a photon lie above this; images of counts with such a median and gain bits do not occur."""


def looks_raw(pixels: npt.NDArray[np.generic]) -> bool:
    """Whether uint16 pixels look like converter readings with the gain in their two top bits."""
    if pixels.dtype != np.uint16:
        return False
    values = pixels.astype(np.int64)
    read = values[values < MARKERS]
    if not read.size or np.median(read) < PEDESTAL:
        return False
    stages = set(np.unique(read >> GAIN_BITS).tolist())
    return len(stages) > 1 and 2 not in stages


def raw_readings(opened: OpenedRun) -> list[Problem]:
    """A problem where the images look uncorrected and the source states nothing that says otherwise."""
    run = opened.run
    stated = (run.beam.wavelength, run.detector.distance, run.detector.pixel_mask, run.detector.saturation_value)
    if run.dtype != np.uint16 or any(value is not None for value in stated) or run.detector.panels:
        return []
    images = run.images
    first = next((i for i in range(len(run)) if i not in images.missing and i not in images.unreadable), None)
    try:
        raw = first is not None and looks_raw(opened.pixels(first))
    except SourceError:
        # The search finds the image unreadable, and says so.
        return []
    if not raw:
        return []
    what = "looks like raw readings with gain bits (JUNGFRAU), not counts: spots and hits of it mean nothing"
    return [Problem(str(run.path), what, "subtract the pedestals, apply the gains, and name the file with counts")]
