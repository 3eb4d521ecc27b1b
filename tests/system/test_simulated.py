"""Simulated runs go through the whole command: the answers are the truth."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.spatial import cKDTree
from scipy.stats import binomtest

from hitsieve.testing import Simulated, SimulateSettings, simulate
from hitsieve.write import Summary

from .conftest import SMALL, Hitsieve
from .reading import SUFFIXES, Found, names, read

CLEAR = 15
"""Spots with an snr of 6 or more that make a hit clear."""


@dataclass(frozen=True)
class Sieved:
    made: Simulated
    found: Found
    truth: pa.Table
    true_spots: pa.Table

    def true_places(self, image: int, least_snr: float) -> np.ndarray:
        here = self.true_spots["image"].to_numpy() == image
        here &= self.true_spots["snr"].to_numpy() >= least_snr
        return np.stack([self.true_spots[axis].to_numpy()[here] for axis in ("x", "y")], axis=1)


RUNS = {
    "small": SimulateSettings.model_validate(SMALL),
    "jungfrau-4m": SimulateSettings(name="jungfrau", images=30, hit_fraction=0.3, jet_stops=("10:14",), seed=8),
}


@pytest.fixture(scope="module", params=RUNS)
def sieved(request: pytest.FixtureRequest, hitsieve: Hitsieve, tmp_path_factory: pytest.TempPathFactory) -> Sieved:
    """A simulated run, sieved."""
    settings = RUNS[request.param]
    made = simulate(tmp_path_factory.mktemp(request.param), settings)
    out = tmp_path_factory.mktemp("out")
    result = hitsieve("run", made.master, "-o", out, "--quiet")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert names(out) == {f"{settings.name}{suffix}" for suffix in SUFFIXES}
    return Sieved(made, read(out, settings.name), pq.read_table(made.truth), pq.read_table(made.truth_spots))


def test_states_are_the_truth(sieved: Sieved) -> None:
    hits = np.array(sieved.truth["state"].to_pylist()) == "hit"
    clear = hits & (sieved.truth["n_spots_snr6"].to_numpy() >= CLEAR)
    called = np.array(sieved.found.state) == "hit"
    assert clear.sum() >= 5
    assert (~hits).sum() >= 15
    assert called[clear].all()
    assert not called[~hits].any()


def test_counts_add_up(sieved: Sieved) -> None:
    summary, counts = sieved.found.summary, Counter(sieved.found.state)
    assert (summary.n_hits, summary.n_misses) == (counts["hit"], counts["miss"])
    assert summary.n_hits + summary.n_misses + summary.n_unreadable + summary.n_missing == summary.n_images
    interval = binomtest(summary.n_hits, summary.n_images).proportion_ci(0.95, method="wilson")
    assert summary.hit_rate == summary.n_hits / summary.n_images
    assert summary.hit_rate_interval == pytest.approx((interval.low, interval.high))
    for path in (sieved.found.hits, sieved.found.annotated):
        with h5py.File(path) as file:
            process = file["entry/hit_finding"]
            assert process["hit_rate"][()] == summary.hit_rate
            assert process["hit_rate_interval"][()] == pytest.approx(summary.hit_rate_interval)


def test_summary_keeps_its_schema(sieved: Sieved) -> None:
    path = sieved.found.hits.parent / f"{sieved.found.summary.source.stem}_summary.json"
    told = json.loads(path.read_text())
    assert told["schema_version"] == "2.0"
    assert set(told) == set(Summary.model_fields)
    assert Summary.model_validate(told).model_dump(mode="json") == told


def test_table_is_the_annotated_master(sieved: Sieved) -> None:
    table = sieved.found.table
    with h5py.File(sieved.found.annotated) as file:
        process = file["entry/hit_finding"]
        names_of_states = {
            number: name.lower() for name, number in h5py.check_enum_dtype(process["state"].dtype).items()
        }
        assert [names_of_states[number] for number in process["state"][()]] == sieved.found.state
        elsewhere = ("image", "file", "row", "state", "reason", "pump", "lattices")
        for name in table.column_names:
            if name not in elsewhere:
                np.testing.assert_array_equal(process[name][()], table[name].to_numpy(), err_msg=name)
        starts, rows = process["lattices/offsets"][()], table["lattices"].to_pylist()
        lattices = {name: item[()] for name, item in process["lattices"].items()} | {
            "A": process["lattices/reciprocal_basis"][()],
            "cell": np.hstack([process[f"lattices/unit_cell_{name}"][()] for name in ("abc", "alphabetagamma")]),
        }
        for name in ("A", "cell", "n_indexed", "residual", "chance"):
            stored = lattices[name]
            told = [[np.reshape(lattice[name], stored.shape[1:]) for lattice in lattices or ()] for lattices in rows]
            assert [len(lattices) for lattices in told] == np.diff(starts).tolist()
            flat = [value for lattices in told for value in lattices]
            np.testing.assert_array_equal(np.array(flat).reshape(stored.shape), stored, err_msg=name)
        assert len(stored) > 0
        files = process["source_files"].asstr()[()]
        assert files[process["source_file"][()]].tolist() == table["file"].to_pylist()
        assert process["source_row"][()].tolist() == table["row"].to_pylist()
    assert set(table["file"].to_pylist()) == {str(path) for path in sieved.made.data_files}
    assert np.diff(sieved.found.offsets).tolist() == table["n_spots"].to_pylist()


def test_annotated_master_shows_all_images(sieved: Sieved) -> None:
    with h5py.File(sieved.made.master) as before, h5py.File(sieved.found.annotated) as after:
        assert after["entry/data/data"].shape == before["entry/data/data"].shape
        assert after["entry/data/data"].is_virtual
        for image in {0, 9, 10, len(before["entry/data/data"]) - 1}:
            assert np.array_equal(after["entry/data/data"][image], before["entry/data/data"][image])


def test_hits_have_the_spots_of_the_annotated_master(sieved: Sieved) -> None:
    found = sieved.found
    with h5py.File(found.hits) as file:
        images = file["entry/hit_finding/source_image"][()]
        peaks = {name: dataset[()] for name, dataset in file["entry/MX"].items()}
        assert images.tolist() == found.images("hit")
    assert peaks["nPeaks"].tolist() == [len(found.places(image)) for image in images]
    for row, image in enumerate(images):
        n = peaks["nPeaks"][row]
        for name, column, shift in (
            ("peakXPosRaw", "x", 0.5),
            ("peakYPosRaw", "y", 0.5),
            ("peakTotalIntensity", "intensity", 0.0),
            ("peakNPixels", "n_pixels", 0.0),
            ("peakMaximumValue", "peak", 0.0),
            ("peakSNR", "snr", 0.0),
        ):
            expected = found.spots_of(image, column).astype(np.float32) - np.float32(shift)
            assert np.array_equal(peaks[name][row, :n], expected), name
            assert not peaks[name][row, n:].any()


def test_spots_lie_where_the_crystal_put_them(sieved: Sieved) -> None:
    strong, near, ours = [], [], []
    for image in sieved.found.images("hit"):
        places = sieved.found.places(image)
        apart, _ = cKDTree(places).query(sieved.true_places(image, 10.0))
        strong += (apart < 1.5).tolist()
        apart, _ = cKDTree(sieved.true_places(image, 1.0)).query(places)
        near += (apart < 2.0).tolist()
        ours += apart[apart < 2.0].tolist()
    assert len(strong) > 100
    # Some lie in gaps or overlap.
    assert np.mean(strong) > 0.9
    assert np.mean(near) > 0.97
    assert np.median(ours) < 0.5


def test_background_is_the_truths(sieved: Sieved) -> None:
    true, found = sieved.truth["background"].to_numpy(), sieved.found.column("background")
    assert np.corrcoef(true, found)[0, 1] > 0.95


def test_audit_is_a_sample_of_the_misses(sieved: Sieved) -> None:
    found = sieved.found
    misses = found.images("miss")
    wanted = min(len(misses), max(20, math.ceil(0.01 * len(misses))))
    assert found.summary.audit.n == wanted
    with h5py.File(found.hits) as file, h5py.File(sieved.made.master) as source:
        audit = file["entry/hit_finding/audit"]
        images = audit["source_image"][()].tolist()
        assert len(set(images)) == wanted
        assert set(images) <= set(misses)
        assert audit["seed"][()] == found.summary.audit.seed
        for row in (0, wanted - 1):
            assert np.array_equal(audit["data"][row], source["entry/data/data"][images[row]])
            chunk = audit["data"].id.read_direct_chunk((row, 0, 0))[1]
            assert hashlib.sha256(chunk).hexdigest() == audit["sha256"][row].decode()


def test_outputs_are_small(sieved: Sieved) -> None:
    source = sum(path.stat().st_size for path in sieved.made.data_files)
    kept = len(sieved.found.images("hit")) + sieved.found.summary.audit.n
    assert sieved.found.hits.stat().st_size < 1.3 * source * kept / sieved.found.summary.n_images + 2e6
    assert sieved.found.annotated.stat().st_size < 0.3 * source


def test_one_and_three_workers_agree(sieved: Sieved, hitsieve: Hitsieve, tmp_path: Path) -> None:
    found = []
    for workers in (1, 3):
        out = tmp_path / str(workers)
        result = hitsieve("run", sieved.made.master, "-o", out, "--workers", str(workers), "--quiet")
        assert result.returncode == 0, result.stderr
        found.append(read(out, sieved.found.summary.source.stem))
        assert found[-1].summary.workers == workers
    one, three = found
    assert one.table.equals(three.table)
    assert one.table.equals(sieved.found.table)
    assert np.array_equal(one.offsets, three.offsets)
    for name, values in one.spots.items():
        np.testing.assert_array_equal(values, three.spots[name], err_msg=name)
    with h5py.File(one.hits) as a, h5py.File(three.hits) as b:
        for group in ("entry/hit_finding", "entry/hit_finding/audit"):
            for name in ("source_image", "source_row", "sha256", "verbatim"):
                assert np.array_equal(a[group][name][()], b[group][name][()])
        for name in a["entry/MX"]:
            assert np.array_equal(a["entry/MX"][name][()], b["entry/MX"][name][()])
    told = [one.summary.model_dump(), three.summary.model_dump()]
    for summary in told:
        for name in ("date", "seconds", "images_per_second", "workers", "settings"):
            del summary[name]
    assert told[0] == told[1]


def test_annotated_master_may_move_with_its_run(small: Simulated, hitsieve: Hitsieve, tmp_path: Path) -> None:
    run = tmp_path / "here"
    run.mkdir()
    for path in (small.master, *small.data_files):
        (run / path.name).write_bytes(path.read_bytes())
    assert hitsieve("run", run / small.master.name, "-o", run / "out", "--quiet").returncode == 0
    run.rename(tmp_path / "there")
    with h5py.File(small.master) as before, h5py.File(tmp_path / "there/out/small_annotated.h5") as after:
        assert np.array_equal(after["entry/data/data"][[0, 15, 39]], before["entry/data/data"][[0, 15, 39]])


def test_hits_can_be_sieved_again(sieved: Sieved, hitsieve: Hitsieve, tmp_path: Path) -> None:
    result = hitsieve("run", sieved.found.hits, "-o", tmp_path, "--quiet")
    assert result.returncode == 0, result.stderr
    again = read(tmp_path, sieved.found.hits.stem)
    assert set(again.state) == {"hit"}
    hits = sieved.found.images("hit")
    for row, image in enumerate(hits):
        assert np.array_equal(again.places(row), sieved.found.places(image))
