"""Real readers of the outputs: DIALS finds the same spots in a hit as in its source image; nxmx loads both files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import nxmx
import pytest

import hitsieve
from dialsprograms import dials, needs_dials
from hitsieve.testing import Simulated, SimulateSettings, simulate

from .reading import Found, read

LIST_SPOTS = """
import json, sys
from dials.array_family import flex

def places_and_intensities(path):
    spots = flex.reflection_table.from_file(path)
    return [tuple(place) for place in spots["xyzobs.px.value"]], list(spots["intensity.sum.value"])

print(json.dumps([places_and_intensities(path) for path in sys.argv[1:]]))
"""


@dataclass(frozen=True)
class DialsSpots:
    places: np.ndarray
    """(x, y, z), z the number of the image and a half."""
    intensity: np.ndarray
    imported: str
    """What dials.import told."""

    def of(self, image: int) -> np.ndarray:
        """(x, y, intensity) of the spots of an image, in order."""
        here = np.floor(self.places[:, 2]) == image
        rows = np.column_stack([self.places[here, :2], self.intensity[here]])
        return rows[np.lexsort(rows.T)]


def dials_spots(folder: Path, paths: Sequence[Path], *settings: str) -> list[DialsSpots]:
    """Spots that DIALS finds in each of some files."""
    imported = []
    for number, path in enumerate(paths):
        (here := folder / f"dials{number}").mkdir()
        # Stills as simulated; otherwise spots of neighbouring images are merged.
        as_stills = "convert_sequences_to_stills=True"
        imported.append(dials(here, "dials.import", str(path), "output.log=None", as_stills))
        dials(here, "dials.find_spots", "imported.expt", "output.log=None", "nproc=1", *settings)
    found = [str(folder / f"dials{number}" / "strong.refl") for number in range(len(paths))]
    listed = json.loads(dials(folder, "-c", LIST_SPOTS, *found))
    return [
        DialsSpots(np.array(places).reshape(-1, 3), np.array(intensity), told)
        for (places, intensity), told in zip(listed, imported, strict=True)
    ]


@pytest.fixture(scope="module", params=["vds", pytest.param("external", marks=pytest.mark.long)])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Simulated, Found]:
    """A small run with crystals of good size, sieved."""
    folder = tmp_path_factory.mktemp(request.param)
    settings = {"detector": "test-256k", "images": 9, "images_per_file": 4, "hit_fraction": 0.5, "spots": (60, 200)}
    made = simulate(folder, SimulateSettings.model_validate(settings | {"style": request.param, "seed": 4}))
    hitsieve.run(made.master, output=folder / "out")
    found = read(folder / "out", "simulated")
    assert 3 <= len(found.images("hit")) <= 6
    return made, found


@pytest.mark.dials
@needs_dials
def test_dials_finds_the_same_spots(run: tuple[Simulated, Found], tmp_path: Path) -> None:
    made, found = run
    hits, annotated, source = dials_spots(tmp_path, [found.hits, found.annotated, made.master])
    assert "num images: 9" in annotated.imported
    assert f"num images: {len(found.images('hit'))}" in hits.imported
    for row, image in enumerate(found.images("hit")):
        assert len(annotated.of(image)) > 20
        assert np.array_equal(hits.of(row), annotated.of(image))
    assert len(hits.places) == sum(len(annotated.of(image)) for image in found.images("hit"))
    # Of external links DIALS reads the first only: the annotated master shows it more than the source does.
    seen = 9 if found.summary.source.style == "vds" else 4
    assert f"num images: {seen}" in source.imported
    for image in range(seen):
        assert np.array_equal(annotated.of(image), source.of(image))


@pytest.mark.long
@pytest.mark.dials
@needs_dials
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("i24_thaumatin_pilatus3_6m", ()),
        # The settings of DIALS' own test of these images.
        ("lcls_cxi_thermolysin_cspad", ("gain=25", "global_threshold=100", "min_spot_size=2")),
    ],
)
def test_dials_finds_the_same_spots_in_measured_images(
    data_dir: Path, tmp_path: Path, name: str, settings: tuple[str, ...]
) -> None:
    path = data_dir / "images" / f"{name}.h5"
    hitsieve.run(path, output=tmp_path / "out")
    found = read(tmp_path / "out", name)
    source, hits = dials_spots(tmp_path, [path, found.hits], *settings)
    for row, image in enumerate(found.images("hit")):
        assert len(source.of(image)) > 20
        assert np.array_equal(hits.of(row), source.of(image))


def test_nxmx_loads_both(run: tuple[Simulated, Found]) -> None:
    made, found = run
    geometry = []
    for path, n in ((made.master, 9), (found.hits, len(found.images("hit"))), (found.annotated, 9)):
        with h5py.File(path) as file:
            (entry,) = nxmx.NXmx(file).entries
            (instrument,) = entry.instruments
            (detector,) = instrument.detectors
            assert str(entry.definition) == "NXmx"
            assert instrument.beams[0].incident_wavelength.to("angstrom").magnitude == 1.0
            (module,) = detector.modules
            assert module.data_size.tolist() == [524, 514]
            chain = nxmx.get_dependency_chain(module.slow_pixel_direction)
            geometry.append(nxmx.get_cumulative_transformation(chain))
            (data,) = entry.data
            if "data" in data:
                assert data["data"].shape == (n, 524, 514)
    assert np.array_equal(geometry[0], geometry[1])
    assert np.array_equal(geometry[0], geometry[2])
