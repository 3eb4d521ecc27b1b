"""What the user gives fills what the source lacks, marked as such; what neither has is named once."""

from __future__ import annotations

import hashlib
from pathlib import Path

import h5py
import numpy as np
import nxmx
import pytest
from making import PACKINGS, SHAPE, images, make_run, write_run

from dialsprograms import dials, needs_dials
from hitsieve.settings import SourceSettings
from hitsieve.source import open_run
from hitsieve.write import Outputs

SET = (
    "wavelength=1.25",
    "distance=0.2",
    "beam_center_x=30.5",
    "beam_center_y=20.25",
    "pixel_size=7.5e-5",
    "sample_name=lysozyme",
    "sensor_material=Si",
    "sensor_thickness=0.00032",
)
BY_SET = "user (--set)"


def _bare(path: Path, n: int = 12) -> Path:
    """Images and nothing else."""
    with h5py.File(path, "w") as handle:
        handle.create_dataset("entry/data/data", data=images(n), chunks=(1, *SHAPE), **PACKINGS["bslz4"])
    return path


def _write(path: Path, out: Path, settings: SourceSettings) -> Outputs:
    with open_run([path], settings) as source:
        return write_run(source, out, [2, 5])


def _problems(outputs: Outputs) -> list[str]:
    with h5py.File(outputs.hits) as hits, h5py.File(outputs.annotated) as annotated:
        both = [file["entry/hit_finding/problems"].asstr()[()].tolist() for file in (hits, annotated)]
    assert both[0] == both[1]
    return [line for line in both[0] if "which NXmx requires" in line]


def test_what_is_absent_is_named_once(tmp_path: Path) -> None:
    outputs = _write(_bare(tmp_path / "bare.h5"), tmp_path / "out", SourceSettings())
    (line,) = _problems(outputs)
    for name in ("entry/start_time", "sample/name", "source/name", "beam/incident_wavelength", "module (geometry)"):
        assert name in line
    assert "DIALS cannot open" in line
    assert "--set wavelength=..." in line
    assert "--geometry FILE.geom" in line


def test_given_values_fill_an_empty_source(tmp_path: Path) -> None:
    outputs = _write(_bare(tmp_path / "bare.h5"), tmp_path / "out", SourceSettings(set=SET))
    for path, n in ((outputs.hits, 2), (outputs.annotated, 12)):
        with h5py.File(path) as handle:
            (entry,) = nxmx.NXmx(handle).entries
            (detector,) = entry.instruments[0].detectors
            (module,) = detector.modules
            assert entry.definition == "NXmx"
            assert entry.samples[0].name == "lysozyme"
            assert entry.instruments[0].beams[0].incident_wavelength.to("angstrom").magnitude == 1.25
            assert detector.sensor_material == "Si"
            chain = nxmx.get_dependency_chain(module.fast_pixel_direction)
            corner = nxmx.get_cumulative_transformation(chain[1:])[0] @ [0, 0, 0, 1]
            assert np.allclose(np.abs(corner[:3]), [30.5 * 0.075, 20.25 * 0.075, 200])
            assert len(entry.data[0]["data"]) == n
            group = handle["entry/instrument/detector"]
            for name in ("distance", "beam_center_x", "beam_center_y", "x_pixel_size", "sensor_thickness"):
                assert group[name].attrs["source"] == BY_SET
            assert group["module"].attrs["source"] == BY_SET
    (line,) = _problems(outputs)
    assert "DIALS" not in line
    assert "module" not in line


def test_values_of_the_source_stay(tmp_path: Path) -> None:
    outputs = _write(make_run(tmp_path / "in", "vds"), tmp_path / "out", SourceSettings(set=SET))
    for path in (outputs.hits, outputs.annotated):
        with h5py.File(path) as handle:
            detector = handle["entry/instrument/detector"]
            assert detector["distance"][()] == 0.1
            assert "source" not in detector["distance"].attrs
            assert len(handle["entry/instrument/beam/incident_wavelength"]) in (2, 24)
            assert [name for name in detector if name.startswith("module")] == ["module"]
            assert b"0.2" in handle["entry/hit_finding/overrides/data"][()]
            assert "problems" not in handle["entry/hit_finding"]


def test_mask_is_recorded_and_that_of_the_source_kept(tmp_path: Path) -> None:
    mask = np.zeros(SHAPE, np.uint32)
    mask[:4] = 8
    np.save(tmp_path / "mask.npy", mask)
    settings = SourceSettings(mask=tmp_path / "mask.npy")
    outputs = _write(make_run(tmp_path / "in", "vds"), tmp_path / "out", settings)
    source = np.eye(*SHAPE, dtype="u4")
    with h5py.File(outputs.hits) as handle:
        assert np.array_equal(handle["entry/instrument/detector/pixel_mask"], source)
        used = source | mask
        process = handle["entry/hit_finding"]
        assert process["mask_sha256"].asstr()[()] == hashlib.sha256(used.astype("<u4").tobytes()).hexdigest()
        assert process["n_masked"][()] == np.count_nonzero(used)


GEOM = """photon_energy = 10000
clen = 0.15
res = 13333.333
p/min_fs = 0
p/max_fs = 63
p/min_ss = 0
p/max_ss = 47
p/corner_x = -32
p/corner_y = -24
p/fs = x
p/ss = y
data = /entry/data/data
dim0 = %
dim1 = ss
dim2 = fs
"""


def test_geometry_file_is_recorded_and_fills(tmp_path: Path) -> None:
    geometry = tmp_path / "detector.geom"
    geometry.write_text(GEOM)
    outputs = _write(_bare(tmp_path / "bare.h5"), tmp_path / "out", SourceSettings(geometry=geometry))
    with h5py.File(outputs.hits) as handle:
        note = handle["entry/hit_finding/geometry"]
        assert note["data"].asstr()[()] == GEOM
        assert note["file_name"].asstr()[()] == str(geometry)
        wavelength = handle["entry/instrument/beam/incident_wavelength"]
        assert wavelength.attrs["source"] == "user (--geometry)"
        assert wavelength[()] == pytest.approx(1.2398, abs=1e-3)
        assert handle["entry/instrument/detector/module"].attrs["source"] == "user (--geometry)"


@pytest.mark.dials
@needs_dials
def test_dials_opens_what_the_user_completed(tmp_path: Path) -> None:
    outputs = _write(_bare(tmp_path / "bare.h5"), tmp_path / "out", SourceSettings(set=SET))
    for path, n in ((outputs.hits, 2), (outputs.annotated, 12)):
        told = dials(tmp_path, "dials.import", str(path), f"output.experiments={path.stem}.expt", "output.log=None")
        assert f"num images: {n}" in told
