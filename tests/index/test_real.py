"""Spot lists of real images, against orientations that other programs found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from hitsieve.index import CellIndexer
from hitsieve.settings import IndexSettings

from .stills import agrees, real_list

PRIMITIVE_I = np.array([[1, 0, 0], [0, 1, 0], [0.5, 0.5, 0.5]])


@dataclass(frozen=True)
class Case:
    name: str
    cell: tuple[float, float, float, float, float, float]
    images: int
    """Images that have at least one of their reference lattices found."""
    lattices: int
    """Reference lattices found."""
    reference: str = ""
    centring: str = "P"


LYSOZYME = (79.0, 79.0, 38.0, 90.0, 90.0, 90.0)
FFBIDX = (78.95, 78.95, 36.9, 90.0, 90.0, 90.0)
CASES = [
    Case("thaumatin_i24", (58, 58, 150.3, 90, 90, 90), 10, 10),
    Case("thermolysin_cspad", (92.9, 92.9, 130.4, 90, 90, 120), 3, 3),
    Case("cunir_i24", (96.4, 96.4, 96.4, 90, 90, 90), 3, 3),
    Case("lysozyme_i24", LYSOZYME, 2, 2),
    Case("thaumatin_eiger2", (58, 58, 150.3, 90, 90, 90), 1, 1),
    Case("5ht2b_cspad_crystfel", (61.4, 122.6, 168, 90, 90, 90), 19, 19, centring="C"),
    Case("lysozyme_pal_rayonix", (79.2, 79.2, 38, 90, 90, 90), 2, 2),
    Case("lysozyme_cspad_ld91", (79.1, 79.1, 38.1, 90, 90, 90), 197, 197),
    # Crystals and geometry before any refinement, cells up to 6 % off: what is found there agrees with no answer.
    Case("thermolysin_cspad_multi_stills", (93, 93, 130.5, 90, 90, 120), 1, 1),
    Case("cpv17_wedges", (104.9, 104.9, 104.9, 90, 90, 90), 27, 66, centring="I"),
    Case("ffbidx_local", FFBIDX, 7, 7, reference="ffbidx"),
    Case("ffbidx_radial", FFBIDX, 7, 7, reference="ffbidx"),
    Case("ffbidx_peakfinder8", FFBIDX, 7, 7, reference="ffbidx"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_reference_lattices_are_found(case: Case, data_dir: Path) -> None:
    images, spots = real_list(data_dir, case.name, case.reference or case.name)
    indexer = CellIndexer(case.cell, case.centring, IndexSettings(max_lattices=5))
    # References of the I-centred crystal are primitive.
    to_primitive = np.linalg.inv(PRIMITIVE_I) if case.centring == "I" else np.eye(3)
    n_images = n_lattices = 0
    for image in images:
        found = [lattice.A @ to_primitive for lattice in indexer.index(spots[image["image"]])]
        matched = sum(any(agrees(reference["A"], A) for A in found) for reference in image["lattices"])
        n_images += matched > 0
        n_lattices += matched
    assert n_images >= case.images
    assert n_lattices >= case.lattices
