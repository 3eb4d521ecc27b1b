"""Files of simulated runs, read by h5py and nxmx."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401
import numpy as np
import numpy.typing as npt
import nxmx
import pyarrow.parquet as pq
import pytest

from hitsieve.errors import OutputError
from hitsieve.testing import Simulated, SimulateSettings, Simulator, simulate
from hitsieve.testing.settings import detector_names


def _read(simulated: Simulated) -> npt.NDArray[Any]:
    with h5py.File(simulated.master) as file:
        data = file["/entry/data"]
        if "data" in data:
            return np.asarray(data["data"])
        return np.concatenate([data[name][()] for name in sorted(data)])


@pytest.mark.parametrize("style", ["vds", "vds-strided", "external", "single"])
def test_styles_hold_the_same_images(
    style: str, small: Simulated, small_settings: SimulateSettings, tmp_path: Path
) -> None:
    settings = small_settings.model_copy(update={"style": style, "images_per_file": 7})
    made = simulate(tmp_path, settings)
    np.testing.assert_array_equal(_read(made), _read(small))
    assert len(made.data_files) == (0 if style == "single" else 4)
    if style == "vds-strided":
        with h5py.File(made.data_files[1]) as file:
            assert file["/entry/detector/number"][()].tolist() == [1, 5, 9, 13, 17, 21]


def test_image_depends_on_its_number_alone(small: Simulated, small_settings: SimulateSettings) -> None:
    images = _read(small)
    simulator = Simulator(small_settings)
    for i in (17, 3, 17, 0):
        np.testing.assert_array_equal(simulator.image(i)[0], images[i])
    other = Simulator(small_settings.model_copy(update={"seed": 8})).image(3)[0]
    assert (other != images[3]).mean() > 0.1


@pytest.mark.parametrize(
    ("compression", "filter_number"), [("bslz4", 32008), ("bszstd", 32008), ("lz4", 32004), ("gzip", 1), ("none", None)]
)
def test_compressions(compression: str, filter_number: int | None, tmp_path: Path) -> None:
    small = {"images": 2, "detector": "test-256k", "seed": 3}
    settings = SimulateSettings.model_validate({**small, "compression": compression})
    made = simulate(tmp_path, settings)
    with h5py.File(made.data_files[0]) as file:
        stored = file["/entry/data/data"]
        filters = stored.id.get_create_plist()
        assert [filters.get_filter(k)[0] for k in range(filters.get_nfilters())] == [filter_number][
            : filters.get_nfilters()
        ]
        assert filters.get_nfilters() == (0 if filter_number is None else 1)
        assert stored.chunks == (1, 524, 514)
        np.testing.assert_array_equal(stored[1], Simulator(settings).image(1)[0])


@pytest.mark.parametrize(
    ("dtype", "gap"),
    [("u8", 255), ("i8", -128), ("u16", 65535), ("i16", -32768), ("u32", 2**32 - 1), ("i32", -(2**31))],
)
def test_pixel_types(dtype: str, gap: int, tmp_path: Path) -> None:
    common = {"images": 1, "detector": "test-256k", "hit_fraction": 1.0, "scale": 30.0}
    made = simulate(tmp_path, SimulateSettings.model_validate({"dtype": dtype, **common}))
    image = _read(made)[0]
    assert image.dtype == np.dtype({"u": "uint", "i": "int"}[dtype[0]] + dtype[1:])
    wide = Simulator(SimulateSettings.model_validate({"dtype": "i32", **common})).image(0)[0]
    with h5py.File(made.master) as file:
        detector = file["/entry/instrument/detector"]
        mask, most, least = (
            detector["pixel_mask"][()],
            detector["saturation_value"][()] + 1,
            detector["underload_value"][()],
        )
    assert np.all(image[mask == 1] == gap)
    sensitive = mask != 1
    np.testing.assert_array_equal(image[sensitive], np.minimum(wide[sensitive], most))
    assert least <= image[sensitive].min() and not least <= gap <= most - 1
    if image.itemsize == 1:
        assert (image[sensitive] == most).any()


@pytest.mark.parametrize("name", detector_names())
def test_detectors(name: str) -> None:
    simulator = Simulator(SimulateSettings(detector=name, hit_fraction=0, images=1, dead_pixels=10))
    image = simulator.image(0)[0]
    shapes = {
        "eiger2-16m": (4362, 4148, "u2", 65535),
        "jungfrau-1m": (1064, 1030, "i2", -32768),
        "jungfrau-4m": (2164, 2068, "i2", -32768),
        "pilatus-6m": (2527, 2463, "i4", -1),
        "test-256k": (524, 514, "i2", -32768),
    }
    assert (*image.shape, image.dtype) == shapes[name][:3]
    mask = simulator.instrument.detector.pixel_mask
    assert mask is not None
    np.testing.assert_array_equal(image == shapes[name][3], mask == 1)


def test_nxmx_reads_the_master(small: Simulated, small_settings: SimulateSettings) -> None:
    with h5py.File(small.master) as file:
        entry = nxmx.NXmx(file).entries[0]
        instrument = entry.instruments[0]
        detector, beam = instrument.detectors[0], instrument.beams[0]
        assert entry.definition == "NXmx"
        assert entry.end_time_estimated > entry.start_time
        assert beam.incident_wavelength.to("angstrom").magnitude == pytest.approx(small_settings.wavelength)
        assert detector.sensor_material == "Si"
        assert detector.saturation_value == 32766
        chain = nxmx.get_dependency_chain(detector.modules[0].fast_pixel_direction)
        assert [axis.transformation_type for axis in chain] == ["translation"] * 3
        # nxmx converts to millimetres.
        place = nxmx.get_cumulative_transformation(chain[1:])[0, :3, 3]
        np.testing.assert_allclose(place, [19.275, 17.4, 50.0], rtol=1e-12)
        assert entry.samples[0].name == "small"


def test_modules_as_panels(tmp_path: Path) -> None:
    made = simulate(tmp_path, SimulateSettings(images=1, detector="test-256k", modules=True))
    with h5py.File(made.master) as file:
        modules = nxmx.NXmx(file).entries[0].instruments[0].detectors[0].modules
        assert [module.data_origin.tolist() for module in modules] == [[0, 0], [268, 0]]
        assert [module.data_size.tolist() for module in modules] == [[256, 514]] * 2
        chain = nxmx.get_dependency_chain(modules[1].slow_pixel_direction)
        place = nxmx.get_cumulative_transformation(chain[1:])[0, :3, 3]
        np.testing.assert_allclose(place, [19.275, 17.4 - 268 * 0.075, 50.0], rtol=1e-12)


def test_master_says_that_it_is_simulated_and_links_the_mask(small: Simulated) -> None:
    with h5py.File(small.master) as file:
        assert "simulated" in file["/entry/title"].asstr()[()]
        assert "no measured data" in file["/entry/simulation/description"].asstr()[()]
        detector = file["/entry/instrument/detector"]
        assert detector["pixel_mask"] == detector["detectorSpecific/pixel_mask"]
        assert detector["detectorSpecific/nimages"][()] == 24
        np.testing.assert_allclose(file["/entry/sample/unit_cell"][0], [79, 79, 38, 90, 90, 90])


def test_pump_pattern_in_files_and_truth(small: Simulated) -> None:
    wanted = (["dark"] + ["light"] * 3) * 6
    assert pq.read_table(small.truth)["pump"].to_pylist() == wanted
    with h5py.File(small.master) as file:
        names = file["/entry/xfel/pump_states"].asstr()[()]
        assert [names[code] for code in file["/entry/xfel/eventCode"]] == wanted
    with h5py.File(small.data_files[1]) as file:
        assert [names[code] for code in file["/entry/xfel/eventCode"]] == wanted[10:20]


def test_progress_counts_every_image(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    simulate(tmp_path, SimulateSettings(images=3, detector="test-256k"), progress=lambda k, n: seen.append((k, n)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_existing_files_stay_unless_overwritten(tmp_path: Path) -> None:
    settings = SimulateSettings(images=1, detector="test-256k")
    made = simulate(tmp_path, settings)
    before = made.master.read_bytes()
    with pytest.raises(OutputError, match="exists"):
        simulate(tmp_path, settings)
    assert made.master.read_bytes() == before
    simulate(tmp_path, settings.model_copy(update={"overwrite": True, "seed": 5}))
    assert made.master.read_bytes() != before


def test_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int, images: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path / "new" / "out", SimulateSettings(images=3, detector="test-256k"), progress=stop)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path / "mine", SimulateSettings(images=3, detector="test-256k"), progress=stop)
    assert list(tmp_path.rglob("*")) == [tmp_path / "mine"]


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("style", ["vds", "single"])
def test_overwriting_leaves_no_data_file_of_the_old_run(style: str, tmp_path: Path) -> None:
    many = SimulateSettings(images=6, images_per_file=2, detector="test-256k", overwrite=True)
    simulate(tmp_path, many)
    simulate(tmp_path, many.model_copy(update={"name": "simulated_data"}))
    measured = tmp_path / "simulated_data_000009.h5"
    with h5py.File(measured, "w") as file:
        file.create_group("entry")
    made = simulate(tmp_path, many.model_copy(update={"images": 2, "style": style}))
    assert sorted(path.name for path in tmp_path.glob("simulated_data_0*.h5")) == sorted(
        path.name for path in (*made.data_files, measured)
    )
    assert len(list(tmp_path.glob("simulated_data_data_*.h5"))) == 3
    assert len(_read(made)) == 2


def test_overwriting_that_fails_leaves_the_old_run(tmp_path: Path) -> None:
    settings = SimulateSettings(images=4, images_per_file=2, detector="test-256k", overwrite=True)
    made = simulate(tmp_path, settings)
    # The master is renamed last, and a folder is in its way.
    made.master.unlink()
    made.master.mkdir()
    before = _contents(tmp_path)
    with pytest.raises(OutputError, match="cannot write"):
        simulate(tmp_path, settings.model_copy(update={"images": 2, "seed": 8}))
    assert _contents(tmp_path) == before
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == [made.master]


def test_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    with pytest.raises(OutputError, match="cannot write"):
        simulate(tmp_path / "file", SimulateSettings(images=1, detector="test-256k"))
