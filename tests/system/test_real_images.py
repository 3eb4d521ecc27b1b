"""Measured images go through the whole command: flags agree with their labels, spots with DIALS'."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.spatial import cKDTree

from hitsieve.source import open_run
from hitsieve.testing.lists import IMAGE_FILES

from .conftest import Hitsieve
from .reading import Found, read

DIALS_SPOTS = {
    "i24_thaumatin_pilatus3_6m": "thaumatin_i24",
    "dls_i03_pilatus3_6m": "i03_pilatus3_6m",
    "dls_i23_pilatus_12m": "i23_pilatus_12m",
    "dls_thaumatin_eiger2_4mroi": "thaumatin_eiger2",
    "lcls_cxi_thermolysin_cspad": "thermolysin_cspad",
}

COUNTED = tuple(name for name in IMAGE_FILES if name not in ("lcls_cxi_thermolysin_cspad", "sls_jungfrau_module_raw"))
"""Files with DIALS' number of spots; DIALS was told a threshold of four photons on the CSPAD's."""


@dataclass(frozen=True)
class Label:
    source_image: str
    by_eye: str
    dials_spots: int | None


def labels(data_dir: Path, name: str) -> list[Label]:
    with (data_dir / "labels" / "images.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["file"] == f"{name}.h5"]
    assert [int(row["index"]) for row in rows] == list(range(len(rows)))
    return [
        Label(row["source_image"], row["label_by_eye"], int(row["dials_spots"]) if row["dials_spots"] else None)
        for row in rows
    ]


Sieve = Callable[[str], Found]


@pytest.fixture(scope="module")
def sieve(data_dir: Path, hitsieve: Hitsieve, tmp_path_factory: pytest.TempPathFactory) -> Sieve:
    """Sieve a file of measured images, once."""
    done: dict[str, Found] = {}

    def run(name: str) -> Found:
        if name not in done:
            out = tmp_path_factory.mktemp(name)
            result = hitsieve("run", data_dir / "images" / f"{name}.h5", "-o", out, "--json")
            assert result.returncode == 0, result.stderr
            done[name] = read(out, name)
            assert json.loads(result.stdout) == done[name].summary.model_dump(mode="json")
            assert all(line.startswith("hitsieve: warning: ") for line in result.stderr.splitlines())
        return done[name]

    return run


def test_all_files_are_tried(data_dir: Path) -> None:
    assert sorted(path.stem for path in (data_dir / "images").glob("*.h5")) == sorted(IMAGE_FILES)


@pytest.mark.parametrize("name", IMAGE_FILES)
def test_flags_agree_with_the_labels(sieve: Sieve, name: str, data_dir: Path) -> None:
    found = sieve(name)
    known = labels(data_dir, name)
    with h5py.File(data_dir / "images" / f"{name}.h5") as file:
        stack = file["entry/data/data"] if "entry/data/data" in file else file["raw"]
        assert found.summary.n_images == len(stack)
    for image, label in enumerate(known):
        if label.by_eye.startswith("hit"):
            assert found.state[image] == "hit", label
        elif label.by_eye == "blank":
            assert found.state[image] == "miss", label
        else:
            assert label.by_eye == "few_spots"
            assert found.state[image] in ("hit", "miss")
    assert (name == "sls_jungfrau_module_raw") == (not known)
    counts = Counter(found.state)
    summary = found.summary
    assert (summary.n_hits, summary.n_misses) == (counts["hit"], counts["miss"])
    assert summary.n_unreadable == summary.n_missing == 0


@pytest.mark.parametrize("name", COUNTED)
def test_numbers_of_spots_are_near_those_of_dials(sieve: Sieve, name: str, data_dir: Path) -> None:
    found = sieve(name)
    n_spots = found.column("n_spots")
    for image, label in enumerate(labels(data_dir, name)):
        if label.dials_spots is None:
            continue
        if label.dials_spots > 100:
            assert n_spots[image] == pytest.approx(label.dials_spots, rel=0.35), label
        elif label.by_eye.startswith("hit"):
            assert n_spots[image] == pytest.approx(label.dials_spots, rel=0.5), label
        else:
            assert n_spots[image] == pytest.approx(label.dials_spots, abs=4), label


def dials_spots(data_dir: Path, name: str) -> dict[str, np.ndarray]:
    """Rows (x, y, d, intensity) by source image, x and y in the whole image."""
    with open_run([data_dir / "images" / f"{name}.h5"]) as opened:
        first = [panel.first for panel in opened.run.detector.panels]
    spots: dict[str, list[tuple[float, ...]]] = {}
    with (data_dir / "spots" / f"{DIALS_SPOTS[name]}.csv").open() as file:
        for row in csv.DictReader(file):
            slow, fast = first[int(row["panel"])] if len(first) > 1 else (0, 0)
            place = (float(row["x_px"]) + fast, float(row["y_px"]) + slow)
            spots.setdefault(row["image"], []).append((*place, float(row["d_A"]), float(row["intensity"])))
    return {image: np.array(rows) for image, rows in spots.items()}


@pytest.mark.parametrize("name", DIALS_SPOTS)
def test_strong_spots_of_dials_are_found_where_they_are(sieve: Sieve, name: str, data_dir: Path) -> None:
    found = sieve(name)
    theirs = dials_spots(data_dir, name)
    compared = 0
    for image, label in enumerate(labels(data_dir, name)):
        if not label.by_eye.startswith("hit"):
            continue
        spots = theirs[label.source_image]
        strong = spots[spots[:, 3] > np.median(spots[:, 3])]
        apart, nearest = cKDTree(found.places(image)).query(strong[:, :2])
        same = apart < 1.5
        assert same.mean() > 0.9, label
        ours = found.places(image)[nearest[same]]
        assert np.abs(np.median(ours - strong[same, :2], axis=0)).max() < 0.1
        d = found.spots_of(image, "resolution")[nearest[same]]
        # DIALS corrects for the depth at which photons are absorbed.
        assert np.quantile(np.abs(d / strong[same, 2] - 1), 0.95) < 5e-3, label
        compared += len(d)
    assert compared > 50


@pytest.mark.parametrize("name", IMAGE_FILES)
def test_hits_hold_the_images_of_the_source(sieve: Sieve, name: str, data_dir: Path, hitsieve: Hitsieve) -> None:
    found = sieve(name)
    source = data_dir / "images" / f"{name}.h5"
    hits = found.images("hit")
    with h5py.File(source) as before, h5py.File(found.hits) as after:
        stack = before["entry/data/data"] if "entry/data/data" in before else before["raw"]
        assert after["entry/hit_finding/source_image"][()].tolist() == hits
        for row, image in list(enumerate(hits))[:3]:
            assert np.array_equal(after["entry/data/data"][row], stack[image])
    proven = hitsieve("verify", found.hits, "--source", source)
    assert proven.returncode == 0, proven.stderr
