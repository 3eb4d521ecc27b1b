"""Bad input: each ends in an exit code and one line naming file and mend, or in a state with its reason."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest

import hitsieve as api
from hitsieve.source import open_run
from hitsieve.testing import Simulated, SimulateSettings, simulate

from .conftest import HITSIEVE, SMALL, Hitsieve, Result
from .reading import SUFFIXES, Found, names, read

NAMES = {f"small{suffix}" for suffix in SUFFIXES}


@pytest.fixture(scope="module")
def whole(small: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """The answers on the undamaged run."""
    out = tmp_path_factory.mktemp("whole")
    api.run(small.master, output=out)
    return read(out, "small")


def assert_refused(result: Result, code: int, *says: str | Path) -> None:
    """One line on stderr, with the file, what is wrong, and the mend in parentheses; nothing on stdout."""
    assert result.returncode == code, result.stderr
    (line,) = [line for line in result.stderr.splitlines() if not line.startswith("hitsieve: warning: ")]
    assert line.startswith("hitsieve: error: ")
    for words in says:
        assert str(words) in line
    assert line.endswith(")") and "(" in line, "no mend"
    assert result.stdout == ""


def assert_as_before(found: Found, whole: Found, lost: set[int]) -> None:
    """Images that are not lost have the answers that they always had."""
    for image in set(range(found.summary.n_images)) - lost:
        assert found.state[image] == whole.state[image]
        assert np.array_equal(found.places(image), whole.places(image))
    with h5py.File(found.annotated) as file:
        assert (file["entry/hit_finding/n_spots"][()][sorted(lost)] == -1).all()
    for image in lost:
        assert len(found.places(image)) == 0
        assert found.table["reason"][image].as_py()
        assert found.table["n_spots"][image].as_py() is None
    summary = found.summary
    assert summary.n_hits + summary.n_misses == summary.n_images - len(lost)
    assert summary.n_unreadable + summary.n_missing == len(lost)


@pytest.mark.parametrize(("name", "content"), [("a.h5", b"no HDF5 " * 200), ("a.cbf", b"no CBF " * 200), ("a.h5", b"")])
def test_neither_hdf5_nor_image(hitsieve: Hitsieve, tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert_refused(hitsieve("run", path, "-o", tmp_path / "out"), 3, path)
    assert names(tmp_path) == {name}
    assert not (tmp_path / "out").exists()


def test_no_images(hitsieve: Hitsieve, mine: Simulated, tmp_path: Path) -> None:
    with h5py.File(mine.master, "r+") as file:
        del file["entry/data/data"], file["entry/instrument/detector/data"]
    assert_refused(hitsieve("run", mine.master, "-o", tmp_path / "out"), 3, mine.master, "no images")
    assert not (tmp_path / "out").exists()


def test_no_wavelength(hitsieve: Hitsieve, mine: Simulated, tmp_path: Path, whole: Found) -> None:
    with h5py.File(mine.master, "r+") as file:
        del file["entry/instrument/beam/incident_wavelength"]
    result = hitsieve("run", mine.master, "-o", tmp_path / "out")
    assert result.returncode == 0
    assert "states no wavelength (--set wavelength=ANGSTROM)" in result.stderr
    found = read(tmp_path / "out", "small")
    assert found.summary.facts.wavelength is None
    assert any("wavelength" in problem for problem in found.summary.problems)
    assert np.isnan(found.spots["resolution"]).all()
    assert np.isnan(found.column("resolution").astype(float)).all()
    assert found.summary.resolution_hits is None
    # Spots in ice bands count where no resolution is known: hits stay hits.
    assert set(whole.images("hit")) <= set(found.images("hit"))
    for path in (found.hits, found.annotated):
        with h5py.File(path) as file:
            assert "incident_wavelength" not in file["entry/instrument/beam"]
    refused = hitsieve("run", mine.master, "-o", tmp_path / "limits", "--d-min", "2")
    assert_refused(refused, 3, mine.master, "wavelength", "--set")
    mended = hitsieve("run", mine.master, "-o", tmp_path / "mended", "--set", "wavelength=1.0", "--json")
    assert json.loads(mended.stdout)["overrides"] == {"wavelength": "1.0"}
    assert_as_before(read(tmp_path / "mended", "small"), whole, set())


@pytest.mark.parametrize(("style", "lost"), [("vds", 0), ("vds", 3), ("external", 2), ("external", 3)])
def test_missing_data_file(hitsieve: Hitsieve, tmp_path: Path, whole: Found, style: str, lost: int) -> None:
    made = simulate(tmp_path / "run", SimulateSettings.model_validate(SMALL | {"style": style}))
    made.data_files[lost].unlink()
    result = hitsieve("run", made.master, "-o", tmp_path / "out", "--json")
    assert result.returncode == 0, result.stderr
    assert str(made.data_files[lost]) in result.stderr
    assert all(line.startswith("hitsieve: warning: ") for line in result.stderr.splitlines())
    found = read(tmp_path / "out", "small")
    assert json.loads(result.stdout) == found.summary.model_dump(mode="json")
    images = set(range(lost * 10, lost * 10 + 10))
    assert set(found.images("missing")) == images
    assert_as_before(found, whole, images)
    assert hitsieve("verify", found.hits, "--source", made.master).returncode == 0
    with h5py.File(found.annotated) as file:
        data = file["entry/data/data"]
        assert data.shape[0] == 40
        # What stands for an absent row of a signed type.
        assert (data[lost * 10] == np.iinfo(data.dtype).min).all()


def test_all_data_files_missing(hitsieve: Hitsieve, mine: Simulated, tmp_path: Path) -> None:
    for path in mine.data_files:
        path.unlink()
    assert_refused(hitsieve("run", mine.master, "-o", tmp_path / "out"), 3, mine.master, mine.data_files[0].name)
    assert not (tmp_path / "out").exists()


def test_images_that_no_file_is_mapped_to(hitsieve: Hitsieve, mine: Simulated, tmp_path: Path, whole: Found) -> None:
    with h5py.File(mine.master, "r+") as file:
        shape, dtype = file["entry/data/data"].shape, file["entry/data/data"].dtype
        del file["entry/data/data"]
        layout = h5py.VirtualLayout(shape, dtype)
        for number in (0, 2, 3):
            source = h5py.VirtualSource(mine.data_files[number].name, "/entry/data/data", (10, *shape[1:]), dtype)
            layout[number * 10 : number * 10 + 10] = source
        file["entry/data"].create_virtual_dataset("data", layout, fillvalue=0)
    with open_run([mine.master]) as opened:
        assert (opened.run.images.file[10:20] == -1).all()
    result = hitsieve("run", mine.master, "-o", tmp_path / "out", "--json")
    assert result.returncode == 0, result.stderr
    found = read(tmp_path / "out", "small")
    assert found.images("missing") == list(range(10, 20))
    assert_as_before(found, whole, set(range(10, 20)))
    for name in ("file", "row"):
        assert [value is None for value in found.table[name].to_pylist()] == [10 <= i < 20 for i in range(40)]
    with h5py.File(found.annotated) as file:
        assert (file["entry/hit_finding/source_file"][10:20] == -1).all()
        assert file["entry/data/data"].shape[0] == 40
    assert hitsieve("verify", found.hits, "--source", mine.master).returncode == 0


@pytest.mark.parametrize("style", ["vds", "external"])
def test_truncated_last_file(hitsieve: Hitsieve, tmp_path: Path, whole: Found, style: str) -> None:
    made = simulate(tmp_path / "run", SimulateSettings.model_validate(SMALL | {"style": style}))
    last = made.data_files[-1]
    os.truncate(last, last.stat().st_size // 2)
    result = hitsieve("run", made.master, "-o", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert str(last) in result.stderr and "truncated" in result.stderr
    found = read(tmp_path / "out", "small")
    assert found.images("unreadable") == list(range(30, 40))
    assert_as_before(found, whole, set(range(30, 40)))
    assert str(last) in found.table["reason"][35].as_py()


def chunk_of(master: Path, image: int) -> tuple[Path, int, int]:
    """File, offset and size of the stored bytes of an image."""
    with open_run([master]) as opened:
        run = opened.run
        return run.files[run.images.file[image]].path, int(run.images.offset[image]), int(run.images.size[image])


def overwrite(path: Path, at: int, new: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(new)


DAMAGE: dict[int, tuple[int | None, bytes]] = {
    # Overwritten in the middle.
    3: (None, b"\xff" * 400),
    # The size of the whole image.
    7: (0, b"\xff" * 8),
    8: (0, bytes(8)),
    # The length of the first block.
    14: (12, b"\xff\xff\xff\xff"),
    21: (12, b"\x00\x7f\xff\xff"),
    25: (12, bytes(4)),
    # The size of a block.
    30: (8, b"\xff\xff\xff\xff"),
    39: (8, b"\x7f\xff\xff\xff"),
}
"""Where each image is damaged (None: half way), and by what."""


@pytest.mark.parametrize("compression", ["bslz4", "bszstd", "lz4"])
def test_damaged_chunks(tmp_path: Path, whole: Found, compression: str) -> None:
    made = simulate(tmp_path / "run", SimulateSettings.model_validate(SMALL | {"compression": compression}))
    for image, (at, new) in DAMAGE.items():
        path, offset, size = chunk_of(made.master, image)
        overwrite(path, offset + (size // 2 if at is None else at), new)
    api.run(made.master, output=tmp_path / "out")
    found = read(tmp_path / "out", "small")
    # A block of plain LZ4 may be larger than the image: it is cut to it.
    lost = {image for image, (at, _) in DAMAGE.items() if (compression, at) != ("lz4", 8)}
    assert set(found.images("unreadable")) == lost
    assert_as_before(found, whole, lost)
    for image in lost:
        assert f"small_data_{image // 10 + 1:06d}.h5" in found.table["reason"][image].as_py()


def test_damaged_chunk_is_named_by_the_command(hitsieve: Hitsieve, mine: Simulated, tmp_path: Path) -> None:
    path, offset, _ = chunk_of(mine.master, 25)
    overwrite(path, offset, b"\xff" * 8)
    result = hitsieve("run", mine.master, "-o", tmp_path / "out")
    assert result.returncode == 0
    assert "unreadable  1\n" in result.stdout
    found = read(tmp_path / "out", "small")
    with h5py.File(found.annotated) as file:
        assert file["entry/hit_finding/reason_image"][()].tolist() == [25]
        assert file["entry/hit_finding/reason_text"].asstr()[0] == found.table["reason"][25].as_py()


@pytest.mark.parametrize("compression", ["bslz4", "bszstd", "lz4", "gzip"])
def test_flipped_bits_anywhere(tmp_path: Path, whole: Found, compression: str) -> None:
    """One flipped bit in each image: those that still decode have the answers of the pixels that h5py decodes."""
    made = simulate(tmp_path / "run", SimulateSettings.model_validate(SMALL | {"compression": compression}))
    random = np.random.default_rng(7)
    for path in made.data_files:
        with h5py.File(path) as file:
            data = file["entry/data/data"]
            chunks = [data.id.get_chunk_info(i) for i in range(len(data))]
        raw = bytearray(path.read_bytes())
        for chunk in chunks:
            at = chunk.byte_offset + int(random.integers(chunk.size))
            raw[at] ^= 1 << int(random.integers(8))
        path.write_bytes(raw)
    api.run(made.master, output=tmp_path / "out")
    found = read(tmp_path / "out", "small")
    repacked = tmp_path / "repacked.h5"
    shutil.copy(made.master, repacked)
    decoded = np.zeros((40, *found.summary.source.image_shape), dtype=np.int16)
    readable = []
    for image in set(range(40)) - set(found.images("unreadable")):
        with h5py.File(made.data_files[image // 10]) as file:
            try:
                decoded[image] = file["entry/data/data"][image % 10]
                readable.append(image)
            except OSError:
                # Bytes that HDF5's filter minds and that change no pixel.
                assert compression != "gzip"
    assert len(readable) >= 1
    with h5py.File(repacked, "r+") as file:
        del file["entry/data/data"]
        shape = decoded.shape[1:]
        file["entry/data"].create_dataset("data", data=decoded, chunks=(1, *shape), **hdf5plugin.Bitshuffle())
    api.run(repacked, output=tmp_path / "again")
    again = read(tmp_path / "again", "repacked")
    for image in readable:
        assert found.state[image] == again.state[image]
        assert np.array_equal(found.places(image), again.places(image))
    lost = len(found.images("unreadable"))
    assert found.summary.n_hits + found.summary.n_misses + lost == 40


def test_all_images_unreadable(hitsieve: Hitsieve, mine: Simulated, tmp_path: Path) -> None:
    for image in range(40):
        path, offset, _ = chunk_of(mine.master, image)
        overwrite(path, offset, b"\xff" * 16)
    result = hitsieve("run", mine.master, "-o", tmp_path / "out", "--json")
    assert_refused(result, 3, mine.master, "none of its 40 images could be read", "image 0")
    assert not (tmp_path / "out").exists()


def test_mask_of_the_wrong_shape(hitsieve: Hitsieve, small: Simulated, mine: Simulated, tmp_path: Path) -> None:
    np.save(tmp_path / "mask.npy", np.zeros((10, 20), dtype=np.uint8))
    out = tmp_path / "out"
    refused = hitsieve("run", small.master, "-o", out, "--mask", tmp_path / "mask.npy")
    assert_refused(refused, 3, tmp_path / "mask.npy", "(10, 20)", "(524, 514)")
    with h5py.File(mine.master, "r+") as file:
        detector = file["entry/instrument/detector"]
        del detector["pixel_mask"], detector["detectorSpecific/pixel_mask"]
        detector["pixel_mask"] = np.zeros((524, 513), dtype=np.uint32)
    assert_refused(hitsieve("run", mine.master, "-o", out), 3, mine.master, "(524, 513)", "(524, 514)")
    assert not out.exists()


def test_no_space_left(hitsieve: Hitsieve, small: Simulated, small_disk: Path) -> None:
    result = hitsieve("run", small.master, "-o", small_disk / "out", "--quiet")
    assert_refused(result, 4, small_disk / "out", "no space left", "--output")
    assert list(small_disk.iterdir()) == []


def test_read_only_folder(hitsieve: Hitsieve, small: Simulated, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    result = hitsieve("run", small.master, "-o", small_disk / "out", "--quiet")
    assert_refused(result, 4, small_disk / "out", "read-only", "--output")


WITHOUT_PRIVILEGE = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
"""Root, too, may write only where permissions say so."""


@pytest.fixture
def no_privilege() -> list[str]:
    """What to put before a command so that it must keep to permissions."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None or subprocess.run([*WITHOUT_PRIVILEGE, "true"], check=False).returncode:
        pytest.skip("root may write everywhere")
    return WITHOUT_PRIVILEGE


def test_no_permission_to_write(no_privilege: list[str], mine: Simulated) -> None:
    folder = mine.master.parent
    before = names(folder)
    folder.chmod(0o555)
    command = [*no_privilege, HITSIEVE, "run", str(mine.master), "-o", str(folder / "out"), "--quiet"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    folder.chmod(0o755)
    assert_refused(result, 4, folder, "permission denied", "--output")
    assert names(folder) == before


def test_no_permission_to_read(no_privilege: list[str], mine: Simulated, tmp_path: Path, whole: Found) -> None:
    out = tmp_path / "out"
    command = [*no_privilege, HITSIEVE, "run", str(mine.master), "-o", str(out)]
    mine.data_files[1].chmod(0)
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert f"{mine.data_files[1]}: no permission to read it" in result.stderr
    found = read(out, "small")
    assert found.images("unreadable") == list(range(10, 20))
    assert_as_before(found, whole, set(range(10, 20)))
    mine.master.chmod(0)
    result = subprocess.run([*command, "--overwrite"], capture_output=True, text=True, check=False)
    assert_refused(result, 3, mine.master, "no permission to read it")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_output_exists(hitsieve: Hitsieve, small: Simulated, tmp_path: Path, suffix: str) -> None:
    there = tmp_path / f"small{suffix}"
    there.write_bytes(b"mine")
    assert_refused(hitsieve("run", small.master, "-o", tmp_path), 4, there, "output exists", "--overwrite")
    assert names(tmp_path) == {there.name}
    assert there.read_bytes() == b"mine"


def test_failing_run_keeps_the_outputs_that_it_should_replace(
    hitsieve: Hitsieve, mine: Simulated, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert hitsieve("run", mine.master, "-o", out, "--quiet").returncode == 0
    before = {path: path.read_bytes() for path in out.iterdir()}
    for image in range(40):
        path, offset, _ = chunk_of(mine.master, image)
        overwrite(path, offset, b"\xff" * 16)
    assert hitsieve("run", mine.master, "-o", out, "--quiet", "--overwrite").returncode == 3
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    assert {path.name for path in before} == NAMES


def test_input_is_never_changed(hitsieve: Hitsieve, mine: Simulated) -> None:
    folder = mine.master.parent
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
    assert hitsieve("run", mine.master, "-o", folder, "--quiet").returncode == 0
    assert names(folder) == {path.name for path in before} | NAMES
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before} == before
