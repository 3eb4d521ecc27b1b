"""Runs in OM's environment: searches unpacked images and prints the time and the peaks of each as JSON."""

import json
import random
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from om.algorithms.crystallography import Peakfinder8PeakDetection  # type: ignore[import-not-found]


def main(request: Mapping[str, Any]) -> None:
    """Search all images."""
    random.seed(1)
    with np.load(request["file"]) as file:
        images, good, radius = file["images"], file["good"], file["radius"]
    slow, fast = images.shape[1:]
    finder = Peakfinder8PeakDetection(
        radius_pixel_map=radius,
        layout_info={"asic_nx": fast, "asic_ny": slow, "nasics_x": 1, "nasics_y": 1},
        crystallography_parameters={
            "max_num_peaks": request["max_peaks"],
            "adc_threshold": float(request["threshold"]),
            "minimum_snr": float(request["snr"]),
            "min_pixel_count": request["min_pixels"],
            "max_pixel_count": request["max_pixels"],
            "local_bg_radius": request["background_radius"],
            "min_res": 0,
            "max_res": request["max_radius"],
            "fast_mode": request["fast"],
        },
    )
    finder.set_bad_pixel_map(good)
    finder.find_peaks(data=images[0])
    start = time.perf_counter()
    n_spots = [finder.find_peaks(data=image)["num_peaks"] for image in images]
    print(json.dumps({"ms": 1e3 * (time.perf_counter() - start) / len(images), "n_spots": n_spots}))


# Without a request, reaching this line says that OM is installed.
if len(sys.argv) > 1:
    main(json.loads(sys.argv[1]))
