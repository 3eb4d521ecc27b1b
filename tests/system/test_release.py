"""Raw files are released only when every byte and every value of them is proven to be elsewhere."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pty
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  registers the filters
import numpy as np
import pytest
from pydantic import SecretStr

import hitsieve as package
from hitsieve.catalogue import Catalogue
from hitsieve.catalogue.scicat import Credentials, SciCat, quoted
from hitsieve.cli.commands import call as run_command
from hitsieve.errors import VerificationError
from hitsieve.pipeline.deletion import delete
from hitsieve.pipeline.release import ReleaseRequest, begun_before
from hitsieve.pipeline.release import release as prove
from hitsieve.pipeline.restore import RestoreRequest, restore
from hitsieve.pipeline.tape import release_from_tape
from hitsieve.testing import Simulated, SimulateSettings, simulate
from hitsieve.testing.scicat import FakeSciCat

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


class Screen(io.StringIO):
    """What a terminal shows; calls something when it shows a prompt."""

    def __init__(self, asked: Callable[[], object]) -> None:
        super().__init__()
        self._asked = asked

    def write(self, text: str, /) -> int:
        if text.endswith("> "):
            self._asked()
        return super().write(text)


def at_terminal(
    kept: Kept, typed: str, *flags: str, meanwhile: Callable[[], object] | None = None
) -> tuple[int, str, str]:
    """Call with --delete at a terminal, and type a line when asked; exit code, stdout, and what the terminal shows."""
    ours, theirs = pty.openpty()
    os.write(ours, b"delete 4 files\n")  # what is typed before the question answers nothing

    def answer() -> None:
        if meanwhile is not None:
            meanwhile()
        os.write(ours, f"{typed}\n".encode())

    out, screen = io.StringIO(), Screen(answer)
    with pytest.MonkeyPatch.context() as patch, os.fdopen(theirs) as terminal:
        patch.setattr("sys.stdin", terminal)
        with redirect_stdout(out), redirect_stderr(screen):
            command = ["release", kept.made.master, "--run", kept.hits.parent, "--delete", *flags]
            code = run_command(list(map(str, command)))
    os.close(ours)
    return code, out.getvalue(), screen.getvalue()


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


def test_files_of_another_run_or_the_source_itself_are_refused(mine: Kept, tmp_path: Path) -> None:
    other = package.run(mine.made.master, output=tmp_path / "other", settings=KEEP).outputs
    source = (mine.made.master,)
    assert "is not of the same run as" in prove(ReleaseRequest(source, mine.hits, other.misses)).reasons[0]
    assert "only the hits are kept" in prove(ReleaseRequest(source, mine.hits, None)).reasons[0]
    assert "images, the run in" in prove(ReleaseRequest((mine.hits,), mine.hits, mine.misses)).reasons[0]
    restore(RestoreRequest(mine.hits, mine.misses, tmp_path / "shown.h5", virtual=True))
    shown = prove(ReleaseRequest((tmp_path / "shown.h5",), mine.hits, mine.misses))
    assert f"{mine.misses}: is a file of the source itself ({mine.misses})" in shown.reasons


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


def test_the_catalogue_knows_where_the_run_is(hitsieve: Hitsieve, mine: Kept, tmp_path: Path) -> None:
    """Of several runs of a source that with all misses is meant, though another is later; results that are gone are
    none."""
    place = ("--catalogue", tmp_path / "catalogue.sqlite")
    unknown = hitsieve("release", mine.made.master, *place)
    assert (unknown.returncode, "knows no results of it that are there" in unknown.stderr) == (2, True)
    assert not place[1].exists()
    for folder, flags in ((mine.hits.parent, ("--misses", "keep", "--overwrite")), (tmp_path / "other", ())):
        done = hitsieve("run", mine.made.master, "-o", folder, *flags, *place)
        assert done.returncode == 0, done.stderr
    with Catalogue(place[1]) as catalogue:
        one = catalogue.part("").records[0][0]
        # As those that this user may not see, it cannot even be looked for.
        catalogue.add(one.model_copy(update={"id": "0" * 32, "place": str(tmp_path / ("x" * 300) / "a_summary.json")}))
    found = hitsieve("release", mine.made.master, *place, "--json")
    assert found.returncode == 0, found.stderr
    assert [file["path"] for file in json.loads(found.stdout)["kept"]] == [str(mine.hits), str(mine.misses)]
    shutil.rmtree(mine.hits.parent)
    other = hitsieve("release", mine.made.master, *place)
    assert (other.returncode, "only the hits are kept" in other.stderr) == (5, True)
    shutil.rmtree(tmp_path / "other")
    assert hitsieve("release", mine.made.master, *place).returncode == 2


def test_deleting_needs_a_terminal(mine: Kept) -> None:
    command = [HITSIEVE, "release", str(mine.made.master), "--run", str(mine.hits.parent), "--delete"]
    done = subprocess.run(command, input="delete 4 files\n", capture_output=True, text=True, check=False)
    assert (done.returncode, "must be typed at a terminal" in done.stderr) == (2, True)
    assert all(path.exists() for path in mine.sources)


@pytest.mark.parametrize("typed", ["yes", "delete 3 files"])
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
    ours, theirs = pty.openpty()
    command = [HITSIEVE, "release", mine.made.master, "--run", mine.hits.parent, "--delete", "--json"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=theirs, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stderr.readline() + process.stderr.readline() != ""
        os.write(ours, b"delete 4 files\n")
        out, said = process.communicate(timeout=240)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 0, said
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


def cut_off(kept: Kept) -> dict[str, Any]:
    """Prove, and let the deletion look as if the process had been killed in it; the proof."""
    assert prove(ReleaseRequest((kept.made.master,), kept.hits, kept.misses)).proof is not None
    proof = json.loads(kept.proof.read_text())
    kept.proof.write_text(json.dumps(proof | {"deletion": {"begun": proof["date"]}}))
    return dict(proof)


def test_a_deletion_that_was_cut_off_goes_on(hitsieve: Hitsieve, mine: Kept) -> None:
    proof = cut_off(mine)
    mine.made.data_files[0].unlink()
    namesake = mine.hits.with_name(mine.made.data_files[1].name)
    namesake.write_bytes(b"of another run")
    told = release(hitsieve, mine)
    assert (told.returncode, "1 of 4 files are deleted; 3 stay" in told.stderr) == (0, True), told.stderr
    request = ReleaseRequest((mine.made.master,), mine.hits, mine.misses)
    strange = json.loads(mine.proof.read_text())
    content = mine.proof.read_text()
    for path in (mine.hits, namesake):
        strange["files"][1] |= {"path": str(path)}
        mine.proof.write_text(json.dumps(strange))
        with pytest.raises(VerificationError, match="which is no file of this run"):
            begun_before(request)
    mine.proof.write_text(content)
    os.utime(mine.made.data_files[2], (1, 1))
    told = release(hitsieve, mine)
    assert (told.returncode, told.stdout) == (5, "")
    assert f"{mine.made.data_files[2]}: has changed since it was compared, and cannot be compared again" in told.stderr
    assert mine.made.data_files[1].exists()
    os.utime(mine.made.data_files[2], ns=(proof["files"][2]["modified"],) * 2)
    code, _, said = at_terminal(mine, "delete 3 files")
    assert (code, "4 of 4 files are deleted" in said) == (0, True), said


def test_kept_files_that_changed_stop_a_deletion_that_was_cut_off(mine: Kept) -> None:
    cut_off(mine)
    mine.made.data_files[0].unlink()
    flip_miss(mine)
    with pytest.raises(VerificationError, match=r"is not as it was when small_release.json was written"):
        begun_before(ReleaseRequest((mine.made.master,), mine.hits, mine.misses))


def test_a_file_that_changes_while_it_is_asked_for_stays(mine: Kept) -> None:
    changed = mine.made.data_files[1]
    code, _, said = at_terminal(mine, "delete 4 files", "--quiet", meanwhile=lambda: os.utime(changed, (1, 1)))
    assert code == 5
    assert f"of {mine.made.master}, type: delete 4 files\n" in said
    assert f"nothing was deleted: {changed}: has changed since it was compared" in said
    assert all(path.exists() for path in mine.sources)


def test_a_deletion_that_is_stopped_says_what_is_gone(mine: Kept) -> None:
    report = prove(ReleaseRequest((mine.made.master,), mine.hits, mine.misses))
    assert report.proof is not None

    def stop(done: int, total: int) -> None:
        assert total == 4
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        delete(report.proof, mine.proof, step=stop)
    assert [path.exists() for path in mine.sources] == [False, False, True, True]
    told = json.loads(mine.proof.read_text())["deletion"]
    assert told["deleted"] == [str(path) for path in mine.sources[:2]]
    assert told["left"] == {str(path): "the deletion ended before it" for path in mine.sources[2:]}
    before = begun_before(ReleaseRequest((mine.made.master,), mine.hits, mine.misses))
    assert before is not None
    done = delete(before, mine.proof, step=lambda n, of: os.utime(mine.made.master, (1, 1)))
    assert done.deletion is not None
    assert done.deletion.left == {str(mine.made.master): "has changed since it was compared"}
    assert [path.exists() for path in mine.sources] == [False, False, False, True]


def test_files_that_are_there_again_are_compared_again(mine: Kept, tmp_path: Path) -> None:
    request = ReleaseRequest((mine.made.master,), mine.hits, mine.misses)
    first = prove(request).proof
    assert first is not None
    shutil.copytree(mine.made.master.parent, tmp_path / "tape")
    delete(first, mine.proof)
    deleted = mine.proof.read_bytes()
    for path in mine.sources:
        shutil.copy2(tmp_path / "tape" / path.name, path)
    change_row(mine)
    assert begun_before(request) is None
    (reason,) = prove(request).reasons
    assert reason.startswith("/entry/detector/timestamp: differs from the source")
    assert mine.proof.read_bytes() == deleted


def test_no_proof_on_which_files_were_deleted_is_written_over(hitsieve: Hitsieve, mine: Kept, tmp_path: Path) -> None:
    first = prove(ReleaseRequest((mine.made.master,), mine.hits, mine.misses)).proof
    assert first is not None
    delete(first, mine.proof)
    deleted = json.loads(mine.proof.read_text())
    assert deleted["own_values"]
    restore(RestoreRequest(mine.hits, mine.misses, tmp_path / "back.h5"))
    done = hitsieve("release", tmp_path / "back.h5", "--run", mine.hits.parent)
    assert done.returncode == 0, done.stderr
    (earlier,) = mine.proof.parent.glob("small_release_*.json")
    assert json.loads(earlier.read_text()) == deleted
    assert f"the earlier proof, on which files were deleted, is now {earlier}" in done.stdout
    assert json.loads(mine.proof.read_text())["own_values"] == []


def test_what_is_left_of_deleted_files_is_not_written_over(hitsieve: Hitsieve, mine: Kept, tmp_path: Path) -> None:
    other = tmp_path / "copy" / mine.made.master.name
    shutil.copytree(mine.made.master.parent, other.parent)
    assert hitsieve("run", other, "-o", mine.hits.parent, "--misses", "keep", "--overwrite").returncode == 0
    first = prove(ReleaseRequest((mine.made.master,), mine.hits, mine.misses)).proof
    assert first is not None
    mine.proof.with_name("small_release_summary.json").write_text("{}")  # of a run called so: no proof
    delete(first, mine.proof)
    before = mine.hits.read_bytes(), mine.misses.read_bytes()
    done = hitsieve("run", other, "-o", mine.hits.parent, "--overwrite")
    assert done.returncode == 4
    assert "is what is left of raw files that were deleted (small_release.json)" in done.stderr
    mine.proof.rename(mine.proof.with_name("small_release_20260101T000000_2.json"))
    done = hitsieve("run", other, "-o", mine.hits.parent, "--overwrite")
    assert "deleted (small_release_20260101T000000_2.json)" in done.stderr
    assert (mine.hits.read_bytes(), mine.misses.read_bytes()) == before


def test_bytes_under_another_type_are_other_pixels(mine: Kept) -> None:
    for path in (mine.hits, mine.misses):
        with h5py.File(path, "r+") as file:
            old = file["entry/data/data"]
            stored = [old.id.read_direct_chunk((row, 0, 0))[1] for row in range(len(old))]
            labels, plist = dict(old.attrs), old.id.get_create_plist()
            space, signed = old.id.get_space(), old.dtype
            del file["entry/data/data"]
            other = np.dtype(f"u{signed.itemsize}" if signed.kind == "i" else f"i{signed.itemsize}")
            h5py.h5d.create(file["entry/data"].id, b"data", h5py.h5t.py_create(other), space, plist)
            made = file["entry/data/data"]
            for row, chunk in enumerate(stored):
                made.id.write_direct_chunk((row, 0, 0), chunk)
            made.attrs.update(labels)
    report = prove(ReleaseRequest((mine.made.master,), mine.hits, mine.misses))
    assert "image 0: its stored bytes are not packed as those of the source" in report.reasons


def test_what_hangs_on_the_files_is_told(mine: Kept) -> None:
    folder = mine.made.master.parent
    gain, second = folder / "gain.h5", folder / "second.nxs"
    with h5py.File(gain, "w") as file:
        file["gain"] = np.arange(5000.0)
    with h5py.File(mine.made.master, "r+") as file:
        file["entry/instrument/detector/gain"] = h5py.ExternalLink("gain.h5", "/gain")
        lengths = file.create_dataset("entry/lengths", (2,), dtype=h5py.vlen_dtype("i4"))
        lengths[0], lengths[1] = [1, 2, 3], [4]
    with h5py.File(second, "w") as file:
        file["entry/data/data_000001"] = h5py.ExternalLink(mine.made.data_files[0].name, "/entry/data/data")
    again = sieved(folder.parent / "again", mine.made)
    code, out, said = at_terminal(again, "no")
    assert code == 0, said
    assert f"these files link to others, which stay:\n\n{gain}\n" in out
    assert f"other files show something of these files, and lose it with them:\n\n{second}\n" in out
    assert f"others  {second}: shows something of these files" in said
    assert "one copy of it, on one disk" in out
    proof = json.loads(again.proof.read_text())
    assert (proof["linked"], proof["shown_by"]) == ([str(gain)], [str(second)])
    with h5py.File(gain, "r+") as file:
        file["gain"][7] = 1
    report = prove(ReleaseRequest((mine.made.master,), again.hits, again.misses))
    assert report.reasons == ("/entry/instrument/detector/gain: differs from the source",)


@pytest.mark.parametrize("style", ["vds-strided", "external", "single"])
def test_every_style_is_released(tmp_path: Path, style: str) -> None:
    made = simulate(tmp_path / "run", SimulateSettings.model_validate(SMALL | {"style": style}))
    here = sieved(tmp_path, made)
    report = prove(ReleaseRequest((made.master,), here.hits, here.misses))
    assert report.proof is not None, report.reasons
    assert [file.path for file in report.proof.files] == [str(path) for path in here.sources]
    assert (report.proof.n_bytes, report.proof.own_values) == (24, ())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "usage: hitsieve release SOURCE... [OPTIONS]"),
        (["a_master.h5"], "give --run, or --hits and --misses"),
        (["a_master.h5", "--run", "out", "--hits", "b_hits.h5"], "give --run, or --hits and --misses"),
        (["a_master.h5", "--run", "out", "--catalogue", "c.sqlite"], "--catalogue goes without --run"),
    ],
)
def test_wrong_usage(hitsieve: Hitsieve, arguments: list[str], says: str) -> None:
    done = hitsieve("release", *arguments)
    assert (done.returncode, says in done.stderr) == (2, True), done.stderr


@pytest.fixture(scope="module")
def scicat() -> Iterator[FakeSciCat]:
    with FakeSciCat() as server:
        yield server


class Registered:
    """The source, registered in SciCat by somebody else, as facilities do."""

    def __init__(self, server: FakeSciCat, kept: Kept) -> None:
        self.server = server
        self.client = SciCat(server.url, Credentials(user="user", password=SecretStr("secret")))
        folder = kept.made.master.parent
        dataset = {
            "type": "raw",
            "owner": "us",
            "ownerGroup": "p12345",
            "contactEmail": "us@example.org",
            "sourceFolder": str(folder),
            "creationTime": "2026-01-01T00:00:00Z",
            "datasetName": "small",
        }
        self.pid = self.client.post("/api/v4/datasets", dataset)["pid"]
        times = [datetime.fromtimestamp(path.stat().st_mtime, tz=timezone.utc).isoformat() for path in kept.sources]
        self.files = [
            {"path": path.name, "size": path.stat().st_size, "time": time}
            for path, time in zip(kept.sources, times, strict=True)
        ]

    def register(self, **archive: object) -> None:
        block = {"datasetId": self.pid, "chkAlg": "sha256", "size": sum(int(file["size"]) for file in self.files)}
        self.client.post("/api/v3/origdatablocks", block | {"dataFileList": self.files})
        state = {"archivable": False, "retrievable": True, "archiveStatusMessage": "datasetOnArchiveDisk"}
        self.client.patch(f"/api/v4/datasets/{quoted(self.pid)}", {"datasetlifecycle": state | archive})


@pytest.fixture
def on_tape(scicat: FakeSciCat, mine: Kept, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registered]:
    monkeypatch.setenv("HITSIEVE_SCICAT_USER", "user")
    monkeypatch.setenv("HITSIEVE_SCICAT_PASSWORD", "secret")
    mine.misses.unlink()
    registered = Registered(scicat, mine)
    with registered.client:
        yield registered


def test_files_on_tape_are_released(hitsieve: Hitsieve, mine: Kept, on_tape: Registered) -> None:
    on_tape.register()
    flags = ("--hits", str(mine.hits), "--scicat", on_tape.server.url)
    done = hitsieve("release", mine.made.master, *flags)
    assert done.returncode == 0, done.stderr
    assert f"says that all files are archived, in {on_tape.pid}" in done.stdout
    assert "can be deleted: 4 files" in done.stdout
    proof = json.loads(mine.proof.read_text())
    assert proof["archive"]["lifecycle"]["archiveStatusMessage"] == "datasetOnArchiveDisk"
    assert "secret" not in mine.proof.read_text() + done.stdout + done.stderr
    on_tape.server.store.packages.append({"datasetId": on_tape.pid, "dataFileList": on_tape.files[:-1]})
    done = hitsieve("release", mine.made.master, *flags, "--raw", on_tape.pid)
    assert (done.returncode, "is not in the packages that the archive made" in done.stderr) == (5, True)
    done = hitsieve("release", mine.made.master, "--hits", mine.hits)
    assert (done.returncode, "only the hits are kept" in done.stderr) == (5, True)


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ({"archivable": True}, "archivable is True, not False"),
        ({"retrievable": False}, "retrievable is False, not True"),
        ({"archiveStatusMessage": "scheduledForArchiving"}, "its archiveStatusMessage is scheduledForArchiving"),
        ({"size": 1}, "bytes, in SciCat 1"),
        ({"path": "other.h5"}, "small_data_000001.h5: is not among the files of"),
        ({"twice": True}, "small_data_000001.h5: is listed 2 times"),
        ({"time": "2020-01-01T00:00:00Z"}, "has changed since it was registered"),
        ({"chk": "0" * 64}, "is not the file that was registered: its sha256 is another"),
    ],
)
def test_what_scicat_does_not_say_is_refused(
    mine: Kept, on_tape: Registered, state: dict[str, object], says: str
) -> None:
    file = {name: value for name, value in state.items() if name in ("size", "path", "time", "chk")}
    on_tape.files[0] |= file
    on_tape.files += on_tape.files[:1] if "twice" in state else []
    on_tape.register(**({} if file or "twice" in state else state))
    report = release_from_tape(ReleaseRequest((mine.made.master,), mine.hits, None), on_tape.client)
    assert report.proof is None
    assert any(says in reason for reason in report.reasons), report.reasons
    assert not mine.proof.exists()


def test_folders_registered_by_another_name_are_the_same(mine: Kept, on_tape: Registered, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(mine.made.master.parent)
    top = {"sourceFolder": str(tmp_path / "data")}
    on_tape.client.patch(f"/api/v4/datasets/{quoted(on_tape.pid)}", top)
    on_tape.files[0]["chk"] = hashlib.sha256(mine.sources[0].read_bytes()).hexdigest()
    on_tape.register()
    request = ReleaseRequest((tmp_path / "data" / mine.made.master.name,), mine.hits, None)
    report = release_from_tape(request, on_tape.client)
    assert report.proof is not None, report.reasons
    assert [file.path for file in report.proof.files] == [str(path) for path in mine.sources]


def test_a_dataset_that_scicat_has_not_is_told(hitsieve: Hitsieve, mine: Kept, on_tape: Registered) -> None:
    other = mine.made.master.rename(mine.made.master.parent.parent / "small_master.h5")
    for path in mine.made.data_files:
        path.rename(other.parent / path.name)
    done = hitsieve("release", other, "--hits", mine.hits, "--scicat", on_tape.server.url)
    assert (done.returncode, "has no raw dataset that this account may read of" in done.stderr) == (6, True)
