"""Raw files are released only when every byte and every value of them is proven to be elsewhere."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401  registers the filters
import numpy as np
import pytest

import hitsieve as package
from hitsieve.pipeline.release import ReleaseRequest
from hitsieve.pipeline.release import release as prove
from hitsieve.testing import Simulated, SimulateSettings, simulate

from .conftest import HITSIEVE, Hitsieve
from .reading import names

SMALL = {"name": "small", "detector": "test-256k", "images": 24, "images_per_file": 10, "hit_fraction": 0.5, "seed": 2}
KEEP = package.RunSettings(write=package.WriteSettings(misses="keep"))


@dataclass(frozen=True)
class Kept:
    """A run and its outputs."""

    made: Simulated
    hits: Path
    misses: Path

    @property
    def proof(self) -> Path:
        return self.hits.with_name("small_release.json")

    @property
    def sources(self) -> list[Path]:
        return [*self.made.data_files, self.made.master]


def sieved(folder: Path, made: Simulated) -> Kept:
    outputs = package.run(made.master, output=folder / "out", settings=KEEP).outputs
    assert outputs.misses is not None
    return Kept(made, outputs.hits, outputs.misses)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """A small run of three data files whose fourth image is damaged; never changed."""
    folder = tmp_path_factory.mktemp("kept")
    made = simulate(folder / "run", SimulateSettings.model_validate(SMALL | {"compression": "gzip"}))
    with h5py.File(made.data_files[0], "r+") as file:
        data = file["entry/data/data"]
        stored = data.id.read_direct_chunk((3, 0, 0))[1]
        data.id.write_direct_chunk((3, 0, 0), stored[: len(stored) // 2])
        data.attrs["image_nr_low"], data.attrs["image_nr_high"] = 1, 10
    with h5py.File(made.data_files[1], "r+") as file:
        file.attrs["file_name"] = made.data_files[1].name
    return sieved(folder, made)


@pytest.fixture
def mine(kept: Kept, tmp_path: Path) -> Kept:
    """A copy of it, to do damage to."""
    shutil.copytree(kept.hits.parent.parent, tmp_path / "here")
    folder = tmp_path / "here" / "run"
    files = tuple(folder / path.name for path in kept.made.data_files)
    made = replace(kept.made, master=folder / kept.made.master.name, data_files=files)
    return Kept(made, *(tmp_path / "here" / "out" / path.name for path in (kept.hits, kept.misses)))


def release(hitsieve: Hitsieve, kept: Kept, *flags: str) -> subprocess.CompletedProcess[str]:
    return hitsieve("release", kept.made.master, "--hits", kept.hits, "--misses", kept.misses, *flags)


def at_terminal(kept: Kept, typed: str, *flags: str) -> tuple[int, str, str]:
    """Call with --delete at a terminal, and type a line; exit code, stdout, and what the terminal shows."""
    ours, theirs = pty.openpty()
    command = [HITSIEVE, "release", kept.made.master, "--run", kept.hits.parent, "--delete", *flags]
    os.write(ours, f"{typed}\n".encode())
    try:
        done = subprocess.run(command, stdin=theirs, capture_output=True, text=True, timeout=60, check=False)
    finally:
        os.close(ours)
        os.close(theirs)
    return done.returncode, done.stdout, done.stderr


def test_what_is_proven_is_told_and_nothing_is_deleted(hitsieve: Hitsieve, mine: Kept) -> None:
    before = {path: path.read_bytes() for path in mine.sources}
    done = release(hitsieve, mine)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    total = sum(len(content) for content in before.values())
    assert "24 stored images are the same byte by byte" in done.stdout
    assert f"can be deleted: 4 files, {total / 1e6:.3g} MB" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("nothing was deleted")
    assert all(str(path) in done.stdout.splitlines() for path in mine.sources)
    assert {path: path.read_bytes() for path in mine.sources} == before
    proof = json.loads(mine.proof.read_text())
    counts = {name: proof[f"n_{name}"] for name in ("images", "unreadable", "missing", "bytes", "pixels")}
    assert counts == {"images": 24, "unreadable": 1, "missing": 0, "bytes": 24, "pixels": 0}
    assert [file["path"] for file in proof["files"]] == [str(path) for path in mine.sources]
    assert [file["path"] for file in proof["kept"]] == [str(mine.hits), str(mine.misses)]
    own = {value["path"]: value["value"] for value in proof["own_values"]}
    assert own == {
        "/@file_name": mine.made.data_files[1].name,
        "/entry/data/data@image_nr_low": 1,
        "/entry/data/data@image_nr_high": 10,
    }
    assert proof["deletion"] is None
    again = release(hitsieve, mine, "--json")
    assert json.loads(again.stdout)["images_digest"] == proof["images_digest"]
    assert not [name for name in names(mine.hits.parent) if name.endswith(".tmp")]


def flip(path: Path, where: str, row: int) -> None:
    """Flip a bit in the middle of a stored chunk."""
    with h5py.File(path) as file:
        chunk = file[where].id.get_chunk_info(row)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 1
    path.write_bytes(content)


def flip_unreadable(kept: Kept) -> None:
    with h5py.File(kept.misses, "r+") as file:
        file["entry/hit_finding/rest/bytes"][100] ^= 1


def other_unreadable(kept: Kept) -> None:
    with h5py.File(kept.made.data_files[0], "r+") as file:
        data = file["entry/data/data"]
        data.id.write_direct_chunk((3, 0, 0), data.id.read_direct_chunk((3, 0, 0))[1][:-1])


def lose_unreadable(kept: Kept) -> None:
    with h5py.File(kept.misses, "r+") as file:
        file["entry/hit_finding/rest/offsets"][1] = 0


def link_hits(kept: Kept) -> None:
    kept.misses.unlink()
    kept.misses.hardlink_to(kept.made.data_files[0])


def link_inside(kept: Kept) -> None:
    with h5py.File(kept.misses, "r+") as file:
        file["entry/instrument/copy"] = h5py.ExternalLink(str(kept.made.master), "/entry/instrument/beam")


def show_inside(kept: Kept) -> None:
    with h5py.File(kept.hits, "r+") as file:
        layout = h5py.VirtualLayout((10,), "f8")
        layout[:] = h5py.VirtualSource(str(kept.made.data_files[0]), "entry/detector/timestamp", (10,))
        file["entry"].create_virtual_dataset("times", layout)


def change_mask(kept: Kept) -> None:
    with h5py.File(kept.made.master, "r+") as file:
        file["entry/instrument/detector/pixel_mask"][0, 0] += 1


def change_attribute(kept: Kept) -> None:
    with h5py.File(kept.made.master, "r+") as file:
        file["entry/instrument/detector/distance"].attrs["units"] = "mm"


def change_row(kept: Kept) -> None:
    with h5py.File(kept.made.data_files[2], "r+") as file:
        file["entry/detector/timestamp"][1] = -1


def add_array(kept: Kept) -> None:
    with h5py.File(kept.made.data_files[2], "r+") as file:
        file["entry/detector/extra"] = np.arange(5000)


def add_image(kept: Kept) -> None:
    with h5py.File(kept.made.data_files[2], "r+") as file:
        images, labels = file["entry/data/data"][()], dict(file["entry/data/data"].attrs)
        del file["entry/data/data"]
        made = file.create_dataset(
            "entry/data/data",
            data=np.concatenate([images, images[:1]]),
            chunks=(1, *images.shape[1:]),
            compression="gzip",
        )
        made.attrs.update(labels)


def lose_file(kept: Kept) -> None:
    kept.made.data_files[1].unlink()


def swap_images(kept: Kept) -> None:
    with h5py.File(kept.made.data_files[1], "r+") as file:
        data = file["entry/data/data"].id
        one, two = (data.read_direct_chunk((row, 0, 0))[1] for row in (2, 3))
        data.write_direct_chunk((2, 0, 0), two)
        data.write_direct_chunk((3, 0, 0), one)


def flip_audit(kept: Kept) -> None:
    flip(kept.hits, "entry/hit_finding/audit/data", 2)


def flip_miss(kept: Kept) -> None:
    flip(kept.misses, "entry/data/data", 5)


def flip_hit(kept: Kept) -> None:
    flip(kept.hits, "entry/data/data", 1)


def flip_source(kept: Kept) -> None:
    flip(kept.made.data_files[1], "entry/data/data", 4)


def lose_misses(kept: Kept) -> None:
    kept.misses.unlink()


def cut_misses(kept: Kept) -> None:
    os.truncate(kept.misses, kept.misses.stat().st_size - 5000)


def set_mask_of_hits(kept: Kept) -> None:
    with h5py.File(kept.hits, "r+") as file:
        file["entry/instrument/detector/pixel_mask"][3, 3] += 1


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (flip_miss, "what is kept of it does not agree with its SHA-256"),
        (flip_hit, "what is kept of it does not agree with its SHA-256"),
        (flip_audit, "in the sample of misses, does not agree with its SHA-256"),
        (flip_source, "image 14: its stored bytes are not those of the source"),
        (swap_images, "image 12: its stored bytes are not those of the source"),
        (flip_unreadable, "image 3: "),
        (other_unreadable, "image 3: cannot be decoded, and its bytes are not those in the misses file"),
        (lose_unreadable, "image 3: cannot be decoded, and its bytes are not in the misses file"),
        (lose_misses, "there is no such file"),
        (cut_misses, "truncated"),
        (lose_file, "image 10: could not be compared: "),
        (link_hits, "small_misses.h5"),
        (link_inside, "/entry/instrument/copy is a link to "),
        (show_inside, "/entry/times shows what lies in "),
        (change_mask, "/entry/instrument/detector/pixel_mask: differs from the source"),
        (set_mask_of_hits, "/entry/instrument/detector/pixel_mask: differs from the source"),
        (change_attribute, "/entry/instrument/detector/distance@units: differs from the source"),
        (change_row, "/entry/detector/timestamp: differs from the source"),
        (add_array, "/entry/detector/extra: "),
        (add_image, "1 of its 5 images are not in the run"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_cannot_be_proven_is_refused(mine: Kept, damage: Callable[[Kept], None], says: str) -> None:
    damage(mine)
    report = prove(ReleaseRequest((mine.made.master,), mine.hits, mine.misses))
    assert report.proof is None
    assert any(says in reason for reason in report.reasons), report.reasons
    assert not mine.proof.exists()
    assert not [name for name in names(mine.hits.parent) if name.endswith(".tmp")]


def test_files_of_another_run_or_the_source_itself_are_refused(hitsieve: Hitsieve, mine: Kept, tmp_path: Path) -> None:
    other = package.run(mine.made.master, output=tmp_path / "other", settings=KEEP).outputs
    assert other.misses is not None
    done = release(hitsieve, replace(mine, misses=other.misses))
    assert (done.returncode, "is not of the same run as" in done.stderr) == (5, True)
    done = hitsieve("release", mine.made.master, "--hits", mine.hits)
    assert (done.returncode, "only the hits are kept" in done.stderr) == (5, True)
    mine.made.master.unlink()
    shutil.copy(mine.hits, mine.made.master)
    done = release(hitsieve, mine)
    assert (done.returncode, "images, the run in" in done.stderr) == (5, True)


def test_a_refusal_is_told(hitsieve: Hitsieve, mine: Kept) -> None:
    flip_miss(mine)
    change_attribute(mine)
    done = release(hitsieve, mine, "--json")
    assert done.returncode == 5
    first, second, last = done.stderr.splitlines()
    assert "what is kept of it does not agree with its SHA-256" in first + second
    assert last.startswith(f"hitsieve: error: {mine.made.master}: cannot be released, for 2 reasons (keep its files")
    assert json.loads(done.stdout) == {"released": False, "reasons": [first[17:], second[17:]]}
    assert not mine.proof.exists()


def test_deleting_needs_a_terminal(mine: Kept) -> None:
    command = [HITSIEVE, "release", mine.made.master, "--run", mine.hits.parent, "--delete"]
    done = subprocess.run(command, input="delete 4 files\n", capture_output=True, text=True, check=False)
    assert (done.returncode, "must be typed at a terminal" in done.stderr) == (2, True)
    assert all(path.exists() for path in mine.sources)


@pytest.mark.parametrize("typed", ["", "yes", "delete 3 files"])
def test_other_words_delete_nothing(mine: Kept, typed: str) -> None:
    code, _, said = at_terminal(mine, typed)
    assert (code, said.splitlines()[-1]) == (0, "> hitsieve: nothing was deleted")
    assert all(path.exists() for path in mine.sources)
    assert json.loads(mine.proof.read_text())["deletion"] is None


def test_deleted_files_come_back(hitsieve: Hitsieve, mine: Kept, tmp_path: Path) -> None:
    with h5py.File(mine.made.master) as file:
        mask = file["entry/instrument/detector/pixel_mask"][()]
    with h5py.File(mine.made.data_files[1]) as file:
        chunk = file["entry/data/data"].id.read_direct_chunk((4, 0, 0))
    code, out, said = at_terminal(mine, "delete 4 files", "--json")
    assert code == 0, said
    assert "4 of 4 files are deleted" in said
    assert names(mine.made.master.parent) == {mine.made.truth.name, mine.made.truth_spots.name}
    proof = json.loads(mine.proof.read_text())
    assert proof == json.loads(out)
    assert proof["deletion"]["deleted"] == [str(path) for path in mine.sources]
    assert proof["deletion"]["left"] == {}
    done = hitsieve("restore", mine.hits, mine.misses, "-o", tmp_path / "back.h5")
    assert done.returncode == 0, done.stderr
    with h5py.File(tmp_path / "back.h5") as file:
        assert np.array_equal(file["entry/instrument/detector/pixel_mask"][()], mask)
        assert file["entry/data/data"].id.read_direct_chunk((14, 0, 0)) == chunk
    done = release(hitsieve, mine)
    assert (done.returncode, "its 4 files were deleted on" in done.stderr) == (3, True)


def test_a_deletion_that_was_cut_off_goes_on(hitsieve: Hitsieve, mine: Kept) -> None:
    assert release(hitsieve, mine).returncode == 0
    proof = json.loads(mine.proof.read_text())
    proof["deletion"] = {"begun": proof["date"]}
    mine.proof.write_text(json.dumps(proof))
    mine.made.data_files[0].unlink()
    told = release(hitsieve, mine)
    assert (told.returncode, "1 of 4 files are deleted; 3 stay" in told.stderr) == (0, True), told.stderr
    content = mine.made.data_files[2].read_bytes()
    mine.made.data_files[2].write_bytes(content)
    code, _, said = at_terminal(mine, "delete 3 files")
    assert (code, "nothing was deleted" in said) == (5, True)
    assert f"{mine.made.data_files[2]}: has changed since it was compared" in said
    assert mine.made.data_files[1].exists()
    times = (proof["files"][2]["modified"],) * 2
    os.utime(mine.made.data_files[2], ns=times)
    code, _, said = at_terminal(mine, "delete 3 files")
    assert (code, "4 of 4 files are deleted" in said) == (0, True), said


def test_kept_files_that_changed_stop_a_deletion_that_was_cut_off(hitsieve: Hitsieve, mine: Kept) -> None:
    assert release(hitsieve, mine).returncode == 0
    proof = json.loads(mine.proof.read_text())
    mine.proof.write_text(json.dumps(proof | {"deletion": {"begun": proof["date"]}}))
    flip_miss(mine)
    done = release(hitsieve, mine)
    assert (done.returncode, "is not as it was when small_release.json was written" in done.stderr) == (5, True)


@pytest.mark.parametrize("style", ["vds-strided", "external", "single"])
def test_every_style_is_released(hitsieve: Hitsieve, tmp_path: Path, style: str) -> None:
    made = simulate(tmp_path / "run", SimulateSettings.model_validate(SMALL | {"style": style}))
    here = sieved(tmp_path, made)
    done = release(hitsieve, here, "--json")
    assert done.returncode == 0, done.stderr
    proof = json.loads(done.stdout)
    assert [file["path"] for file in proof["files"]] == [str(path) for path in here.sources]
    assert (proof["n_bytes"], proof["own_values"]) == (24, [])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "usage: hitsieve release SOURCE... [OPTIONS]"),
        (["a_master.h5"], "give --run, or --hits and --misses"),
        (["a_master.h5", "--run", "out", "--hits", "b_hits.h5"], "give --run, or --hits and --misses"),
    ],
)
def test_wrong_usage(hitsieve: Hitsieve, arguments: list[str], says: str) -> None:
    done = hitsieve("release", *arguments)
    assert (done.returncode, says in done.stderr) == (2, True), done.stderr
