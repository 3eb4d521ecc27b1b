"""Spot lists of real images, against orientations that other programs found."""

from __future__ import annotations

from pathlib import Path

import pytest

from hitsieve.index import CellIndexer
from hitsieve.settings import IndexSettings
from hitsieve.testing.lists import SPOT_LISTS, SpotList
from hitsieve.testing.stills import agrees


@pytest.mark.parametrize("case", SPOT_LISTS, ids=lambda case: case.name)
def test_reference_lattices_are_found(case: SpotList, data_dir: Path) -> None:
    images, spots = case.read(data_dir)
    indexer = CellIndexer(case.cell, case.centring, IndexSettings(max_lattices=5))
    n_images = n_lattices = 0
    for image in images:
        found = [case.like_reference(lattice.A) for lattice in indexer.index(spots[image["image"]])]
        matched = sum(any(agrees(reference["A"], A) for A in found) for reference in image["lattices"])
        n_images += matched > 0
        n_lattices += matched
    assert n_images >= case.images
    assert n_lattices >= case.lattices
