"""Images, the files behind them, and what must agree with them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest

from hitsieve.check import examine
from hitsieve.testing import Simulated

from .damage import DATA, DETECTOR, Found, found, replaced

STYLES = ("vds", "vds-strided", "external", "single")
# The masters of this style show no images in the detector: there are several data sets, and one link.
EXTERNAL: Found = {("warning", f"{DETECTOR[1:]}/data", f"{DETECTOR}/data")}


@pytest.fixture
def run(masters: dict[str, Simulated], tmp_path: Path) -> Callable[[str], Path]:
    """Copy a run of a style, to do damage to it; gives the master."""

    def copied(style: str) -> Path:
        source = masters[style].master
        shutil.copytree(source.parent, tmp_path / style)
        return tmp_path / style / source.name

    return copied


def data_file(master: Path, number: int = 2) -> Path:
    return master.with_name(f"run_data_{number:06d}.h5")


@pytest.mark.parametrize("style", STYLES)
def test_simulated_runs_are_good(style: str, masters: dict[str, Simulated]) -> None:
    assert found(masters[style].master) == (EXTERNAL if style == "external" else set())


@pytest.mark.parametrize("style", ["vds", "vds-strided", "external"])
def test_a_data_file_that_is_gone_is_told(style: str, run: Callable[[str], Path]) -> None:
    master = run(style)
    data_file(master).unlink()
    place, rule = ("/entry/data/data_000002", "images") if style == "external" else (DATA, "sources")
    assert ("error", rule, place) in found(master)
    assert any(
        "run_data_000002.h5" in finding.what and "not there" in finding.what for finding in examine(master).findings
    )


@pytest.mark.parametrize("style", ["vds", "external"])
def test_a_data_file_that_is_no_hdf5_is_told(style: str, run: Callable[[str], Path]) -> None:
    master = run(style)
    data_file(master).write_bytes(b"no images")
    place, rule = ("/entry/data/data_000002", "images") if style == "external" else (DATA, "sources")
    assert ("error", rule, place) in found(master)


def test_a_pipe_in_place_of_a_data_file_does_not_stop_the_check(run: Callable[[str], Path]) -> None:
    for style in ("vds", "external"):
        master = run(style)
        data_file(master).unlink()
        os.mkfifo(data_file(master))
        assert any("no regular file" in finding.what for finding in examine(master).findings)


def test_a_source_with_fewer_images_is_told(run: Callable[[str], Path]) -> None:
    master = run("vds")
    with h5py.File(data_file(master), "r+") as file:
        images = file[DATA][:1]
        del file[DATA]
        file.create_dataset(DATA, data=images, chunks=images.shape, compression=hdf5plugin.Bitshuffle())
    assert ("error", "sources", DATA) in found(master)


def test_images_of_another_shape_or_type_are_told(run: Callable[[str], Path]) -> None:
    master = run("external")
    with h5py.File(data_file(master), "r+") as file:
        images = file[DATA][()]
        del file[DATA]
        file[DATA] = images[:, :100]
    with h5py.File(data_file(master, 3), "r+") as file:
        images = file[DATA][()]
        del file[DATA]
        file[DATA] = images.astype(np.float64)
    assert found(master) == EXTERNAL | {
        ("error", "images", "/entry/data/data_000002"),
        ("error", "images", "/entry/data/data_000003"),
    }


COMPRESSIONS = {
    "bslz4": hdf5plugin.Bitshuffle(),
    "bszstd": hdf5plugin.Bitshuffle(cname="zstd"),
    "lz4": hdf5plugin.LZ4(),
    "gzip": {"compression": "gzip"},
    "zstd": hdf5plugin.Zstd(),
}


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_damaged_image_is_told(compression: str, mine: Path) -> None:
    with h5py.File(mine, "r+") as file:
        images = file[DATA][()]
        del file[DATA]
        made = file.create_dataset(DATA, data=images, chunks=(1, *images.shape[1:]), **COMPRESSIONS[compression])
    assert found(mine) == set()
    with h5py.File(mine, "r+") as file:
        made = file[DATA]
        place = made.id.get_chunk_info(5)
    with mine.open("r+b") as raw:
        raw.seek(place.byte_offset)
        raw.write(b"\xff" * min(200, place.size))
    if compression == "zstd":
        # HDF5's own plug-in reads it: it says no too.
        assert ("error", "images", DATA) in found(mine)
        return
    (finding,) = examine(mine).findings
    assert (finding.rule, finding.place) == ("images", DATA)
    assert finding.what.startswith("image 5 cannot be read")


def test_images_that_were_never_written_are_counted(mine: Path) -> None:
    with h5py.File(mine, "r+") as file:
        images = file[DATA]
        shape, dtype = images.shape, images.dtype
        del file[DATA]
        made = file.create_dataset(DATA, shape, dtype, chunks=(1, *shape[1:]), compression="gzip")
        made[2] = 1
    (finding,) = examine(mine).findings
    assert (finding.rule, finding.what) == ("written", "5 of 6 images were never written")


def test_images_without_a_source_are_counted(run: Callable[[str], Path]) -> None:
    master = run("vds")
    with h5py.File(master, "r+") as file:
        shape, dtype = file[DATA].shape, file[DATA].dtype
        del file[DATA]
        layout = h5py.VirtualLayout(shape, dtype)
        layout[:2] = h5py.VirtualSource("run_data_000001.h5", DATA, (2, *shape[1:]))
        file.create_virtual_dataset(DATA, layout)
    (finding,) = examine(master).findings
    assert (finding.rule, finding.what) == ("written", "4 of 6 images have no source")


def test_no_images_and_no_axis_of_images(mine: Path) -> None:
    with h5py.File(mine, "r+") as file:
        shape = file[DATA].shape
        replaced(file, DATA, np.zeros((0, *shape[1:]), np.int32))
    assert found(mine) >= {("warning", "written", DATA)}
    with h5py.File(mine, "r+") as file:
        replaced(file, DATA, np.zeros(shape[1:], np.int32))
    assert ("warning", "images", DATA) in found(mine)
    with h5py.File(mine, "r+") as file:
        replaced(file, DATA, np.zeros(3, np.int32))
    assert ("error", "images", DATA) in found(mine)


def test_a_virtual_data_set_that_shows_itself(mine: Path) -> None:
    with h5py.File(mine, "r+") as file:
        shape, dtype = file[DATA].shape, file[DATA].dtype
        del file[DATA]
        layout = h5py.VirtualLayout(shape, dtype)
        layout[:] = h5py.VirtualSource(".", DATA, shape)
        file.create_virtual_dataset(DATA, layout)
    assert ("error", "sources", DATA) in found(mine)


def test_mask_and_flat_field_have_the_shape_of_the_images(mine: Path) -> None:
    with h5py.File(mine, "r+") as file:
        n, height, width = file[DATA].shape
        replaced(file, f"{DETECTOR}/pixel_mask", np.zeros((height, width - 1), np.uint32))
        file[f"{DETECTOR}/flatfield"] = np.ones((n, height, width), np.float32)
    assert found(mine) == {("error", "shape", f"{DETECTOR}/pixel_mask")}


MODULES = {
    "beyond": ([1, 0], None, {("error", "shape", f"{DETECTOR}/module/data_size")}),
    "smaller": ([0, 0], [100, 100], {("warning", "cover", f"{DETECTOR}/module/data_size")}),
    "negative": ([-1, 0], None, {("error", "shape", f"{DETECTOR}/module/data_size")}),
    "nothing": ([0, 0], [0, 10], {("error", "shape", f"{DETECTOR}/module/data_size")}),
    "of three": ([0, 0], [1, 100, 100], {("error", "shape", f"{DETECTOR}/module/data_size")}),
}


@pytest.mark.parametrize("case", MODULES)
def test_modules_are_parts_of_the_image(case: str, mine: Path) -> None:
    origin, size, expected = MODULES[case]
    with h5py.File(mine, "r+") as file:
        replaced(file, f"{DETECTOR}/module/data_origin", np.array(origin))
        if size is not None:
            replaced(file, f"{DETECTOR}/module/data_size", np.array(size))
    assert found(mine) == expected


def test_counts_and_rows_agree_with_the_images(mine: Path) -> None:
    with h5py.File(mine, "r+") as file:
        replaced(file, f"{DETECTOR}/detectorSpecific/nimages", 7)
        replaced(file, f"{DETECTOR}/detectorSpecific/x_pixels_in_detector", 7)
        replaced(file, "entry/instrument/beam/incident_wavelength", np.ones(5))
        replaced(file, f"{DETECTOR}/x_pixel_size", 1.0)
    assert found(mine) == {
        ("warning", "count", f"{DETECTOR}/detectorSpecific/nimages"),
        ("error", "shape", f"{DETECTOR}/detectorSpecific/x_pixels_in_detector"),
        ("warning", "count", "/entry/instrument/beam/incident_wavelength"),
        ("warning", "pixel-size", f"{DETECTOR}/x_pixel_size"),
    }


def test_a_spectrum_is_no_row_an_image(mine: Path) -> None:
    with h5py.File(mine, "r+") as file:
        replaced(file, "entry/instrument/beam/incident_wavelength", np.linspace(0.9, 1.1, 20))
        file["entry/instrument/beam/incident_wavelength_weights"] = np.ones(20)
    assert found(mine) == set()
