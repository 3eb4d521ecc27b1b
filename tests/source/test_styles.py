"""Where the images are, in every style of master and of storage."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from hitsieve.errors import SourceError
from hitsieve.source import OpenedRun, open_run

from .builders import BSLZ4, BSZSTD, LZ4, SHAPE, counts, data_file, link_master, vds_master


def assert_images(opened: OpenedRun, expected: np.ndarray, direct: bool = True) -> None:
    """All images read equal, and each stored chunk is HDF5's own."""
    run = opened.run
    assert len(run) == len(expected)
    for i, image in enumerate(expected):
        if i in run.images.missing or i in run.images.unreadable:
            continue
        pixels = opened.pixels(i)
        assert pixels.dtype == run.dtype == expected.dtype.newbyteorder("=")
        np.testing.assert_array_equal(pixels, image)
        if direct:
            file = run.files[run.images.file[i]]
            with h5py.File(file.path) as f:
                row = int(run.images.row[i])
                _, stored = f[file.dataset].id.read_direct_chunk((row, 0, 0))
            assert opened.stored(i) == stored
        else:
            assert run.images.offset[i] == -1
            assert run.images.size[i] == 0
            with pytest.raises(SourceError, match="not stored as one chunk"):
                opened.stored(i)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32"])
@pytest.mark.parametrize(("codec", "options"), [("bslz4", BSLZ4), ("bszstd", BSZSTD), ("lz4", LZ4)])
def test_codecs_and_types_of_the_fast_path(tmp_path: Path, dtype: str, codec: str, options: dict) -> None:
    expected = counts(0, 4, dtype)
    with open_run([data_file(tmp_path / "a_master.h5", expected, **options)]) as opened:
        assert opened.run.files[0].codec == codec
        assert opened.run.style == "single"
        assert opened.run.stem == "a"
        assert_images(opened, expected)


@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        ("uint16", {"compression": "gzip", "compression_opts": 4}),
        ("uint16", {"compression": None}),
        ("uint16", {"chunks": None, "compression": None, "compression_opts": None}),
        ("uint16", {"chunks": (2, *SHAPE)}),
        ("uint16", {"chunks": (1, 3, 8)}),
        ("uint16", {"shuffle": True}),
        ("uint64", {}),
        ("int64", {}),
        (">u2", {}),
        (">i4", {"compression": "gzip", "compression_opts": 1}),
    ],
)
def test_slow_path(tmp_path: Path, dtype: str, options: dict) -> None:
    if options.get("compression", 0) is None:
        options = {**options, "compression_opts": None}
    expected = counts(0, 5, dtype)
    with open_run([data_file(tmp_path / "a.h5", expected, **options)]) as opened:
        assert opened.run.files[0].codec is None
        assert_images(opened, expected, direct=False)


def test_user_block_shifts_no_offset(tmp_path: Path) -> None:
    expected = counts(0, 3)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", userblock_size=1024) as file:
        file.create_dataset("entry/data/data", data=expected, chunks=(1, *SHAPE), **BSLZ4)
    with open_run([path]) as opened:
        assert (opened.run.images.offset > 1024).all()
        assert_images(opened, expected)


def test_two_dimensional_dataset_is_one_image(tmp_path: Path) -> None:
    image = counts(7, 1)[0]
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("entry/data/data", data=image, chunks=SHAPE, **BSLZ4)
    with open_run([path]) as opened:
        assert len(opened.run) == 1
        assert opened.run.files[0].codec == "bslz4"
        np.testing.assert_array_equal(opened.pixels(0), image)
        assert len(opened.stored(0)) == opened.run.images.size[0] > 0


@pytest.mark.parametrize("options", [BSLZ4, {"compression": "gzip"}])
def test_chunks_never_written_are_missing(tmp_path: Path, options: dict) -> None:
    expected = counts(0, 5)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset(
            "entry/data/data", shape=expected.shape, dtype="u2", chunks=(1, *SHAPE), **options
        )
        for i in (3, 0):
            dataset[i] = expected[i]
    with open_run([path]) as opened:
        assert set(opened.run.images.missing) == {1, 2, 4}
        assert "never written" in opened.run.images.missing[1]
        assert_images(opened, expected, direct=options is BSLZ4)
        with pytest.raises(SourceError, match="image 1 is missing"):
            opened.pixels(1)


def test_image_of_several_chunks_partly_written_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("entry/data/data", shape=(3, *SHAPE), dtype="u2", chunks=(1, 3, 8))
        dataset[0] = counts(0, 1)[0]
        dataset[1, :3] = 1
    with open_run([path]) as opened:
        assert set(opened.run.images.unreadable) == {1}
        assert set(opened.run.images.missing) == {2}


def test_chunk_with_skipped_filter_takes_the_slow_path(tmp_path: Path) -> None:
    expected = counts(0, 3)
    path = data_file(tmp_path / "a.h5", expected)
    with h5py.File(path, "r+") as file:
        file["entry/data/data"].id.write_direct_chunk((1, 0, 0), expected[1].tobytes(), filter_mask=1)
    with open_run([path]) as opened:
        assert (opened.run.images.offset >= 0).tolist() == [True, False, True]
        np.testing.assert_array_equal(opened.pixels(1), expected[1])


def sources(folder: Path, n_files: int, per_file: int, strided: bool) -> tuple[np.ndarray, list[Path]]:
    """Data files that hold contiguous blocks of a run, or every n-th image."""
    n = n_files * per_file
    expected = counts(0, n)
    rows = [slice(k, n, n_files) if strided else slice(k * per_file, (k + 1) * per_file) for k in range(n_files)]
    return expected, [data_file(folder / f"d_{k}.h5", expected[rows[k]]) for k in range(n_files)]


@pytest.mark.parametrize("strided", [False, True])
def test_virtual_dataset(tmp_path: Path, strided: bool) -> None:
    expected, paths = sources(tmp_path, 3, 4, strided)
    layout = h5py.VirtualLayout(expected.shape, "u2")
    for k, path in enumerate(paths):
        where = slice(k, None, 3) if strided else slice(4 * k, 4 * k + 4)
        layout[where] = h5py.VirtualSource(path.name, "entry/data/data", (4, *SHAPE))
    with open_run([vds_master(tmp_path / "run_master.h5", layout)]) as opened:
        assert opened.run.style == "vds"
        assert opened.run.stem == "run"
        assert not opened.run.images.missing
        assert opened.run.images.file.tolist() == ([0, 1, 2] * 4 if strided else [0] * 4 + [1] * 4 + [2] * 4)
        assert_images(opened, expected)


def test_virtual_dataset_of_one_image_a_source_in_any_order(tmp_path: Path) -> None:
    expected, paths = sources(tmp_path, 1, 5, strided=False)
    order = [3, 0, 4, 2]
    layout = h5py.VirtualLayout((4, *SHAPE), "u2")
    source = h5py.VirtualSource(paths[0].name, "entry/data/data", expected.shape)
    for i, row in enumerate(order):
        layout[i] = source[row]
    with open_run([vds_master(tmp_path / "run_master.h5", layout)]) as opened:
        assert opened.run.images.row.tolist() == order
        assert_images(opened, expected[order])


def test_virtual_dataset_with_holes_and_irregular_selection(tmp_path: Path) -> None:
    expected, paths = sources(tmp_path, 1, 6, strided=False)
    layout = h5py.VirtualLayout((8, *SHAPE), "u2")
    layout[1:4] = h5py.VirtualSource(paths[0].name, "entry/data/data", expected.shape)[[0, 2, 5]]
    with open_run([vds_master(tmp_path / "m.h5", layout)]) as opened:
        assert set(opened.run.images.missing) == {0, 4, 5, 6, 7}
        assert "no data file" in opened.run.images.missing[0]
        assert opened.run.images.row[1:4].tolist() == [0, 2, 5]
        np.testing.assert_array_equal(opened.pixels(2), expected[2])


def test_virtual_dataset_over_the_master_itself(tmp_path: Path) -> None:
    expected = counts(0, 4)
    layout = h5py.VirtualLayout(expected.shape, "u2")
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        raw = file.create_dataset("entry/raw", data=expected, chunks=(1, *SHAPE), **BSLZ4)
        layout[:] = h5py.VirtualSource(raw)
        file.create_virtual_dataset("entry/data/data", layout)
    with open_run([path]) as opened:
        assert opened.run.files[0].dataset == "/entry/raw"
        assert_images(opened, expected)


def test_virtual_dataset_of_virtual_datasets(tmp_path: Path) -> None:
    expected, paths = sources(tmp_path, 2, 3, strided=False)
    inner = h5py.VirtualLayout((3, *SHAPE), "u2")
    inner[:] = h5py.VirtualSource(paths[1].name, "entry/data/data", (3, *SHAPE))
    vds_master(tmp_path / "inner.h5", inner)
    outer = h5py.VirtualLayout((6, *SHAPE), "u2")
    outer[::2] = h5py.VirtualSource(paths[0].name, "entry/data/data", (3, *SHAPE))
    outer[1::2] = h5py.VirtualSource("inner.h5", "entry/data/data", (3, *SHAPE))
    with open_run([vds_master(tmp_path / "outer.h5", outer)]) as opened:
        assert_images(opened, expected[[0, 3, 1, 4, 2, 5]])


def test_virtual_images_of_two_halves_are_read_by_hdf5(tmp_path: Path) -> None:
    expected = counts(0, 3)
    halves = [data_file(tmp_path / f"half_{k}.h5", expected[:, 3 * k : 3 * k + 3]) for k in range(2)]
    layout = h5py.VirtualLayout(expected.shape, "u2")
    for k, path in enumerate(halves):
        layout[:, 3 * k : 3 * k + 3] = h5py.VirtualSource(path.name, "entry/data/data", (3, 3, 8))
    master = vds_master(tmp_path / "m.h5", layout)
    with open_run([master]) as opened:
        assert opened.run.files[0].codec is None
        assert_images(opened, expected, direct=False)
    halves[1].unlink()
    with open_run([master]) as opened:
        assert set(opened.run.images.missing) == {0, 1, 2}


def test_virtual_dataset_with_a_missing_and_a_truncated_file(tmp_path: Path) -> None:
    expected, paths = sources(tmp_path, 4, 3, strided=True)
    layout = h5py.VirtualLayout(expected.shape, "u2")
    for k, path in enumerate(paths):
        layout[k::4] = h5py.VirtualSource(path.name, "entry/data/data", (3, *SHAPE))
    master = vds_master(tmp_path / "m.h5", layout)
    paths[1].unlink()
    paths[2].write_bytes(paths[2].read_bytes()[:-100])
    with open_run([master]) as opened:
        run = opened.run
        assert set(run.images.missing) == {1, 5, 9}
        assert set(run.images.unreadable) == {2, 6, 10}
        assert "d_1.h5" in run.images.missing[5]
        assert "truncated" in run.images.unreadable[6]
        assert run.files[run.images.file[5]].path.name == "d_1.h5"
        assert any("d_1.h5" in str(p) for p in run.problems)
        assert any("d_2.h5" in str(p) and "truncated" in str(p) for p in run.problems)
        assert_images(opened, expected)
    for path in paths:
        path.unlink(missing_ok=True)


def test_source_shorter_than_the_master_says(tmp_path: Path) -> None:
    expected, paths = sources(tmp_path, 1, 3, strided=False)
    layout = h5py.VirtualLayout((5, *SHAPE), "u2")
    layout[:] = h5py.VirtualSource(paths[0].name, "entry/data/data", (5, *SHAPE))
    with open_run([vds_master(tmp_path / "m.h5", layout)]) as opened:
        assert set(opened.run.images.missing) == {3, 4}
        assert "only 3 images" in opened.run.images.missing[3]
        assert_images(opened, np.concatenate([expected, expected[:2]]))


def linked(
    folder: Path, sizes: list[int], announced: tuple[int, int] | None = None
) -> tuple[np.ndarray, list[Path], Path]:
    """A DECTRIS-style run."""
    expected = counts(0, sum(sizes))
    ends = np.cumsum([0, *sizes])
    paths = [data_file(folder / f"run_data_{k + 1:06d}.h5", expected[ends[k] : ends[k + 1]]) for k in range(len(sizes))]
    return expected, paths, link_master(folder / "run_master.h5", [p.name for p in paths], announced)


def test_external_links(tmp_path: Path) -> None:
    expected, paths, master = linked(tmp_path, [4, 4, 2], (10, 1))
    with open_run([master]) as opened:
        assert opened.run.style == "external"
        assert opened.run.stem == "run"
        assert [f.path for f in opened.run.files] == paths
        assert not [p for p in opened.run.problems if "announces" in p.what]
        assert_images(opened, expected)


def test_more_than_nine_links_are_in_numeric_order(tmp_path: Path) -> None:
    expected = counts(0, 11)
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        for k in range(11):
            data_file(tmp_path / f"d{k}.h5", expected[k : k + 1])
            file[f"entry/data/data_{k + 1}"] = h5py.ExternalLink(f"d{k}.h5", "/entry/data/data")
    with open_run([path]) as opened:
        assert_images(opened, expected)


@pytest.mark.parametrize(
    ("lost", "announced", "missing"),
    [
        (0, None, {0, 1, 2, 3}),
        (1, (5, 2), {4, 5, 6, 7}),
        (2, (10, 1), {8, 9}),
        (2, None, set()),
    ],
)
def test_missing_linked_file(tmp_path: Path, lost: int, announced: tuple[int, int] | None, missing: set[int]) -> None:
    expected, paths, master = linked(tmp_path, [4, 4, 2], announced)
    paths[lost].unlink()
    with open_run([master]) as opened:
        assert set(opened.run.images.missing) == missing
        problem = next(str(p) for p in opened.run.problems if paths[lost].name in str(p))
        assert ("not counted" in problem) == (not missing)
        assert_images(opened, expected if missing else expected[:8])


def test_truncated_linked_file(tmp_path: Path) -> None:
    expected, paths, master = linked(tmp_path, [4, 4, 2], (10, 1))
    paths[2].write_bytes(paths[2].read_bytes()[:-50])
    with open_run([master]) as opened:
        assert set(opened.run.images.unreadable) == {8, 9}
        assert "truncated" in opened.run.images.unreadable[8]
        assert_images(opened, expected)


def test_announced_images_that_are_not_there_are_a_problem(tmp_path: Path) -> None:
    _, _, master = linked(tmp_path, [4, 4, 2], (6, 2))
    with open_run([master]) as opened:
        assert len(opened.run) == 10
        assert any("announces 12 images" in p.what and "10 of 10" in p.what for p in opened.run.problems)


def test_moved_run_is_found_beside_its_master(tmp_path: Path) -> None:
    expected, paths, _ = linked(tmp_path, [3, 3])
    master = link_master(tmp_path / "b_master.h5", [f"/nowhere/else/{p.name}" for p in paths])
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "b_master.h5"
    link.symlink_to(master)
    for path in (master, link):
        with open_run([path]) as opened:
            assert_images(opened, expected)


def test_numbered_datasets_in_one_file(tmp_path: Path) -> None:
    expected = counts(0, 5)
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        for k, rows in enumerate((slice(0, 3), slice(3, 5)), start=1):
            file.create_dataset(f"entry/data/data_{k:06d}", data=expected[rows], chunks=(1, *SHAPE), **BSLZ4)
    with open_run([path]) as opened:
        assert opened.run.style == "single"
        assert_images(opened, expected)


def test_data_files_are_joined_in_the_order_given(tmp_path: Path) -> None:
    expected, paths, _ = linked(tmp_path, [4, 4, 2])
    with open_run([paths[1], paths[0]]) as opened:
        assert opened.run.style == "files"
        assert opened.run.stem == "run"
        assert opened.run.path == paths[1]
        assert_images(opened, expected[[4, 5, 6, 7, 0, 1, 2, 3]])


def test_truncated_file_among_data_files(tmp_path: Path) -> None:
    expected, paths, _ = linked(tmp_path, [4, 4, 2])
    paths[1].write_bytes(paths[1].read_bytes()[:-50])
    with open_run(paths) as opened:
        assert set(opened.run.images.unreadable) == {4, 5, 6, 7}
        assert_images(opened, expected)


def test_only_stack_of_a_foreign_file_is_taken_and_told(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["somewhere/images"] = counts(0, 2)
        file["somewhere/pedestal"] = np.ones(SHAPE)
    with open_run([path]) as opened:
        assert len(opened.run) == 2
        assert any("is not NXmx" in p.what for p in opened.run.problems)


def test_many_files_open_and_close_within_the_limit(tmp_path: Path) -> None:
    expected = counts(0, 70)
    paths = [data_file(tmp_path / f"d_{k:03d}.h5", expected[k : k + 1]) for k in range(70)]
    with open_run(paths) as opened:
        for _ in range(2):
            assert_images(opened, expected)
