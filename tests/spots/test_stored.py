"""Stored images are searched as their unpacked form is; one by one, and by scan over files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitsieve._core import Batch, SpotFinder

from .cases import DTYPES, ENCODINGS, assert_agree, assert_same, cases, columns, encode, encode_all, finder
from .reference import Params
from .test_find import EXACT


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
@settings(EXACT, max_examples=25)
def test_any_stored_image(dtype: str, encoding: str, data: st.DataObject) -> None:
    case = data.draw(cases(dtype))
    search = finder(dtype, case.params)
    stored = search.find_stored(encode(case.image, encoding), ENCODINGS[encoding][0])
    assert stored.reasons == {}
    assert_same(columns(stored), columns(search.find(case.image)))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pixels", [1, 7, 8, 15, 63, 64, 65, 511, 2047, 2049, 4095, 4096, 4097, 8191, 12289, 20003])
def test_tails(pixels: int, dtype: str, encoding: str) -> None:
    rng = np.random.default_rng(pixels)
    image = rng.poisson(1.0, (1, pixels)).astype(dtype)
    image[0, pixels // 2 :: 1000] = 90
    image[0, -1] = 99
    p = Params(
        bins=np.zeros(image.shape, dtype=np.uint16),
        valid=np.ones(image.shape, dtype=np.bool_),
        background_bins=np.ones(1, dtype=np.bool_),
        min_pixels=1,
        saturation=99,
    )
    assert_agree(finder(dtype, p).find_stored(encode(image, encoding), ENCODINGS[encoding][0]), image, p)


SHAPE = (90, 101)
PARAMS = Params(
    bins=(np.hypot(*np.indices(SHAPE)) / 10).astype(np.uint16),
    valid=np.random.default_rng(1).random(SHAPE) > 0.03,
    background_bins=np.arange(20) < 9,
    saturation=95,
)


def series(n: int, dtype: str) -> npt.NDArray[Any]:
    """A few images, some with spots."""
    rng = np.random.default_rng(3)
    images = rng.poisson(0.8, (n, *SHAPE))
    for image in images[::3]:
        for y, x in rng.integers(2, 86, (12, 2)):
            image[y : y + 2, x : x + 3] += rng.integers(10, 40, (2, 3))
    return images.astype(dtype)


def write(path: Path, images: npt.NDArray[Any], compression: Any) -> tuple[list[int], list[int]]:
    """Write images one to a chunk; return offsets and sizes of the chunks."""
    with h5py.File(path, "w") as file:
        data = file.create_dataset("data", data=images, chunks=(1, *SHAPE), **compression)
        file.flush()
        infos = [data.id.get_chunk_info_by_coord((i, 0, 0)) for i in range(len(images))]
        return [i.byte_offset for i in infos], [i.size for i in infos]


def joined(batches: list[Batch]) -> dict[str, npt.NDArray[np.generic]]:
    """Columns of consecutive batches as one."""
    parts = [columns(b) for b in batches]
    whole = {name: np.concatenate([p[name] for p in parts]) for name in parts[0] if name != "offsets"}
    ends = np.cumsum(np.concatenate([np.diff(p["offsets"]) for p in parts]))
    return whole | {"offsets": np.append([0], ends).astype(np.int64)}


def table(
    n_files: int, offsets: list[int], sizes: list[int]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Columns file, offset and size."""
    each = len(offsets) // n_files
    return np.repeat(np.arange(n_files, dtype=np.int32), each), np.array(offsets), np.array(sizes)


@pytest.mark.parametrize("batch", [1, 7, 64])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_scan_is_find_stored_in_order(workers: int, batch: int, tmp_path: Path) -> None:
    images = series(100, "uint16")
    names = ("bslz4", "bszstd")
    offsets: list[int] = []
    sizes: list[int] = []
    for i, name in enumerate(names):
        o, s = write(tmp_path / f"{name}.h5", images[50 * i : 50 * i + 50], ENCODINGS[name][1]())
        offsets, sizes = offsets + o, sizes + s
    search = finder("uint16", PARAMS)
    paths = [str(tmp_path / f"{name}.h5") for name in names]
    batches = list(search.scan(paths, names, *table(2, offsets, sizes), workers, batch))
    assert all(b.reasons == {} for b in batches)
    want = joined([search.find(image) for image in images])
    assert int(want["n_spots"].sum()) > 100
    assert_same(joined(batches), want)


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_scan_gives_batches_of_the_size_asked_for(batch: int, tmp_path: Path) -> None:
    offsets, sizes = write(tmp_path / "a.h5", series(20, "uint16"), ENCODINGS["bslz4"][1]())
    batches = finder("uint16", PARAMS).scan([str(tmp_path / "a.h5")], ["bslz4"], *table(1, offsets, sizes), 2, batch)
    assert [len(b.n_spots) for b in batches] == [min(batch, 20 - i) for i in range(0, 20, batch)]


def test_scan_of_nothing(tmp_path: Path) -> None:
    none = np.empty(0, dtype=np.int64)
    assert list(finder("uint16", PARAMS).scan([], [], none.astype(np.int32), none, none, 2, 8)) == []


def test_scan_left_early_and_used_twice(tmp_path: Path) -> None:
    images = series(40, "int32")
    offsets, sizes = write(tmp_path / "a.h5", images, ENCODINGS["bslz4"][1]())
    search = finder("int32", PARAMS)
    arguments = ([str(tmp_path / "a.h5")], ["bslz4"], *table(1, offsets, sizes), 2, 4)
    first = search.scan(*arguments)
    assert_same(columns(next(iter(first))), joined([search.find(i) for i in images[:4]]))
    del first
    assert_same(joined(list(search.scan(*arguments))), joined([search.find(i) for i in images]))


def test_scan_gives_a_reason_for_what_cannot_be_read(tmp_path: Path) -> None:
    images = series(6, "uint16")
    path = tmp_path / "a.h5"
    offsets, sizes = write(path, images, ENCODINGS["bslz4"][1]())
    file, offset, size = table(1, offsets, sizes)
    end = path.stat().st_size
    file = np.append(file, [1, 0]).astype(np.int32)
    offset = np.append(offset, [0, end - 5])
    size = np.append(size, [100, 100])
    size[2] -= 3
    offset[4] += 1
    search = finder("uint16", PARAMS)
    arguments = ([str(path), str(tmp_path / "absent.h5")], ["bslz4", "bslz4"], file, offset, size)
    (got,) = search.scan(*arguments, 2, 20)
    assert sorted(got.reasons) == [2, 4, 6, 7]
    assert all(got.reasons.values())
    assert got.n_spots[[2, 4, 6, 7]].tolist() == [-1] * 4
    good = joined([search.find(images[i]) for i in (0, 1, 3, 5)])
    np.testing.assert_array_equal(got.n_spots[[0, 1, 3, 5]], good["n_spots"])
    np.testing.assert_array_equal(got.x, good["x"])
    reasons: dict[int, str] = {}
    done = 0
    for b in search.scan(*arguments, 1, 4):
        reasons |= {done + i: why for i, why in b.reasons.items()}
        done += len(b.n_spots)
    assert reasons == got.reasons


@pytest.mark.parametrize("workers", [1, 3])
def test_scan_passes_over_negative_file_numbers(workers: int, tmp_path: Path) -> None:
    images = series(20, "int16")
    file, offset, size = table(1, *write(tmp_path / "a.h5", images, ENCODINGS["bslz4"][1]()))
    file[3:9] = -1
    search = finder("int16", PARAMS)
    (got,) = search.scan([str(tmp_path / "a.h5")], ["bslz4"], file, offset, size, workers, 64)
    assert got.reasons == dict.fromkeys(range(3, 9), "")
    assert (got.n_spots == -1).tolist() == (file < 0).tolist()
    want = joined([search.find(image) for image in images[file == 0]])
    np.testing.assert_array_equal(got.n_spots[file == 0], want["n_spots"])
    np.testing.assert_array_equal(got.intensity, want["intensity"])


def test_scan_closed_early_ends(tmp_path: Path) -> None:
    images = series(40, "int16")
    arguments = table(1, *write(tmp_path / "a.h5", images, ENCODINGS["bslz4"][1]()))
    scan = finder("int16", PARAMS).scan([str(tmp_path / "a.h5")], ["bslz4"], *arguments, 2, 4)
    next(scan)
    scan.close()
    scan.close()


def test_finder_is_shared_between_threads() -> None:
    from concurrent.futures import ThreadPoolExecutor

    images = series(30, "uint16")
    search: SpotFinder = finder("uint16", PARAMS)
    stored = encode_all(images, ENCODINGS["bslz4"][1]())
    with ThreadPoolExecutor(3) as pool:
        got = list(pool.map(lambda s: search.find_stored(s, "bslz4"), stored))
    assert_same(joined(got), joined([search.find(i) for i in images]))
