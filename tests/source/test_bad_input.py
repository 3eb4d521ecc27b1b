"""Bad input ends in one line that says what, where, and what to do."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from hitsieve.errors import HitsieveError, MetadataError, SourceError
from hitsieve.settings import SourceSettings
from hitsieve.source import open_run

from .builders import SHAPE, counts, data_file, link_master, nxmx, vds_master


def refused(*paths: Path, **settings: object) -> HitsieveError:
    """The error of an input, checked to be one line with a mend."""
    with pytest.raises(SourceError) as caught:
        open_run(list(paths), SourceSettings(**settings))
    assert "\n" not in str(caught.value)
    assert caught.value.mend
    return caught.value


def test_absent(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "a.h5").what


def test_no_path() -> None:
    assert "no input file" in refused().what


def test_folder(tmp_path: Path) -> None:
    assert "is a folder" in refused(tmp_path).what


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path) -> None:
    path = data_file(tmp_path / "a.h5", counts(0, 1))
    path.chmod(0)
    assert "no permission" in refused(path).what


@pytest.mark.parametrize("name", ["a.h5", "a.cbf", "a.txt", "a.nxs"])
def test_neither_hdf5_nor_image(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("good morning\n" * 100)
    error = refused(path)
    assert str(path) in error.what
    assert "is not" in error.what


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    path.touch()
    assert "is empty" in refused(path).what


def test_truncated_only_file(tmp_path: Path) -> None:
    path = data_file(tmp_path / "a.h5", counts(0, 4))
    path.write_bytes(path.read_bytes()[:-10])
    assert "truncated" in refused(path).what


def test_damaged_superblock(tmp_path: Path) -> None:
    path = data_file(tmp_path / "a.h5", counts(0, 4))
    path.write_bytes(path.read_bytes()[:8] + b"\xff" * 3000)
    assert "damaged" in refused(path).what


def test_file_being_written(tmp_path: Path) -> None:
    path = data_file(tmp_path / "a_data_000001.h5.1699.tmp", counts(0, 4))
    assert "still being written" in refused(path).what


def test_no_images(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["entry/sample/name"] = "lysozyme"
    assert "holds no images" in refused(path).what
    with h5py.File(path, "w") as file:
        file.create_dataset("entry/data/data", shape=(0, *SHAPE), maxshape=(None, *SHAPE), dtype="u2")
    assert "holds no images" in refused(path).what


def test_several_stacks_without_an_entry(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["one"], file["two"] = counts(0, 2), counts(0, 2)
    assert "2 stacks" in refused(path).what


def test_floats_are_refused(tmp_path: Path) -> None:
    path = data_file(tmp_path / "a.h5", counts(0, 2, "float32"))
    assert "integer counts are needed" in refused(path).what


def test_four_dimensions_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["entry/data/data"] = np.zeros((2, 3, 4, 5), np.uint16)
    assert "(2, 3, 4, 5)" in refused(path).what


def test_all_data_files_missing(tmp_path: Path) -> None:
    assert "none of its 2 data files" in refused(link_master(tmp_path / "m.h5", ["a.h5", "b.h5"])).what
    layout = h5py.VirtualLayout((4, *SHAPE), "u2")
    layout[:] = h5py.VirtualSource("gone.h5", "entry/data/data", (4, *SHAPE))
    assert "gone.h5" in refused(vds_master(tmp_path / "v.h5", layout)).what


def test_different_shape_or_type_names_both(tmp_path: Path) -> None:
    a = data_file(tmp_path / "a.h5", counts(0, 2))
    b = data_file(tmp_path / "b.h5", counts(0, 2, shape=(5, 8)))
    c = data_file(tmp_path / "c.h5", counts(0, 2, "uint32"))
    for other, words in ((b, ("5 x 8", "6 x 8")), (c, ("uint32", "uint16"))):
        what = refused(a, other).what
        assert all(word in what for word in (*words, str(a), str(other)))


def test_virtual_dataset_of_another_type_than_its_source(tmp_path: Path) -> None:
    data_file(tmp_path / "a.h5", counts(0, 2))
    layout = h5py.VirtualLayout((2, *SHAPE), "u4")
    layout[:] = h5py.VirtualSource("a.h5", "entry/data/data", (2, *SHAPE))
    assert "uint16" in refused(vds_master(tmp_path / "v.h5", layout)).what


def test_hdf5_and_other_files_together(tmp_path: Path) -> None:
    a = data_file(tmp_path / "a.h5", counts(0, 2))
    b = tmp_path / "b.cbf"
    b.write_text("x" * 2000)
    assert str(b) in refused(a, b).what


def test_mask_of_the_wrong_shape(tmp_path: Path) -> None:
    path = nxmx(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        del file["entry/instrument/detector/pixel_mask"]
        file["entry/instrument/detector/pixel_mask"] = np.zeros((3, 3), np.uint32)
    error = refused(path)
    assert isinstance(error, MetadataError)
    assert all(word in error.what for word in (str(path), "(3, 3)", "(6, 8)"))


def test_bad_mask_setting(tmp_path: Path) -> None:
    path = nxmx(tmp_path / "a.h5")
    np.save(tmp_path / "small.npy", np.zeros((2, 2), np.uint8))
    np.save(tmp_path / "float.npy", np.zeros(SHAPE))
    (tmp_path / "text.npy").write_text("no")
    assert "(2, 2)" in refused(path, mask=tmp_path / "small.npy").what
    assert "float64" in refused(path, mask=tmp_path / "float.npy").what
    assert "not a NumPy file" in refused(path, mask=tmp_path / "text.npy").what
    assert "no such file" in refused(path, mask=tmp_path / "gone.npy").what
    assert "no dataset /entry/x" in refused(path, mask=Path(f"{path}:/entry/x")).what


def test_reading_past_the_end(tmp_path: Path) -> None:
    with open_run([nxmx(tmp_path / "a.h5")]) as opened, pytest.raises(SourceError, match="has no image 3"):
        opened.pixels(3)


def test_corrupt_chunk_is_named(tmp_path: Path) -> None:
    path = data_file(tmp_path / "a.h5", counts(0, 3))
    with open_run([path]) as opened:
        offset, size = int(opened.run.images.offset[1]), int(opened.run.images.size[1])
    raw = bytearray(path.read_bytes())
    raw[offset + 8 : offset + size] = b"\xff" * (size - 8)
    path.write_bytes(raw)
    with open_run([path]) as opened, pytest.raises(SourceError, match="image 1"):
        opened.pixels(1)


def test_inputs_are_never_written(tmp_path: Path) -> None:
    path = nxmx(tmp_path / "a.h5")
    before = path.read_bytes(), path.stat().st_mtime_ns
    with open_run([path], SourceSettings(set=("distance=0.2",))) as opened:
        opened.pixels(0)
        opened.stored(1)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
