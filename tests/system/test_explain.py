"""`hitsieve explain` as a user calls it."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from matplotlib.image import imread

from hitsieve.testing import Simulated

from .conftest import Hitsieve
from .reading import read


@pytest.fixture(scope="module")
def out(hitsieve: Hitsieve, small: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outputs of the small run."""
    folder = tmp_path_factory.mktemp("out")
    assert hitsieve("run", small.master, "-o", folder, "--min-spots", "9", "--quiet").returncode == 0
    return folder


def size_of(picture: Path) -> tuple[int, ...]:
    return imread(io.BytesIO(picture.read_bytes()), format="png").shape[:2]


def test_a_hit(hitsieve: Hitsieve, out: Path, tmp_path: Path) -> None:
    found = read(out, "small")
    image = found.images("hit")[1]
    result = hitsieve("explain", out, image, "-o", tmp_path / "new" / "why.png")
    assert result.returncode == 0, result.stderr
    first, headline, *_ = result.stdout.splitlines()
    assert first == f"image {image} of small"
    assert headline.startswith(f"hit: {found.column('n_spots_counted')[image]} spots count, 9 are enough")
    assert size_of(tmp_path / "new" / "why.png") == (1000, 1600)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["why.png"]


def test_a_miss_as_json_from_any_output(hitsieve: Hitsieve, out: Path, tmp_path: Path) -> None:
    found = read(out, "small")
    image = found.images("miss")[-1]
    result = hitsieve("explain", out / "small_images.parquet", image, "--json", "-o", tmp_path / "m.png")
    assert result.returncode == 0, result.stderr
    data = json.loads(result.stdout)
    assert (data["state"], data["image"], data["hit"]) == ("miss", image, None)
    assert data["n_spots_counted"] == found.column("n_spots_counted")[image]
    assert data["rule"]["min_spots"] == 9
    assert data["picture"] == str(tmp_path / "m.png")
    assert size_of(tmp_path / "m.png") == (1000, 1600)


def test_an_image_of_the_hit_only_file(hitsieve: Hitsieve, out: Path) -> None:
    found = read(out, "small")
    with h5py.File(found.hits) as file:
        image = int(file["entry/hit_finding/source_image"][3])
    result = hitsieve("explain", found.hits, "3", "--hit", "--no-picture")
    assert result.returncode == 0, result.stderr
    assert f"image {image} of small" in result.stdout
    assert "row 3 of small_hits.h5" in result.stdout


def test_the_picture_is_named_after_run_and_image(
    hitsieve: Hitsieve, process: Hitsieve, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A home folder that cannot be written, as in containers and batch jobs, is nothing to warn of.
    (tmp_path / "home").touch()
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path / "home" / "matplotlib"))
    first = process("explain", out, "0", "--quiet", cwd=tmp_path)
    assert (first.returncode, first.stdout, first.stderr) == (0, "", "")
    picture = tmp_path / "small_0.png"
    before = picture.read_bytes()
    again = hitsieve("explain", out, "0", cwd=tmp_path)
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.startswith("image 0 of small\n")
    assert picture.read_bytes() == before
    (tmp_path / "pictures").mkdir()
    assert hitsieve("explain", out, "0", "--quiet", "-o", "pictures", cwd=tmp_path).returncode == 0
    assert (tmp_path / "pictures" / "small_0.png").read_bytes() == before


def test_no_file_but_a_picture_of_its_own_is_replaced(hitsieve: Hitsieve, out: Path, tmp_path: Path) -> None:
    """The words are given all the same."""
    mine = tmp_path / "mine.png"
    mine.write_bytes(b"\x89PNG\r\n\x1a\nsomebody else's")
    refused = hitsieve("explain", out, "0", "-o", mine)
    assert refused.returncode == 4
    assert "mine.png: exists, and is no picture that hitsieve explain drew (give --overwrite, or" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert "image 0 of small\n" in refused.stdout
    assert "picture" not in refused.stdout
    assert mine.read_bytes().endswith(b"else's")
    as_data = hitsieve("explain", out, "0", "-o", mine, "--json")
    assert (as_data.returncode, json.loads(as_data.stdout)["picture"]) == (4, None)
    assert hitsieve("explain", out, "0", "-o", mine, "--overwrite", "--quiet").returncode == 0
    assert size_of(mine) == (1000, 1600)


def test_unreadable_and_missing_images(hitsieve: Hitsieve, mine: Simulated, tmp_path: Path) -> None:
    with h5py.File(mine.data_files[1], "r+") as file:
        data = file["entry/data/data"]
        stored = data.id.read_direct_chunk((2, 0, 0))[1]
        data.id.write_direct_chunk((2, 0, 0), stored[: len(stored) // 2])
    mine.data_files[3].unlink()
    out = tmp_path / "out"
    assert hitsieve("run", mine.master, "-o", out, "--quiet").returncode == 0
    unreadable = hitsieve("explain", out, "12", "-o", tmp_path / "a.png")
    assert unreadable.returncode == 0, unreadable.stderr
    assert "\nunreadable: " in unreadable.stdout
    assert "small_data_000002.h5, /entry/data/data, row 2" in unreadable.stdout
    missing = hitsieve("explain", out, "35", "-o", tmp_path / "a.png", "--json")
    data = json.loads(missing.stdout)
    assert data["state"] == "missing"
    assert "small_data_000004.h5" in data["reason"]
    assert data["picture"] is None
    assert not (tmp_path / "a.png").exists()


def test_a_run_that_has_moved(hitsieve: Hitsieve, mine: Simulated, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert hitsieve("run", mine.master, "-o", out, "--quiet").returncode == 0
    moved = tmp_path / "elsewhere"
    shutil.move(mine.master.parent, moved)
    picture = tmp_path / "a.png"
    lost = hitsieve("explain", out, "0", "-o", picture)
    assert lost.returncode == 3
    assert lost.stdout == ""
    assert "small_master.h5: there is no such file (name the original run with --source)" in lost.stderr
    assert not picture.exists()
    assert hitsieve("explain", out, "0", "--no-picture").returncode == 0
    found = hitsieve("explain", out, "0", "-o", picture, "--source", moved / mine.master.name)
    assert found.returncode == 0, found.stderr
    assert picture.exists()


def test_no_geometry(hitsieve: Hitsieve, data_dir: Path, tmp_path: Path) -> None:
    module = data_dir / "images" / "sls_jungfrau_module.h5"
    assert hitsieve("run", module, "-o", tmp_path, "--quiet").returncode == 0
    result = hitsieve("explain", tmp_path, "0", "-o", tmp_path / "a.png", "--json")
    assert result.returncode == 0, result.stderr
    data = json.loads(result.stdout)
    assert data["resolution"] is None
    assert data["lattices"] is None
    assert data["differs"] == ""
    assert size_of(tmp_path / "a.png") == (1000, 1600)


def test_stacked_panels(hitsieve: Hitsieve, data_dir: Path, tmp_path: Path) -> None:
    cspad = data_dir / "images" / "lcls_cxi_thermolysin_cspad.h5"
    indexing = ("--cell", "92.9,92.9,130.4,90,90,120")
    assert hitsieve("run", cspad, "-o", tmp_path, "--quiet", *indexing).returncode == 0
    result = hitsieve("explain", tmp_path, "1", "-o", tmp_path / "a.png", "--json")
    assert result.returncode == 0, result.stderr
    data = json.loads(result.stdout)
    assert data["differs"] == ""
    assert np.isfinite(data["resolution"])
    assert size_of(tmp_path / "a.png") == (1000, 1600)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["{out}", "40"], 3, "has no image 40, only 40 (count from 0)"),
        (["{out}", "-1"], 3, "has no image -1, only 40"),
        (["{out}", "500", "--hit"], 3, "has no hit 500, only"),
        (["{out}", "first"], 2, "first"),
        (["{out}"], 2, "explain needs RUN IMAGE"),
        (["{out}/nothing", "0"], 3, "nothing: there is no such file or folder"),
        (["{out}", "0", "-o", "{out}/small_hits.h5"], 2, "small_hits.h5: the picture is a PNG file (give a name that"),
        (["{out}", "0", "-o", "{out}/a.jpg"], 2, "a.jpg: the picture is a PNG file"),
        (["{out}", "0", "-o", "{out}/none/"], 2, "none: the picture is a PNG file"),
        (["{out}", "0", "-o", "/proc/nothing/a.png", "--quiet"], 4, "/proc/nothing: cannot be written"),
    ],
)
def test_refusals(hitsieve: Hitsieve, out: Path, arguments: list[str], code: int, said: str) -> None:
    result = hitsieve("explain", *(argument.format(out=out) for argument in arguments))
    assert result.returncode == code, result.stderr
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert len(list(out.iterdir())) == 4


def test_a_full_disk_leaves_nothing(hitsieve: Hitsieve, out: Path, small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(bytes(480 * 1024))
    result = hitsieve("explain", out, "0", "-o", small_disk / "a.png")
    assert result.returncode == 4
    assert "no space left on device" in result.stderr
    assert [path.name for path in small_disk.iterdir()] == ["filler"]
