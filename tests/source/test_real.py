"""The real images: opened, read, and placed in space as DIALS places them."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import h5py
import numpy as np
import nxmx
import pytest

from dialsprograms import dials, needs_dials
from hitsieve.model.detector import inverse_d
from hitsieve.source import open_run

DATASETS = {
    "dls_i03_pilatus3_6m": (1, 1),
    "dls_i19_lcysteine_pilatus_2m": (12, 1),
    "dls_i19_pilatus_300k_blank": (1, 0),
    "dls_i23_pilatus_12m": (1, 24),
    "dls_thaumatin_eiger2_4mroi": (1, 1),
    "i24_thaumatin_pilatus3_6m": (12, 1),
    "lcls_cxi_thermolysin_cspad": (3, 64),
    "sls_jungfrau_module": (13, 0),
    "sls_jungfrau_module_raw": (2, 0),
    "su_timepix_electron": (1, 1),
}
"""Images and panels of each file."""
PLACED = [name for name, (_, panels) in DATASETS.items() if panels]

DXTBX = """
import json, sys
from dxtbx.model.experiment_list import ExperimentListFactory
out = []
for panel in ExperimentListFactory.from_filenames([sys.argv[1]])[0].detector:
    size, pixel = panel.get_image_size(), panel.get_pixel_size()
    out.append([list(panel.get_lab_coord((f * size[0] * pixel[0], s * size[1] * pixel[1])))
                for f in (0, 0.3, 1) for s in (0, 0.7, 1)])
print(json.dumps(out))
"""


@pytest.mark.parametrize("name", DATASETS)
def test_every_image_is_there_and_reads_equal(data_dir: Path, name: str) -> None:
    path = data_dir / "images" / f"{name}.h5"
    n, panels = DATASETS[name]
    with open_run([path]) as opened, h5py.File(path) as file:
        run = opened.run
        dataset = file[run.files[0].dataset]
        assert (len(run), len(run.detector.panels)) == (n, panels)
        assert run.files[0].codec == "bslz4"
        assert run.stem == name
        assert not run.images.missing
        assert not run.images.unreadable
        for i in {0, n - 1}:
            np.testing.assert_array_equal(opened.pixels(i), dataset[i])
            assert opened.stored(i) == dataset.id.read_direct_chunk((i, 0, 0))[1]


@pytest.mark.dials
@needs_dials
@pytest.mark.parametrize("name", PLACED)
def test_panels_lie_where_dxtbx_puts_them(data_dir: Path, tmp_path: Path, name: str) -> None:
    path = data_dir / "images" / f"{name}.h5"
    theirs = np.array(json.loads(dials(tmp_path, "-c", DXTBX, str(path))))
    with open_run([path]) as opened:
        panels = opened.run.detector.panels
    assert len(panels) == len(theirs)
    for panel, positions in zip(panels, theirs, strict=True):
        (s, f), (ns, nf) = panel.first, panel.shape
        ours = [panel.lab(f + a * nf, s + b * ns) for a in (0, 0.3, 1) for b in (0, 0.7, 1)]
        # dxtbx uses the imgCIF frame (x and z reversed) and millimetres.
        np.testing.assert_allclose(np.array(ours), positions * [-1e-3, 1e-3, -1e-3], atol=1e-7, rtol=0)


@pytest.mark.parametrize("name", PLACED)
def test_panels_lie_where_nxmx_puts_them(data_dir: Path, name: str) -> None:
    path = data_dir / "images" / f"{name}.h5"
    with open_run([path]) as opened, h5py.File(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        detector = nxmx.NXmx(file).entries[0].instruments[0].detectors[0]
        panels = {p.name: p for p in opened.run.detector.panels}
        for module in detector.modules:
            chain = nxmx.get_dependency_chain(module.fast_pixel_direction.depends_on)
            matrix = nxmx.get_cumulative_transformation(chain)[0]
            panel = panels[module.path.rsplit("/", 1)[-1]]
            np.testing.assert_allclose(panel.origin, matrix[:3, 3] * 1e-3, atol=1e-9)
            fast = matrix[:3, :3] @ module.fast_pixel_direction.vector
            np.testing.assert_allclose(panel.fast / np.linalg.norm(panel.fast), fast, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "center", "distance", "wavelength"),
    [
        ("i24_thaumatin_pilatus3_6m", (1261.61, 1306.96), 0.351, 0.96859),
        ("dls_thaumatin_eiger2_4mroi", (1041.247, 1115.747), 0.337, 0.976246),
        ("dls_i03_pilatus3_6m", (1229.302, 1200.465), 0.29147, 0.97625),
        ("su_timepix_electron", (246.14, 240.35), 0.53185, 0.0251),
    ],
)
def test_beam_centre_distance_and_wavelength(
    data_dir: Path, name: str, center: tuple[float, float], distance: float, wavelength: float
) -> None:
    with open_run([data_dir / "images" / f"{name}.h5"]) as opened:
        run = opened.run
    assert run.detector.beam_center == pytest.approx(center, abs=1e-3)
    assert run.detector.distance == pytest.approx(distance, rel=1e-6)
    assert run.beam.wavelength == pytest.approx(wavelength, rel=1e-6)
    # The beam hits the detector at the beam centre: no resolution there, and 1/d grows with the distance from it.
    q = inverse_d(run.detector, run.beam, [center[0], center[0] + 50], [center[1], center[1]])
    assert q[0] < 1e-4
    pixel = run.detector.pixel_size[0]
    theta = np.arctan(50 * pixel / distance) / 2
    assert q[1] == pytest.approx(2 * np.sin(theta) / wavelength, rel=1e-3)


def test_wavelength_of_each_shot(data_dir: Path) -> None:
    with open_run([data_dir / "images" / "lcls_cxi_thermolysin_cspad.h5"]) as opened:
        beam = opened.run.beam
    np.testing.assert_allclose(beam.wavelengths, [1.272607, 1.272444, 1.271876])
    assert beam.wavelength == pytest.approx(np.mean(beam.wavelengths))


@pytest.mark.parametrize(
    ("name", "lacks"),
    [
        ("dls_i19_pilatus_300k_blank", {"detector distance", "beam centre", "pixel size"}),
        ("sls_jungfrau_module", {"wavelength", "detector distance", "beam centre", "pixel size"}),
        ("sls_jungfrau_module_raw", {"wavelength", "detector distance", "beam centre", "pixel size", "pixel mask"}),
        ("i24_thaumatin_pilatus3_6m", set()),
        ("lcls_cxi_thermolysin_cspad", {"pixel mask"}),
    ],
)
def test_what_the_source_lacks_is_told_and_not_invented(data_dir: Path, name: str, lacks: set[str]) -> None:
    with open_run([data_dir / "images" / f"{name}.h5"]) as opened:
        run = opened.run
    problems = [p for p in run.problems if p.what.startswith("states no ")]
    assert {p.what.removeprefix("states no ") for p in problems} == lacks
    assert all(p.mend for p in problems)
    assert (run.beam.wavelength is None) == ("wavelength" in lacks)
    assert (run.detector.distance is None) == ("detector distance" in lacks)
    assert (run.detector.beam_center is None) == ("beam centre" in lacks)
    assert (run.detector.pixel_mask is None) == ("pixel mask" in lacks)
