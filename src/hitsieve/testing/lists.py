"""What the folder of test data holds: measured images, and spot lists with orientations that other programs found."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hitsieve.testing.stills import Floats

IMAGE_FILES = (
    "dls_i03_pilatus3_6m",
    "dls_i19_lcysteine_pilatus_2m",
    "dls_i19_pilatus_300k_blank",
    "dls_i23_pilatus_12m",
    "dls_thaumatin_eiger2_4mroi",
    "i24_thaumatin_pilatus3_6m",
    "lcls_cxi_thermolysin_cspad",
    "sls_jungfrau_module",
    "sls_jungfrau_module_raw",
    "su_timepix_electron",
)
"""Files of measured images, without folder and suffix."""
_CENTRED_TO_PRIMITIVE = np.array([[1, 0, 0], [0, 1, 0], [0.5, 0.5, 0.5]])


@dataclass(frozen=True)
class SpotList:
    """One list, and what of it is found."""

    name: str
    cell: tuple[float, float, float, float, float, float]
    images: int
    """Images that have at least one of their reference lattices found."""
    lattices: int
    """Reference lattices found."""
    reference: str = ""
    """Name of the file with the reference lattices; that of the list by default."""
    centring: str = "P"

    def like_reference(self, A: Floats) -> Floats:
        """A found A matrix in the setting of the references: those of the I-centred crystal are primitive."""
        return A @ np.linalg.inv(_CENTRED_TO_PRIMITIVE) if self.centring == "I" else A

    def read(self, data: Path) -> tuple[list[Any], dict[str, Floats]]:
        """Images with their reference lattices, and the q of each image's spots."""
        return real_list(data, self.name, self.reference or self.name)


def real_list(data: Path, name: str, reference: str) -> tuple[list[Any], dict[str, Floats]]:
    """Images with their reference lattices, and the q of each image's spots."""
    images = json.loads((data / "spots" / f"{reference}.json").read_text(encoding="utf-8"))["images"]
    spots: dict[str, list[list[float]]] = defaultdict(list)
    with (data / "spots" / f"{name}.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            spots[row["image"]].append([float(row[axis]) for axis in ("qx", "qy", "qz")])
    return images, {image["image"]: np.array(spots[image["image"]]).reshape(-1, 3) for image in images}


_LYSOZYME = (79.0, 79.0, 38.0, 90.0, 90.0, 90.0)
_FAST_FEEDBACK = (78.95, 78.95, 36.9, 90.0, 90.0, 90.0)
SPOT_LISTS = [
    SpotList("thaumatin_i24", (58, 58, 150.3, 90, 90, 90), 10, 10),
    SpotList("thermolysin_cspad", (92.9, 92.9, 130.4, 90, 90, 120), 3, 3),
    SpotList("cunir_i24", (96.4, 96.4, 96.4, 90, 90, 90), 3, 3),
    SpotList("lysozyme_i24", _LYSOZYME, 2, 2),
    SpotList("thaumatin_eiger2", (58, 58, 150.3, 90, 90, 90), 1, 1),
    SpotList("5ht2b_cspad_crystfel", (61.4, 122.6, 168, 90, 90, 90), 19, 19, centring="C"),
    SpotList("lysozyme_pal_rayonix", (79.2, 79.2, 38, 90, 90, 90), 2, 2),
    SpotList("lysozyme_cspad_ld91", (79.1, 79.1, 38.1, 90, 90, 90), 197, 197),
    # Crystals and geometry before any refinement, cells up to 6 % off: what is found there agrees with no answer.
    SpotList("thermolysin_cspad_multi_stills", (93, 93, 130.5, 90, 90, 120), 1, 1),
    SpotList("cpv17_wedges", (104.9, 104.9, 104.9, 90, 90, 90), 27, 71, centring="I"),
    SpotList("ffbidx_local", _FAST_FEEDBACK, 7, 7, reference="ffbidx"),
    SpotList("ffbidx_radial", _FAST_FEEDBACK, 7, 7, reference="ffbidx"),
    SpotList("ffbidx_peakfinder8", _FAST_FEEDBACK, 7, 7, reference="ffbidx"),
]
