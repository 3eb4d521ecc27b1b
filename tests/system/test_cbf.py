"""CBF images give the same flags as the HDF5 file that holds them."""

from __future__ import annotations

import bz2
from pathlib import Path

import fabio
import h5py
import numpy as np
import pytest

from .conftest import Hitsieve
from .reading import Found, names, read

NAME = "i24_thaumatin_pilatus3_6m"
IMAGES = (0, 3, 9, 10)
"""A weak hit, a hit, a very weak hit and a blank."""
HEADER = """
# Detector: PILATUS3 6M, S/N 60-0119
# Pixel_size 172e-6 m x 172e-6 m
# Silicon sensor, thickness {thickness} m
# Count_cutoff {cutoff} counts
# Wavelength {wavelength} A
# Detector_distance {distance} m
# Beam_xy ({x}, {y}) pixels
"""


@pytest.fixture(scope="module")
def images(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Images of the HDF5 file as CBFs, the pixels of its mask negative as Pilatus writes them."""
    folder = tmp_path_factory.mktemp("cbf")
    with h5py.File(data_dir / "images" / f"{NAME}.h5") as file:
        detector = file["entry/instrument/detector"]
        header = HEADER.format(
            thickness=4.5e-4,
            cutoff=int(detector["saturation_value"][()]),
            wavelength=float(np.ravel(file["entry/instrument/beam/incident_wavelength"][()])[0]),
            distance=0.351,
            x=float(detector["beam_center_x"][()]),
            y=float(detector["beam_center_y"][()]),
        )
        mask = detector["pixel_mask"][()] != 0
        paths = []
        for image in IMAGES:
            counts = file["entry/data/data"][image].astype(np.int32)
            counts[mask & (counts >= 0)] = -2
            path = folder / f"thau_{image:04d}.cbf"
            header_of = {"_array_data.header_convention": "PILATUS_1.2", "_array_data.header_contents": header}
            fabio.cbfimage.CbfImage(data=counts, header=header_of).write(str(path))
            paths.append(path)
    return paths


@pytest.fixture(scope="module")
def both(
    data_dir: Path, images: list[Path], hitsieve: Hitsieve, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Found, Found]:
    out = tmp_path_factory.mktemp("out")
    for paths in ([data_dir / "images" / f"{NAME}.h5"], images):
        result = hitsieve("run", *paths, "-o", out, "--quiet")
        assert result.returncode == 0, result.stderr
    assert len(names(out)) == 8
    return read(out, NAME), read(out, "thau")


def test_same_flags(both: tuple[Found, Found], images: list[Path]) -> None:
    whole, some = both
    assert some.summary.source.style == "images"
    assert some.table["file"].to_pylist() == [str(path) for path in images]
    assert some.table["row"].to_pylist() == [0] * len(IMAGES)
    assert some.state == [whole.state[image] for image in IMAGES] == ["hit", "hit", "hit", "miss"]
    # The background is sampled where the mask lets it, so that a few spots at the threshold come and go.
    expected = whole.column("n_spots")[list(IMAGES)]
    assert some.column("n_spots") == pytest.approx(expected, rel=0.02, abs=1)


def test_same_spots_with_the_same_mask(
    both: tuple[Found, Found], images: list[Path], data_dir: Path, hitsieve: Hitsieve, tmp_path: Path
) -> None:
    whole, _ = both
    mask = f"{data_dir / 'images' / NAME}.h5:/entry/instrument/detector/pixel_mask"
    result = hitsieve("run", *images, "-o", tmp_path, "--mask", mask, "--quiet")
    assert result.returncode == 0, result.stderr
    some = read(tmp_path, "thau")
    for row, image in enumerate(IMAGES):
        for name in ("state", "n_spots", "n_spots_counted", "n_strong", "max_count", "background"):
            assert some.column(name)[row] == whole.column(name)[image], name
        assert np.array_equal(some.places(row), whole.places(image))
        np.testing.assert_allclose(some.spots_of(row, "resolution"), whole.spots_of(image, "resolution"), rtol=1e-6)


def test_hits_hold_the_pixels(both: tuple[Found, Found], images: list[Path], hitsieve: Hitsieve) -> None:
    _, some = both
    hits = some.images("hit")
    assert hits == [0, 1, 2]
    with h5py.File(some.hits) as file:
        assert not file["entry/hit_finding/verbatim"][()].any()
        for row, image in enumerate(hits):
            assert np.array_equal(file["entry/data/data"][row], fabio.open(str(images[image])).data)
    with h5py.File(some.annotated) as file:
        assert "cannot be linked" in file["entry/data"].attrs["data_absent"]
    assert hitsieve("verify", some.hits).returncode == 0


def test_packed_and_damaged_images(
    images: list[Path], both: tuple[Found, Found], hitsieve: Hitsieve, tmp_path: Path
) -> None:
    packed = tmp_path / "thau_0000.cbf.bz2"
    packed.write_bytes(bz2.compress(images[0].read_bytes(), 1))
    short = tmp_path / "thau_0009.cbf"
    short.write_bytes(images[2].read_bytes()[:200_000])
    out = tmp_path / "out"
    result = hitsieve("run", packed, images[1], short, "-o", out, "--quiet")
    assert result.returncode == 0, result.stderr
    found = read(out, "thau")
    assert found.state == ["hit", "hit", "unreadable"]
    assert str(short) in found.table["reason"][2].as_py()
    assert np.array_equal(found.places(0), both[1].places(0))
    assert np.array_equal(found.places(1), both[1].places(1))
