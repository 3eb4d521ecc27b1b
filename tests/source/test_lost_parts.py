"""Runs of which a part is lost, short, damaged or being written go on, and name each lost image's true place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from hitsieve.errors import SourceError
from hitsieve.source import open_run

from .builders import SHAPE, counts, data_file, link_master, nxmx, vds_master

HOLD = "import h5py, sys; f = h5py.File(sys.argv[1], 'r+'); print('open', flush=True); sys.stdin.read()"


def mapped(master: Path, n: int, *maps: tuple[slice, str, slice, int]) -> Path:
    """A virtual dataset of n images: (images, file, rows, images that the file should hold) each."""
    layout = h5py.VirtualLayout((n, *SHAPE), "u2")
    for images, name, rows, size in maps:
        layout[images] = h5py.VirtualSource(name, "entry/data/data", (size, *SHAPE))[rows]
    return vds_master(master, layout)


def test_rows_beyond_a_short_source_are_their_own(tmp_path: Path) -> None:
    data = data_file(tmp_path / "d.h5", counts(0, 5))
    maps = ((slice(0, 4), "d.h5", slice(4, 8), 8), (slice(4, 8), "d.h5", slice(0, 4), 8))
    with open_run([mapped(tmp_path / "m.h5", 8, *maps)]) as opened:
        images = opened.run.images
        assert set(images.missing) == {1, 2, 3}
        assert images.row.tolist() == [4, 5, 6, 7, 0, 1, 2, 3]
        assert {opened.run.files[k].path for k in images.file} == {data}
        assert all(str(data) in reason for reason in images.missing.values())
        np.testing.assert_array_equal(opened.pixels(4), counts(0, 1)[0])


def test_rows_of_a_strided_selection_of_a_lost_and_a_short_file(tmp_path: Path) -> None:
    data_file(tmp_path / "short.h5", counts(0, 3))
    maps = ((slice(0, 3), "short.h5", slice(1, 6, 2), 6), (slice(3, 6), "gone.h5", slice(0, 6, 2), 6))
    with open_run([mapped(tmp_path / "m.h5", 6, *maps)]) as opened:
        images = opened.run.images
        assert set(images.missing) == {1, 2, 3, 4, 5}
        assert images.row.tolist() == [1, 3, 5, 0, 2, 4]


def test_selection_without_an_end_keeps_its_rows_beyond_a_short_source(tmp_path: Path) -> None:
    data_file(tmp_path / "a.h5", counts(0, 6), maxshape=(None, *SHAPE))
    data_file(tmp_path / "b.h5", counts(0, 3), maxshape=(None, *SHAPE))
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        layout = h5py.VirtualLayout((6, *SHAPE), "u2", maxshape=(None, *SHAPE))
        for k, name in enumerate("ab"):
            source = h5py.VirtualSource(f"{name}.h5", "entry/data/data", (3, *SHAPE), maxshape=(None, *SHAPE))
            layout[k : h5py.h5s.UNLIMITED : 2] = source[0 : h5py.h5s.UNLIMITED]
        file.create_virtual_dataset("entry/data/data", layout)
    with open_run([path]) as opened:
        images = opened.run.images
        n = len(images)
        assert n >= 6
        assert images.row.tolist() == [i // 2 for i in range(n)]
        assert set(images.missing) == {i for i in range(1, n, 2) if i // 2 >= 3}


def test_short_virtual_source_is_named_itself(tmp_path: Path) -> None:
    for k in range(2):
        data_file(tmp_path / f"d{k}.h5", counts(2 * k, 2))
    inner = mapped(tmp_path / "inner.h5", 4, *((slice(2 * k, 2 * k + 2), f"d{k}.h5", slice(0, 2), 2) for k in range(2)))
    with open_run([mapped(tmp_path / "outer.h5", 6, (slice(0, 6), "inner.h5", slice(0, 6), 6))]) as opened:
        images = opened.run.images
        assert set(images.missing) == {4, 5}
        assert all(str(inner) in reason for reason in images.missing.values())
        assert opened.run.files[images.file[5]].path == inner
        assert images.row.tolist() == [0, 1, 0, 1, 4, 5]
        assert any(p.where == str(inner) and "has 4 images" in p.what for p in opened.run.problems)


def spoil(path: Path, how: str) -> None:
    """Make a data file unusable."""
    raw = path.read_bytes()
    spoiled = {"empty": b"", "zeroed": bytes(64) + raw[64:], "garbage": b"\xff" * len(raw), "cut": raw[:100]}
    path.write_bytes(spoiled[how])


@pytest.mark.parametrize("how", ["empty", "zeroed", "garbage", "cut"])
@pytest.mark.parametrize("style", ["links", "vds"])
def test_one_spoiled_data_file_leaves_the_others(tmp_path: Path, how: str, style: str) -> None:
    paths = [data_file(tmp_path / f"d_{k}.h5", counts(4 * k, 4)) for k in range(3)]
    if style == "links":
        master = link_master(tmp_path / "m.h5", [p.name for p in paths], announced=(12, 1))
    else:
        master = mapped(
            tmp_path / "m.h5",
            12,
            *((slice(4 * k, 4 * k + 4), p.name, slice(0, 4), 4) for k, p in enumerate(paths)),
        )
    spoil(paths[1], how)
    with open_run([master]) as opened:
        images = opened.run.images
        assert set(images.unreadable) == {4, 5, 6, 7}
        assert not images.missing
        assert images.row.tolist() == [0, 1, 2, 3] * 3
        assert str(paths[1]) in images.unreadable[4]
        assert any(str(paths[1]) in str(p) for p in opened.run.problems)
        np.testing.assert_array_equal(opened.pixels(9), counts(9, 1)[0])
    with pytest.raises(SourceError, match=r"d_1\.h5"):
        open_run([paths[1]])


@pytest.mark.parametrize("name", ["d_1.h5.1699.tmp", "folder.h5"])
def test_linked_file_being_written_and_linked_folder_leave_the_others(tmp_path: Path, name: str) -> None:
    data_file(tmp_path / "d_0.h5", counts(0, 4))
    if name.endswith(".tmp"):
        data_file(tmp_path / name, counts(4, 4))
    else:
        (tmp_path / name).mkdir()
    with open_run([link_master(tmp_path / "m.h5", ["d_0.h5", name], announced=(8, 1))]) as opened:
        assert set(opened.run.images.unreadable) == {4, 5, 6, 7}


def test_damage_is_not_taken_for_another_writer(tmp_path: Path) -> None:
    path = data_file(tmp_path / "a.h5", counts(0, 4))
    raw = path.read_bytes()
    # The version of the superblock, the first byte after the signature.
    path.write_bytes(raw[:8] + b"\x77" + raw[9:])
    with pytest.raises(SourceError, match="is damaged"):
        open_run([path])


def test_file_open_for_writing_elsewhere(tmp_path: Path) -> None:
    path = data_file(tmp_path / "a.h5", counts(0, 4))
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"open\n"
        with pytest.raises(SourceError, match="is open for writing in another program"):
            open_run([path])
        writer.stdin.close()
    with open_run([path]) as opened:
        assert len(opened.run) == 4


def test_thousands_of_lost_files_are_each_told_once(tmp_path: Path) -> None:
    data_file(tmp_path / "there.h5", counts(0, 2))
    names = ["there.h5", *(f"lost_{k:05d}.h5" for k in range(3000))]
    with open_run([link_master(tmp_path / "m.h5", names)]) as opened:
        told = [p.what for p in opened.run.problems if "lost_" in p.what]
        assert len(told) == len(set(told)) == 3000
        assert len(opened.run) == 2 + 2 * 2999


def test_announced_images_without_a_place_are_told_but_not_counted(tmp_path: Path) -> None:
    path = nxmx(tmp_path / "a.h5", n=9)
    with h5py.File(path, "a") as file:
        specific = file.create_group("entry/instrument/detector/detectorSpecific")
        specific["nimages"], specific["ntrigger"] = 5, 2
    with open_run([path]) as opened:
        assert len(opened.run) == 9
        assert not opened.run.images.missing
        assert any("announces 10 images" in p.what for p in opened.run.problems)


def patched(path: Path, old: bytes, new: bytes) -> Path:
    """Damage a file at the one place where it holds `old`."""
    raw = path.read_bytes()
    assert raw.count(old) == 1
    path.write_bytes(raw.replace(old, new))
    return path


EXTENT = np.array([4, *SHAPE], "<u8").tobytes()
DAMAGES = {
    "chunk index": (b"TREE\x01", b"XXXX\x01"),
    "number of images": (2 * EXTENT, 2 * np.array([2**50, *SHAPE], "<u8").tobytes()),
}


@pytest.mark.parametrize("what", DAMAGES)
@pytest.mark.parametrize("style", ["links", "vds", "named"])
def test_damage_inside_a_data_file(tmp_path: Path, what: str, style: str) -> None:
    paths = [data_file(tmp_path / f"d_{k}.h5", counts(4 * k, 4)) for k in range(2)]
    patched(paths[1], *DAMAGES[what])
    if style == "named":
        with pytest.raises(SourceError, match=r"d_1\.h5: is damaged"):
            open_run([paths[1]])
        return
    master = tmp_path / "m.h5"
    if style == "links":
        link_master(master, [p.name for p in paths], announced=(8, 1))
    else:
        mapped(master, 8, *((slice(4 * k, 4 * k + 4), p.name, slice(0, 4), 4) for k, p in enumerate(paths)))
    with open_run([master]) as opened:
        assert set(opened.run.images.unreadable) == {4, 5, 6, 7}
        assert "is damaged" in opened.run.images.unreadable[4]
        np.testing.assert_array_equal(opened.pixels(3), counts(3, 1)[0])
