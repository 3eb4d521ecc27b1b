"""Files named together are one run only where they state one experiment, and each image counts once."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

import hitsieve
from hitsieve.errors import SourceError
from hitsieve.model import Run
from hitsieve.settings import SourceSettings
from hitsieve.source import open_run

from .builders import SHAPE, axis, counts, data_file, field, link_master, nxmx

BEAM, DETECTOR = "entry/instrument/beam", "entry/instrument/detector"


def pair(folder: Path, group: str, name: str, value: object, units: str | None = None) -> list[Path]:
    """Two runs that are alike but for one field."""
    paths = [nxmx(folder / "a.h5"), nxmx(folder / "b.h5")]
    with h5py.File(paths[1], "a") as file:
        field(file[group], name, value, units)
    return paths


def opened(paths: list[Path], **settings: object) -> Run:
    with open_run(paths, SourceSettings(**settings)) as source:
        return source.run


@pytest.mark.parametrize(
    ("group", "name", "value", "units", "words"),
    [
        (BEAM, "incident_wavelength", 1.52, "angstrom", ["wavelength", "1.52 angstrom", "1.5 angstrom"]),
        (DETECTOR, "distance", 200.0, "mm", ["distance", "0.2 m", "0.1 m"]),
        (DETECTOR, "beam_center_x", 5.0, None, ["beam centre", "(5, 2.5)", "(4.5, 2.5)"]),
        (DETECTOR, "x_pixel_size", 172.0, "um", ["pixel size", "0.000172", "7.5e-05"]),
        (DETECTOR, "pixel_mask", np.eye(*SHAPE, dtype=np.uint32), None, ["pixel mask", "6 pixels"]),
    ],
)
def test_different_experiments_are_not_joined(
    tmp_path: Path, group: str, name: str, value: object, units: str | None, words: list[str]
) -> None:
    paths = pair(tmp_path, group, name, value, units)
    with pytest.raises(SourceError) as caught:
        open_run(paths)
    for word in (*words, str(paths[0]), str(paths[1]), "one by one"):
        assert word in str(caught.value)
    with open_run(paths, compare=False) as source:
        assert len(source.run) == 6


def test_other_modules_are_not_joined(tmp_path: Path) -> None:
    paths = [nxmx(tmp_path / "a.h5"), nxmx(tmp_path / "b.h5")]
    for k, path in enumerate(paths):
        with h5py.File(path, "a") as file:
            for name in ("beam_center_x", "beam_center_y", "distance"):
                del file[DETECTOR][name]
            module = file.create_group(f"{DETECTOR}/module")
            module.attrs["NX_class"] = "NXdetector_module"
            module["data_origin"], module["data_size"] = [0, 0], list(SHAPE)
            vector, at = [0.6, 0.0, 0.8], f"{module.name}/offset"
            axis(module, "offset", "translation", 0.1, "m", vector, ".")
            fast = [-1.0, 0.0, 0.0] if k == 0 else [0.0, -1.0, 0.0]
            slow = [0.0, -1.0, 0.0] if k == 0 else [-1.0, 0.0, 0.0]
            axis(module, "fast_pixel_direction", "translation", 75e-6, "m", fast, at)
            axis(module, "slow_pixel_direction", "translation", 75e-6, "m", slow, at)
    with pytest.raises(SourceError, match=r"b\.h5") as caught:
        open_run(paths, SourceSettings())
    assert "a.h5" in str(caught.value)


def test_what_the_user_sets_need_not_agree(tmp_path: Path) -> None:
    run = opened(pair(tmp_path, DETECTOR, "distance", 200.0, "mm"), set=("distance=0.15",))
    assert (len(run), run.detector.distance) == (6, 0.15)


def test_wavelengths_that_hardly_differ_are_those_of_the_images(tmp_path: Path) -> None:
    beam = opened(pair(tmp_path, BEAM, "incident_wavelength", 1.503, "angstrom")).beam
    np.testing.assert_array_equal(beam.wavelengths, [1.5] * 3 + [1.503] * 3)
    assert beam.wavelength == pytest.approx(1.5015)


def test_data_files_without_metadata_join_with_those_that_have_them(tmp_path: Path) -> None:
    bare = data_file(tmp_path / "bare.h5", counts(0, 2))
    run = opened([bare, nxmx(tmp_path / "a.h5"), nxmx(tmp_path / "b.h5")])
    assert len(run) == 8
    assert (run.beam.wavelength, run.detector.distance) == (1.5, pytest.approx(0.1))


def test_file_named_twice(tmp_path: Path) -> None:
    path = nxmx(tmp_path / "a.h5")
    (tmp_path / "link.h5").symlink_to(path)
    os.link(path, tmp_path / "hard.h5")
    for other in (path, tmp_path / "link.h5", tmp_path / "hard.h5"):
        with pytest.raises(SourceError, match="each file once") as caught:
            open_run([path, other])
        assert str(other) in str(caught.value)


def test_data_file_beside_its_master(tmp_path: Path) -> None:
    data = data_file(tmp_path / "a_data_000001.h5", counts(0, 2))
    master = link_master(tmp_path / "a_master.h5", [data.name])
    with pytest.raises(SourceError, match=r"images that .*a_master\.h5 has too"):
        open_run([master, data])


def test_one_name_may_be_text(tmp_path: Path) -> None:
    path = nxmx(tmp_path / "a.h5")
    for named in (str(path), path, [str(path)]):
        with hitsieve.open_run(named) as source:
            assert source.run.path == path


def test_raw_readings_are_told(tmp_path: Path, data_dir: Path) -> None:
    path = data_dir / "images" / "sls_jungfrau_module_raw.h5"
    (problem,) = [p for p in opened([path]).problems if "raw readings" in p.what]
    assert "counts" in problem.what
    assert "pedestals" in problem.mend
    for counted in (data_dir / "images" / "sls_jungfrau_module.h5", data_file(tmp_path / "a.h5", counts(0, 1))):
        assert not [p for p in opened([counted]).problems if "raw readings" in p.what]


def test_counts_with_markers_are_counts(tmp_path: Path) -> None:
    images = np.random.default_rng(1).poisson(300, (1, *SHAPE)).astype(np.uint16)
    images[0, 0] = 65535
    assert not [p for p in opened([data_file(tmp_path / "a.h5", images)]).problems if "raw readings" in p.what]
