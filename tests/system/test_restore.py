"""Hits and misses give the original series back: every chunk, every array, every attribute, by h5py alone."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  registers the filters
import numpy as np
import nxmx
import pytest

import calling
import hitsieve
from dialsprograms import needs_dials
from hitsieve.errors import SourceError
from hitsieve.pipeline.restore import RestoreRequest
from hitsieve.pipeline.restore import restore as rebuild
from hitsieve.pipeline.rethink import RethinkRequest, rethink
from hitsieve.settings import VerdictSettings
from hitsieve.testing import Simulated, SimulateSettings, simulate
from hitsieve.testing.lists import IMAGE_FILES

from .conftest import HITSIEVE, Hitsieve
from .reading import names
from .test_dials import dials_spots

SMALL = {"name": "small", "detector": "test-256k", "images": 24, "images_per_file": 10, "hit_fraction": 0.5, "seed": 2}
LEFT_OUT = ("image_nr_low", "image_nr_high")
KEEP = hitsieve.RunSettings(write=hitsieve.WriteSettings(misses="keep"))


def sieved(source: Path | list[Path], out: Path) -> tuple[Path, Path]:
    """Sieve a run and keep its misses; hits and misses."""
    outputs = hitsieve.run(source, output=out, settings=KEEP).outputs
    assert outputs.misses is not None
    return outputs.hits, outputs.misses


@dataclass(frozen=True)
class Kept:
    """A run and its files of hits and misses."""

    made: Simulated
    hits: Path
    misses: Path

    def __iter__(self) -> Iterator[Path]:
        return iter((self.hits, self.misses))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """A small run of three data files, sieved; never changed."""
    folder = tmp_path_factory.mktemp("kept")
    made = simulate(folder / "run", SimulateSettings.model_validate(SMALL))
    return Kept(made, *sieved(made.master, folder / "out"))


@pytest.fixture
def mine(kept: Kept, tmp_path: Path) -> Kept:
    """A copy of it, to do damage to."""
    shutil.copytree(kept.hits.parent.parent, tmp_path / "here")
    files = tuple(tmp_path / "here" / "run" / path.name for path in kept.made.data_files)
    made = replace(kept.made, master=tmp_path / "here" / "run" / kept.made.master.name, data_files=files)
    return Kept(made, *(tmp_path / "here" / "out" / path.name for path in kept))


def walk(group: h5py.Group, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every object below a group under each of its names, external links followed; soft links as they are."""
    for name in group:
        path = f"{place}/{name}"
        link = group.get(name, getlink=True)
        item = link if isinstance(link, h5py.SoftLink) else group.get(name)
        yield path, item
        if isinstance(item, h5py.Group):
            yield from walk(item, path)


def same(a: Any, b: Any) -> bool:
    left, right = np.asarray(a), np.asarray(b)
    nan = left.dtype.kind == "f" and right.dtype.kind == "f"
    return left.dtype == right.dtype and np.array_equal(left, right, equal_nan=nan)


def assert_metadata_are_those_of(master: Path, restored: Path, data_file: Path | None = None) -> None:
    """All that the master has but its images is there, and nothing else but what the data files have."""
    with h5py.File(master) as before, h5py.File(restored) as after:
        shape = after["entry/data/data"].shape
        seen = {"/entry", "/entry/data", "/entry/data/data"}
        if data_file is not None:
            with h5py.File(data_file) as file:
                seen |= {path for path, _ in walk(file)}
                assert all(path in after for path in seen)
        for path, item in [("/", before), *walk(before)]:
            name = path.rsplit("/", 1)[-1]
            seen.add(path)
            if name.startswith("data_0"):
                continue
            if isinstance(item, h5py.SoftLink):
                assert after.get(path, getlink=True).path == item.path, path
                continue
            assert isinstance(after[path], type(item)) or path == "/", path
            for key, value in item.attrs.items():
                if (path, key) == ("/entry/data", "signal"):
                    continue
                assert key in LEFT_OUT or same(after[path].attrs[key], value), (path, key)
            if isinstance(item, h5py.Dataset) and item.shape != shape:
                assert same(after[path][()], item[()]), path
        assert {path for path, _ in walk(after)} <= seen


def places(made: Simulated) -> Iterator[tuple[int, Path, int]]:
    """File and row of each image, from the arrangement of the style."""
    files = made.data_files or (made.master,)
    strided, first = "strided" in made.master.parent.name, 0
    for number, path in enumerate(files):
        with h5py.File(path) as file:
            n = len(file["entry/data/data"])
        for row in range(n):
            yield (number + row * len(files) if strided else first + row), path, row
        first += n


def assert_images_are_those_of(made: Simulated, restored: Path) -> None:
    """Each chunk, and what the data files have of each image."""
    with h5py.File(restored) as file:
        data, n = file["entry/data/data"], 0
        for image, path, row in places(made):
            with h5py.File(path) as source:
                stored = source["entry/data/data"].id.read_direct_chunk((row, 0, 0))
                assert data.id.read_direct_chunk((image, 0, 0)) == stored, image
                for name in ("timestamp", "number", "exptime"):
                    array = f"entry/detector/{name}"
                    assert same(file[array][image], source[array][row]), (name, image)
            n += 1
        assert len(data) == n


def every() -> list[object]:
    quick = {("vds", "bslz4"), ("vds-strided", "lz4"), ("external", "gzip"), ("single", "bszstd")}
    pairs = [(s, c) for s in ("vds", "vds-strided", "external", "single") for c in ("bslz4", "bszstd", "lz4", "gzip")]
    return [pytest.param(*pair, marks=() if pair in quick else pytest.mark.long) for pair in pairs]


@pytest.mark.parametrize(("style", "compression"), every())
def test_the_series_comes_back_bit_for_bit(tmp_path: Path, style: str, compression: str, hitsieve: Hitsieve) -> None:
    settings = SMALL | {"style": style, "compression": compression, "pump": "dark:1,light:3"}
    made = simulate(tmp_path / style, SimulateSettings.model_validate(settings))
    hits, misses = sieved(made.master, tmp_path / "out")
    for flags in ((), ("--virtual",)):
        target = tmp_path / f"back{''.join(flags)}" / "small.h5"
        done = hitsieve("restore", hits, misses, "-o", target, "--source", made.master, *flags)
        assert done.returncode == 0, done.stderr
        assert "proven      24 stored images agree with their recorded SHA-256" in done.stdout
        assert f"nothing differs from {made.master}" in done.stdout
        assert names(target.parent) == {"small.h5"}
        if not flags:
            assert_images_are_those_of(made, target)
        assert_metadata_are_those_of(made.master, target, made.data_files[0] if made.data_files else None)
        with h5py.File(target) as file, h5py.File(made.master) as master:
            if "data" in master["entry/data"]:
                assert np.array_equal(file["entry/data/data"][()], master["entry/data/data"][()])
            assert not {"hit_finding", "MX"} & set(file["entry"])


@pytest.mark.parametrize("dtype", ["u16", "i32", pytest.param("u8", marks=pytest.mark.long)])
def test_types_come_back(tmp_path: Path, dtype: str) -> None:
    made = simulate(tmp_path / "run", SimulateSettings.model_validate(SMALL | {"dtype": dtype}))
    report = restore(made.master, tmp_path)
    assert report["differences"] == []
    with h5py.File(tmp_path / "back.h5") as file:
        assert file["entry/data/data"].dtype == np.dtype(f"{dtype[0]}{int(dtype[1:]) // 8}")
    assert_images_are_those_of(made, tmp_path / "back.h5")


def restore(source: Path | list[Path], folder: Path, *flags: str) -> dict[str, Any]:
    """Sieve a run, restore it, compare with the source, and give what the command says as JSON."""
    hits, misses = sieved(source, folder / "out")
    paths = source if isinstance(source, list) else [source]
    named = [part for path in paths for part in ("--source", str(path))]
    done = calling.hitsieve("restore", hits, misses, "-o", folder / "back.h5", "--json", *named, *flags)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_several_files_come_back_as_one_series(tmp_path: Path) -> None:
    made = simulate(tmp_path / "run", SimulateSettings.model_validate(SMALL))
    report = restore(list(made.data_files), tmp_path)
    assert (report["n_proven"], report["n_verbatim"], report["differences"]) == (24, 24, [])
    assert_images_are_those_of(made, tmp_path / "back.h5")


def damage(path: Path, row: int) -> None:
    with h5py.File(path) as file:
        chunk = file["entry/data/data"].id.get_chunk_info(row)
    content = bytearray(path.read_bytes())
    # The length of the first block.
    content[chunk.byte_offset + 12 : chunk.byte_offset + 16] = b"\xff" * 4
    path.write_bytes(content)


@pytest.mark.parametrize("compression", ["bslz4", "gzip"])
def test_unreadable_and_missing_images_come_back_as_they_were(
    tmp_path: Path, compression: str, hitsieve: Hitsieve
) -> None:
    made = simulate(tmp_path / "run", SimulateSettings.model_validate(SMALL | {"compression": compression}))
    damage(made.data_files[0], 3)
    made.data_files[1].unlink()
    hits, misses = sieved(made.master, tmp_path / "out")
    target = tmp_path / "back.h5"
    done = hitsieve("restore", hits, misses, "-o", target, "--source", made.master)
    assert done.returncode == 0, done.stderr
    assert "proven      14 stored images" in done.stdout
    assert "unreadable  1, as in the original: their chunks are back" in done.stdout
    assert "missing     10, as in the original" in done.stdout
    with h5py.File(target) as file, h5py.File(made.data_files[0]) as first, h5py.File(made.data_files[2]) as last:
        data = file["entry/data/data"]
        for image in (*range(10), *range(20, 24)):
            source, row = (first, image) if image < 10 else (last, image - 20)
            original = source["entry/data/data"].id.read_direct_chunk((row, 0, 0))[1]
            assert data.id.read_direct_chunk((image, 0, 0))[1] == original
        assert data.id.get_num_chunks() == 14
        # The bitshuffle filter reads beyond damaged blocks, and may crash: here only deflate is made to decode one.
        if compression == "gzip":
            with pytest.raises(OSError, match="read"):
                data[3]
        fill = np.iinfo(data.dtype).max if data.dtype.kind == "u" else np.iinfo(data.dtype).min
        assert (data[12] == fill).all()
    assert_metadata_are_those_of(made.master, target, made.data_files[0])
    again = hitsieve("run", target, "-o", tmp_path / "again", "--json", "--set", "wavelength=1.0")
    counts = json.loads(again.stdout)
    assert (counts["n_images"], counts["n_unreadable"], counts["n_missing"]) == (24, 1, 10)
    virtual = hitsieve("restore", hits, misses, "-o", tmp_path / "virtual.h5", "--virtual")
    assert virtual.returncode == 0
    assert "1 unreadable images could not be put back" in virtual.stderr


def test_what_the_user_gave_is_left_out(tmp_path: Path, hitsieve: Hitsieve) -> None:
    made = simulate(tmp_path / "run", SimulateSettings.model_validate(SMALL))
    with h5py.File(made.master, "r+") as file:
        del file["entry/instrument/beam/incident_wavelength"]
        del file["entry/instrument/detector/sensor_material"]
        file["entry/hit_finding/n"] = 3
        file["entry/MX/nPeaks"] = np.arange(24)
    out = tmp_path / "out"
    flags = ("--set", "wavelength=1.0", "--set", "sensor_material=Si", "--misses", "keep")
    assert hitsieve("run", made.master, "-o", out, *flags).returncode == 0
    target = tmp_path / "back.h5"
    done = hitsieve("restore", out / "small_misses.h5", out / "small_hits.h5", "-o", target, "--source", made.master)
    assert done.returncode == 0, done.stderr
    assert_metadata_are_those_of(made.master, target, made.data_files[0])


def test_files_of_different_runs_are_refused(tmp_path: Path, hitsieve: Hitsieve, kept: Kept) -> None:
    made, (hits, misses) = kept.made, kept
    other, _ = sieved(made.master, tmp_path / "other")
    target = tmp_path / "back" / "small.h5"
    cases = {
        (other, misses): "is not of the same run as",
        (hits, hits): "holds hits, not misses",
        (misses, misses): "holds misses, not hits",
        (hits, made.master): "was not written by hitsieve run|is no file of hits or misses",
        (hits, tmp_path / "none.h5"): "there is no such file",
    }
    for (first, second), says in cases.items():
        done = hitsieve("restore", first, second, "-o", target)
        assert done.returncode == 3, done.stderr
        assert any(part in done.stderr for part in says.split("|")), done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert not target.parent.exists()
    done = hitsieve("restore", hits, misses, "-o", hits, "--overwrite")
    assert (done.returncode, "is a file of the input" in done.stderr) == (4, True)
    done = hitsieve("restore", hits, misses, "-o", tmp_path)
    assert (done.returncode, "a folder has this name" in done.stderr) == (4, True)


def test_another_verdict_has_its_own_two_files(kept: Kept, tmp_path: Path, hitsieve: Hitsieve) -> None:
    flags = ("--rule", "spots", "--min-spots", "60")
    done = hitsieve("rethink", kept.hits, *flags, "--hits", "-o", tmp_path / "strict", "--quiet")
    assert done.returncode == 0, done.stderr
    hits, misses = tmp_path / "strict" / "small_hits.h5", tmp_path / "strict" / "small_misses.h5"
    with h5py.File(misses) as file, h5py.File(kept.misses) as before:
        assert len(file["entry/data/data"]) > len(before["entry/data/data"])
    done = hitsieve("restore", hits, misses, "-o", tmp_path / "back.h5", "--source", kept.made.master)
    assert done.returncode == 0, done.stderr
    done = hitsieve("restore", hits, kept.misses, "-o", tmp_path / "mixed.h5")
    assert (done.returncode, "is not of the same run as" in done.stderr) == (3, True)


def test_another_verdict_needs_no_original(tmp_path: Path, hitsieve: Hitsieve) -> None:
    made = simulate(tmp_path / "run", SimulateSettings.model_validate(SMALL))
    mine = Kept(made, *sieved(made.master, tmp_path / "out"))
    back, shown = tmp_path / "back.h5", tmp_path / "shown.h5"
    for target, flags in ((back, {}), (shown, {"virtual": True})):
        assert rebuild(RestoreRequest(mine.hits, mine.misses, target, **flags)).restored.n_images == 24
    for path in (made.master, *made.data_files):
        path.unlink()
    rule = ("--rule", "spots", "--min-spots", "60", "--hits", "-o", tmp_path / "strict", "--quiet")
    gone = hitsieve("rethink", mine.hits, *rule)
    assert (gone.returncode, "what hitsieve restore makes of its hits and misses" in gone.stderr) == (3, True)
    virtual = hitsieve("rethink", mine.hits, *rule, "--source", shown)
    assert (virtual.returncode, "restore them without --virtual" in virtual.stderr) == (3, True)
    done = hitsieve("rethink", mine.hits, *rule, "--source", back)
    assert done.returncode == 0, done.stderr
    now = tuple(tmp_path / "strict" / path.name for path in mine)
    with h5py.File(now[0]) as file, h5py.File(mine.hits) as before:
        assert 0 < len(file["entry/data/data"]) < len(before["entry/data/data"])
    assert rebuild(RestoreRequest(*now, tmp_path / "again.h5", source=(back,))).differences == ()
    with h5py.File(back, "r+") as file:
        data = file["entry/data/data"].id
        first, second = (data.read_direct_chunk((row, 0, 0))[1] for row in (0, 1))
        data.write_direct_chunk((0, 0, 0), second)
        data.write_direct_chunk((1, 0, 0), first)
    wrong = hitsieve("rethink", mine.hits, *rule[:-2], tmp_path / "other", "--quiet", "--source", back)
    assert (wrong.returncode, "is not the one that was searched" in wrong.stderr) == (3, True)
    # Without the file of hits nothing proves them: then the source must be where it was, by its names at least.
    mine.hits.unlink()
    request = RethinkRequest(VerdictSettings(min_spots=60), tmp_path / "other", hits=True, source=(back,))
    with pytest.raises(SourceError, match="is another run than that of"):
        rethink(mine.misses, request)
    assert not (tmp_path / "other").exists()


def test_files_of_an_older_version_are_refused(tmp_path: Path, mine: Kept) -> None:
    with h5py.File(mine.hits, "r+") as file:
        process = file["entry/hit_finding"]
        for name in list(process["restore"]):
            process.move(f"restore/{name}", name)
        del process["restore"]
    with pytest.raises(SourceError, match="was written by an older version of hitsieve"):
        rebuild(RestoreRequest(mine.hits, mine.misses, tmp_path / "back.h5"))
    assert not (tmp_path / "back.h5").exists()


def test_an_image_in_neither_file_is_refused(tmp_path: Path, hitsieve: Hitsieve, mine: Kept) -> None:
    hits, misses = mine
    with h5py.File(misses, "r+") as file:
        images = file["entry/hit_finding/source_image"]
        lost = int(images[2])
        images[2] = images[1]
    done = hitsieve("restore", hits, misses, "-o", tmp_path / "back.h5")
    assert done.returncode == 3
    assert f"hold 23 of the 24 images of the run; image {lost} is in neither" in done.stderr


@pytest.mark.parametrize("virtual", [False, True])
def test_a_damaged_chunk_is_refused(tmp_path: Path, hitsieve: Hitsieve, virtual: bool, mine: Kept) -> None:
    hits, misses = mine
    with h5py.File(misses, "r+") as file:
        image = int(file["entry/hit_finding/source_image"][4])
        stored = bytearray(file["entry/data/data"].id.read_direct_chunk((4, 0, 0))[1])
        stored[len(stored) // 2] ^= 1
        file["entry/data/data"].id.write_direct_chunk((4, 0, 0), bytes(stored))
    flags = ["--virtual"] if virtual else []
    done = hitsieve("restore", hits, misses, "-o", tmp_path / "back" / "small.h5", *flags)
    assert done.returncode == 5
    assert f"{misses}: image {image} of the run (row 4) is damaged: it does not agree with its SHA-256" in done.stderr
    assert not (tmp_path / "back").exists()


def test_differences_from_the_source_are_told(tmp_path: Path, hitsieve: Hitsieve, mine: Kept) -> None:
    made, (hits, misses) = mine.made, mine
    with h5py.File(made.master, "r+") as file:
        file["entry/instrument/detector/distance"][...] = 0.5
        file["entry/sample/name"].attrs["note"] = "later"
        file["entry/late"] = 1
    with h5py.File(made.data_files[1], "r+") as file:
        file["entry/detector/timestamp"][3] = -1
        images = file["entry/data/data"]
        images[2] = images[3]
    done = hitsieve("restore", hits, misses, "-o", tmp_path / "back.h5", "--source", made.master)
    assert done.returncode == 5
    for text in (
        "/entry/instrument/detector/distance: differs",
        "/entry/sample/name@note: differs",
        "/entry/late: is in the source, and not here",
        "/entry/detector/timestamp: differs from the source between images 0 and 23",
        "image 12: its chunk differs from that of the source",
        "5 things differ",
    ):
        assert text in done.stderr, done.stderr


def test_a_virtual_master_moves_with_its_files(tmp_path: Path, hitsieve: Hitsieve, mine: Kept, kept: Kept) -> None:
    assert hitsieve("restore", *mine, "-o", tmp_path / "here" / "v.h5", "--virtual").returncode == 0
    (tmp_path / "here").rename(tmp_path / "there")
    with h5py.File(tmp_path / "there" / "v.h5") as file, h5py.File(kept.made.master) as master:
        assert np.array_equal(file["entry/data/data"][()], master["entry/data/data"][()])


@pytest.mark.parametrize(("sent", "left"), [(signal.SIGTERM, 0), (signal.SIGKILL, 1)])
def test_a_killed_restore_leaves_no_result(tmp_path: Path, sent: signal.Signals, left: int, kept: Kept) -> None:
    hits, misses = kept
    target = tmp_path / "back" / "small.h5"
    target.parent.mkdir()
    # Long enough to be met: the command stops itself as soon as images are being written.
    code = (
        "import os, signal, sys\n"
        "import hitsieve.write.restore as room\n"
        "room._BLOCK = 4\n"
        "from hitsieve.pipeline import restore as job\n"
        "from pathlib import Path\n"
        "from hitsieve.cli.stopping import listen\n"
        "listen()\n"
        f"step = lambda done, total: os.kill(os.getpid(), {int(sent)}) if done >= 8 else None\n"
        "job.restore(job.RestoreRequest(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])), progress=step)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, hits, misses, target], capture_output=True, check=False)
    assert done.returncode != 0
    found = names(target.parent)
    assert len(found) == left
    assert all(name.startswith(".small.h5.") and name.endswith(".tmp") for name in found)
    assert subprocess.run([HITSIEVE, "restore", hits, misses, "-o", target, "--quiet"], check=False).returncode == 0
    assert target.exists()


def test_a_full_disk_leaves_nothing(kept: Kept, small_disk: Path, hitsieve: Hitsieve) -> None:
    done = hitsieve("restore", *kept, "-o", small_disk / "back" / "small.h5")
    assert done.returncode == 4
    assert "cannot be written: no space left on device" in done.stderr
    assert names(small_disk) == set()


@pytest.mark.parametrize("name", IMAGE_FILES)
def test_measured_files_come_back(data_dir: Path, tmp_path: Path, name: str) -> None:
    source = data_dir / "images" / f"{name}.h5"
    report = restore(source, tmp_path)
    assert (report["differences"], report["n_lost"]) == ([], 0)
    with h5py.File(source) as before, h5py.File(tmp_path / "back.h5") as after:
        stack = before["entry/data/data"] if "entry/data/data" in before else before["raw"]
        data = after["entry/data/data"]
        assert report["n_proven"] == len(stack) == len(data)
        plist = stack.id.get_create_plist()
        verbatim = stack.chunks == (1, *stack.shape[1:]) and plist.get_nfilters() > 0
        assert report["n_verbatim"] == (len(stack) if verbatim else 0)
        for image in range(len(stack)):
            if verbatim:
                assert data.id.read_direct_chunk((image, 0, 0)) == stack.id.read_direct_chunk((image, 0, 0))
            else:
                assert np.array_equal(data[image], stack[image])
        for path, item in walk(before):
            if isinstance(item, h5py.Dataset) and item.shape != stack.shape:
                assert same(after[path][()], item[()]), path


def test_nxmx_reads_both(tmp_path: Path, hitsieve: Hitsieve, kept: Kept) -> None:
    for flags in ((), ("--virtual",)):
        target = tmp_path / f"back{''.join(flags)}.h5"
        assert hitsieve("restore", *kept, "-o", target, *flags).returncode == 0
        for path, n in ((target, 24), (kept.misses, None)):
            with h5py.File(path) as file:
                (entry,) = nxmx.NXmx(file).entries
                (detector,) = entry.instruments[0].detectors
                assert detector.modules[0].data_size.tolist() == [524, 514]
                assert n is None or entry.data[0]["data"].shape == (n, 524, 514)


@pytest.mark.dials
@needs_dials
def test_dials_finds_the_same_spots(tmp_path: Path) -> None:
    settings = SMALL | {"images": 6, "images_per_file": 3, "spots": (60, 200), "seed": 4}
    made = simulate(tmp_path / "run", SimulateSettings.model_validate(settings))
    restore(made.master, tmp_path)
    kept = tmp_path / "out" / "small_misses.h5"
    source, back, misses = dials_spots(tmp_path, [made.master, tmp_path / "back.h5", kept])
    assert "num images: 6" in back.imported
    assert len(source.places) > 20
    for image in range(6):
        assert np.array_equal(back.of(image), source.of(image))
    with h5py.File(kept) as file:
        for row, image in enumerate(file["entry/hit_finding/source_image"][()]):
            assert np.array_equal(misses.of(row), source.of(int(image)))


def split(source: Path, folder: Path, per_file: int) -> tuple[Path, list[Path]]:
    """The same run as a virtual dataset over several data files, chunk by chunk; master and data files."""
    folder.mkdir()
    master, files = folder / "split_master.h5", []
    shutil.copyfile(source, master)
    with h5py.File(source) as before, h5py.File(master, "r+") as after:
        stack = before["entry/data/data"]
        layout = h5py.VirtualLayout(stack.shape, stack.dtype)
        for first in range(0, len(stack), per_file):
            files.append(folder / f"split_data_{len(files) + 1:06d}.h5")
            n = min(per_file, len(stack) - first)
            with h5py.File(files[-1], "w") as part:
                # Copying the dataset keeps its filters; rows are then moved to the front.
                before.copy(stack, part.create_group("entry/data"), name="data")
                data = part["entry/data/data"]
                for row in range(n):
                    data.id.write_direct_chunk((row, 0, 0), stack.id.read_direct_chunk((first + row, 0, 0))[1])
                data.resize(n, axis=0)
            layout[first : first + n] = h5py.VirtualSource(files[-1].name, "entry/data/data", (n, *stack.shape[1:]))
        attributes = dict(stack.attrs)
        del after["entry/data/data"]
        after.create_virtual_dataset("entry/data/data", layout).attrs.update(attributes)
    return master, files


def test_measured_images_come_back_with_a_damaged_and_a_lost_part(
    data_dir: Path, tmp_path: Path, hitsieve: Hitsieve
) -> None:
    source = data_dir / "images" / "dls_i19_lcysteine_pilatus_2m.h5"
    master, files = split(source, tmp_path / "run", 4)
    damage(files[0], 1)
    files[1].unlink()
    hits, misses = sieved(master, tmp_path / "out")
    target = tmp_path / "back.h5"
    done = hitsieve("restore", hits, misses, "-o", target, "--source", master, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    counts = {name: report[name] for name in ("n_images", "n_verbatim", "n_unreadable", "n_missing", "n_lost")}
    assert counts == {"n_images": 12, "n_verbatim": 8, "n_unreadable": 1, "n_missing": 4, "n_lost": 0}
    assert report["differences"] == []
    with h5py.File(source) as before, h5py.File(target) as after, h5py.File(files[0]) as first:
        data, stack = after["entry/data/data"], before["entry/data/data"]
        for image in (0, 2, 3, *range(8, 12)):
            assert data.id.read_direct_chunk((image, 0, 0)) == stack.id.read_direct_chunk((image, 0, 0))
        assert data.id.read_direct_chunk((1, 0, 0)) == first["entry/data/data"].id.read_direct_chunk((1, 0, 0))
        assert data.id.get_num_chunks() == 8
    assert_metadata_are_those_of(source, target)
