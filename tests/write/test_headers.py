"""What the text headers of images state is carried, and readers of NXmx understand it."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import nxmx
import pytest
from fabio.cbfimage import CbfImage
from making import images, make_run, write_run

from dialsprograms import dials, needs_dials
from hitsieve.settings import SourceSettings
from hitsieve.source import open_run

HEADER = """
# Detector: PILATUS3 6M, S/N 60-0119
# 2019-09-11T13:20:2{k}.123
# Pixel_size 172e-6 m x 172e-6 m
# Silicon sensor, thickness 0.000320 m
# Exposure_time 0.0090 s
# Exposure_period 0.0100 s
# Count_cutoff 115897 counts
# Threshold_setting: 6400 eV
# Gain_setting: autog (vrf = 1.000)
# Wavelength {wavelength} A
# Detector_distance 0.35100 m
# Beam_xy (31.50, 24.25) pixels
# Flux 1e12
# Start_angle {k}.0000 deg.
"""
HITS = [1, 4]


def _cbfs(folder: Path, n: int = 6, step: float = 0.0) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"shot_{k:05d}.cbf" for k in range(n)]
    for k, (path, values) in enumerate(zip(paths, images(n, "i4"), strict=True)):
        text = HEADER.format(k=k, wavelength=round(0.97 + k * step, 6))
        fields = {"_array_data.header_convention": "PILATUS_1.2", "_array_data.header_contents": text}
        CbfImage(data=values, header=fields).write(str(path))
    return paths


def _hits(folder: Path, step: float = 0.0) -> tuple[Path, Path]:
    with open_run(_cbfs(folder / "in", step=step)) as source:
        outputs = write_run(source, folder / "out", HITS)
    return outputs.hits, outputs.annotated


def test_headers_are_carried(tmp_path: Path) -> None:
    for path, which in zip(_hits(tmp_path), (HITS, range(6)), strict=True):
        with h5py.File(path) as handle:
            detector = handle["entry/instrument/detector"]
            texts = detector["detectorSpecific/source_header"].asstr()[()].tolist()
            assert [text.strip() for text in texts] == [HEADER.format(k=k, wavelength=0.97).strip() for k in which]
            assert handle["entry/start_time"].asstr()[()] == "2019-09-11T13:20:20.123"
            for name, value, units in (
                ("count_time", 0.009, "s"),
                ("frame_time", 0.01, "s"),
                ("threshold_energy", 6400, "eV"),
                ("sensor_thickness", 0.00032, "m"),
                ("saturation_value", 115897, None),
            ):
                assert detector[name][()] == pytest.approx(value)
                assert detector[name].attrs.get("units") == units
            assert detector["sensor_material"].asstr()[()] == "Si"
            assert detector["description"].asstr()[()] == "PILATUS3 6M, S/N 60-0119"


def test_nxmx_reads_the_outputs(tmp_path: Path) -> None:
    hits, _ = _hits(tmp_path, step=0.0001)
    with h5py.File(hits) as handle:
        (entry,) = nxmx.NXmx(handle).entries
        (detector,) = entry.instruments[0].detectors
        (module,) = detector.modules
        assert entry.start_time is not None
        assert entry.instruments[0].beams[0].incident_wavelength.magnitude.tolist() == [0.9701, 0.9704]
        assert detector.sensor_thickness.to("mm").magnitude == pytest.approx(0.32)
        assert detector.count_time.to("s").magnitude == pytest.approx(0.009)
        corner = nxmx.get_cumulative_transformation(nxmx.get_dependency_chain(module.module_offset))[0] @ [0, 0, 0, 1]
        assert np.allclose(corner[:3], [31.5 * 0.172, 24.25 * 0.172, 351])
        assert module.data_size.tolist() == [48, 64]


def test_wavelength_of_each_joined_file(tmp_path: Path) -> None:
    paths = []
    for k, wavelength in enumerate((1.0, 1.001)):
        paths.append(make_run(tmp_path / f"in{k}", "single", n=4 + k).rename(tmp_path / f"part_{k}.h5"))
        with h5py.File(paths[-1], "a") as handle:
            beam = handle["entry/instrument/beam"]
            del beam["incident_wavelength"]
            beam["incident_wavelength"] = wavelength
            beam["incident_wavelength"].attrs["units"] = "angstrom"
    with open_run(paths) as source:
        outputs = write_run(source, tmp_path / "out", [2, 7])
    for path, expected in ((outputs.hits, [1.0, 1.001]), (outputs.annotated, [1.0] * 4 + [1.001] * 5)):
        with h5py.File(path) as handle:
            assert handle["entry/instrument/beam/incident_wavelength"][()].tolist() == expected


@pytest.mark.dials
@needs_dials
@pytest.mark.parametrize("sensor", [True, False])
def test_dials_imports_the_hits(tmp_path: Path, sensor: bool) -> None:
    settings = SourceSettings() if sensor else SourceSettings(set=("sensor_material=CdTe", "sensor_thickness=0.00075"))
    with open_run(_cbfs(tmp_path / "in"), settings) as source:
        hits = write_run(source, tmp_path / "out", HITS).hits
    dials(tmp_path, "dials.import", str(hits), "output.log=None")
    shown = dials(tmp_path, "dials.show", "imported.expt")
    assert "wavelength: 0.97" in shown
    assert "material: " + ("Si" if sensor else "CdTe") in shown
    assert "pixel_size:{0.172,0.172}" in shown
    assert "distance: 351" in shown
    assert "Beam centre:" in shown
    assert "(31.50,24.25)" in shown.replace(" ", "")
