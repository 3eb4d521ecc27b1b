"""On measured images the compiled finder is exactly the reference."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401  (registers the filters)
import numpy as np
import numpy.typing as npt
import pytest

from hitsieve.testing.lists import IMAGE_FILES

from . import reference
from .cases import Case, assert_agree, assert_same, columns, finder
from .reference import Params

DETECTOR = "/entry/instrument/detector/"
PANEL_ROWS = {"lcls_cxi_thermolysin_cspad": 185}


def bins_of(file: h5py.File, shape: tuple[int, int], name: str) -> npt.NDArray[np.uint16]:
    """Rings about the stated beam centre; tiles where there is none."""
    slow, fast = np.indices(shape)
    if DETECTOR + "beam_center_x" in file:
        x, y = (float(file[DETECTOR + "beam_center_" + axis][()]) for axis in "xy")
        radius: npt.NDArray[np.float64] = np.hypot(slow + 0.5 - y, fast + 0.5 - x)
        return (radius / 4).astype(np.uint16)
    tile = PANEL_ROWS.get(name, 128)
    tiles: npt.NDArray[np.int64] = slow // tile * (-(-shape[1] // tile)) + fast // tile
    return tiles.astype(np.uint16)


def load(data_dir: Path, name: str, image: int) -> tuple[Case, bytes]:
    """An image, how to search it, and its stored form."""
    with h5py.File(data_dir / "images" / f"{name}.h5", "r") as file:
        data = file["raw"] if "raw" in file else file["/entry/data/data"]
        shape = data.shape[1:]
        bins = bins_of(file, shape, name)
        mask = DETECTOR + "pixel_mask"
        n_bins = int(bins.max()) + 1
        limits = {
            key: int(file[DETECTOR + key + "_value"][()]) if DETECTOR + key + "_value" in file else default
            for key, default in (("saturation", None), ("underload", 0))
        }
        panels = None
        if name in PANEL_ROWS:
            panels = np.broadcast_to((np.arange(shape[0]) // PANEL_ROWS[name])[:, None], shape).astype(np.uint16)
        params = Params(
            bins=bins,
            valid=file[mask][()] == 0 if mask in file else np.ones(shape, dtype=np.bool_),
            background_bins=(np.arange(n_bins) > n_bins // 4) & (np.arange(n_bins) < n_bins // 2),
            panels=panels,
            saturation=limits["saturation"],
            underload=limits["underload"] or 0,
        )
        return Case(data[image], params), data.id.read_direct_chunk((image, 0, 0))[1]


@pytest.mark.parametrize("name", IMAGE_FILES)
def test_first_image(name: str, data_dir: Path) -> None:
    case, stored = load(data_dir, name, 0)
    search = finder(case.image.dtype, case.params)
    np.testing.assert_array_equal(search.sample, reference.sample_units(case.params.valid, case.params.bins))
    got = search.find_stored(stored, "bslz4")
    assert_agree(got, case.image, case.params)
    assert_same(columns(got), columns(search.find(case.image)))


@pytest.mark.parametrize("name", IMAGE_FILES)
def test_first_image_by_dispersion(name: str, data_dir: Path) -> None:
    case, stored = load(data_dir, name, 0)
    params = replace(case.params, algorithm="dispersion", min_pixels=3)
    assert_agree(finder(case.image.dtype, params).find_stored(stored, "bslz4"), case.image, params)


@pytest.mark.long
@pytest.mark.parametrize("algorithm", ["radial", "dispersion"])
@pytest.mark.parametrize("name", IMAGE_FILES)
def test_every_image(name: str, algorithm: str, data_dir: Path) -> None:
    with h5py.File(data_dir / "images" / f"{name}.h5", "r") as file:
        n = len(file["raw"] if "raw" in file else file["/entry/data/data"])
    for image in range(1, n):
        case, stored = load(data_dir, name, image)
        params = replace(case.params, algorithm=algorithm)
        assert_agree(finder(case.image.dtype, params).find_stored(stored, "bslz4"), case.image, params)


def test_images_with_spots_have_spots(data_dir: Path) -> None:
    case, stored = load(data_dir, "i24_thaumatin_pilatus3_6m", 0)
    assert finder("int32", case.params).find_stored(stored, "bslz4").n_spots[0] >= 10
    case, stored = load(data_dir, "dls_i19_pilatus_300k_blank", 0)
    assert finder("int32", case.params).find_stored(stored, "bslz4").n_spots[0] < 3


DIGEST = """
import hashlib, sys
from pathlib import Path
import numpy as np
from hitsieve._core import cpu_features
from spots.cases import Case, columns, encode, finder
from spots.reference import Params
from spots.test_real import load

rng = np.random.default_rng(8)
shape = (311, 257)
cases = []
for dtype in ("uint8", "int8", "uint16", "int16", "uint32", "int32"):
    image = rng.poisson(1.7, shape)
    for y, x in rng.integers(3, 250, (40, 2)):
        image[y : y + 2, x : x + 3] += rng.integers(5, 50, (2, 3))
    params = Params(
        bins=(np.hypot(*np.indices(shape)) / 30).astype(np.uint16),
        valid=rng.random(shape) > 0.03,
        background_bins=np.ones(20, dtype=np.bool_),
        saturation=49,
    )
    image = image.astype(dtype)
    cases += [(Case(image, params), encode(image, e), e) for e in ("bslz4", "bszstd", "lz4")]
if len(sys.argv) > 1:
    cases += [(*load(Path(sys.argv[1]), name, 0), "bslz4") for name in sys.argv[2:]]
digest, spots = hashlib.sha256(), 0
for case, stored, codec in cases:
    batch = finder(case.image.dtype, case.params).find_stored(stored, codec)
    spots += int(batch.n_spots.sum())
    for column in columns(batch).values():
        digest.update(column.tobytes())
print(cpu_features(), spots, digest.hexdigest())
"""


def digest(variant: str | None, *arguments: str) -> list[str]:
    """Run the finder in a process of its own with a variant of the kernels; which one ran, spots, digest of results."""
    env = {k: v for k, v in os.environ.items() if k != "HITSIEVE_CPU"}
    env["PYTHONPATH"] = str(Path(__file__).parent.parent)
    if variant is not None:
        env["HITSIEVE_CPU"] = variant
    done = subprocess.run(
        [sys.executable, "-c", DIGEST, *arguments], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("variant", ["portable", "avx2", "avx512"])
def test_variants_of_the_kernels_agree(variant: str, data_dir: Path) -> None:
    real = ("sls_jungfrau_module", "dls_thaumatin_eiger2_4mroi", "su_timepix_electron")
    usual = digest(None, str(data_dir), *real)
    forced = digest(variant, str(data_dir), *real)
    if forced[0] != variant:
        assert variant != "portable"
        pytest.skip(f"this machine has no {variant}; {forced[0]} ran")
    assert int(usual[1]) > 100
    assert forced[1:] == usual[1:]
