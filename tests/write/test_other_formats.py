"""Images that are not HDF5: the best NXmx that they allow, and nothing invented."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import fabio
import h5py
import hdf5plugin  # noqa: F401
import numpy as np
import nxmx
from fabio.cbfimage import CbfImage
from making import images, write_run

from hitsieve.model import Beam, Panel
from hitsieve.pipeline.verify import verify
from hitsieve.settings import SourceSettings
from hitsieve.source import OpenedRun, open_run


def _images(folder: Path, n: int) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"shot_{i:05d}.cbf" for i in range(n)]
    for path, values in zip(paths, images(n, "i4"), strict=True):
        CbfImage(data=values).write(str(path))
    assert fabio.open(str(paths[0])).data.shape == (48, 64)
    return paths


def test_nothing_is_invented(tmp_path: Path) -> None:
    with open_run(_images(tmp_path / "in", 6), SourceSettings()) as source:
        outputs = write_run(source, tmp_path / "out", [1, 4])
    with h5py.File(outputs.hits) as handle:
        assert np.array_equal(handle["entry/data/data"][()], images(6, "i4")[[1, 4]])
        assert not handle["entry/hit_finding/verbatim"][()].any()
        assert "incident_wavelength" not in handle["entry/instrument/beam"]
        assert "distance" not in handle["entry/instrument/detector"]
        assert "start_time" not in handle["entry"]
    with h5py.File(outputs.annotated) as handle:
        assert "data" not in handle["entry/data"]
        assert "not HDF5" in handle["entry/data"].attrs["data_absent"]
    assert verify(outputs.hits).ok


def test_geometry_is_that_of_the_model(tmp_path: Path) -> None:
    panel = Panel("p", (0.0024, 0.0018, 0.1), (-75e-6, 0.0, 0.0), (0.0, -75e-6, 0.0), (0, 0), (48, 64))
    with open_run(_images(tmp_path / "in", 6), SourceSettings()) as found:
        detector = replace(found.run.detector, panels=(panel,), sensor_material="Si", sensor_thickness=0.00032)
        beam = Beam(wavelength=1.0, wavelengths=np.linspace(1.0, 1.5, 6))
        with OpenedRun(replace(found.run, detector=detector, beam=beam)) as source:
            outputs = write_run(source, tmp_path / "out", [1, 4])
    with h5py.File(outputs.hits) as handle:
        (entry,) = nxmx.NXmx(handle).entries
        (module,) = entry.instruments[0].detectors[0].modules
        assert entry.instruments[0].beams[0].incident_wavelength.magnitude.tolist() == [1.1, 1.4]
        corner = nxmx.get_cumulative_transformation(nxmx.get_dependency_chain(module.module_offset))[0] @ [0, 0, 0, 1]
        assert np.allclose(corner[:3] / 1000, panel.origin)
