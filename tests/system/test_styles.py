"""However a run is stored, the answers are the same, and the hits come out as they went in."""

from __future__ import annotations

import hashlib
from itertools import product
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

import hitsieve
from hitsieve.testing import Simulated, SimulateSettings, simulate

from .conftest import Hitsieve
from .reading import Found, read

STYLES = ("vds", "vds-strided", "external", "single")
COMPRESSIONS = ("bslz4", "bszstd", "lz4", "gzip", "none")
TYPES = ("u8", "i8", "u16", "i16", "u32", "i32")
DIRECT = ("bslz4", "bszstd", "lz4")
"""Those that the core decodes by itself."""
# Spots of at most 127 counts, so that every type holds the same images.
PLAIN = {
    "name": "plain",
    "detector": "test-256k",
    "images": 24,
    "images_per_file": 10,
    "hit_fraction": 0.5,
    "intensities": "uniform-log",
    "photons": (20, 150),
    "spots": (10, 60),
    "hot_pixels": 0,
    "unmasked_hot_pixels": 0,
    "seed": 2,
}
NUMBERS = ("n_spots", "n_spots_counted", "n_spots_ice", "n_strong", "n_saturated", "max_count", "background")


def make(folder: Path, **changes: object) -> tuple[Simulated, Found]:
    """Simulate a run and sieve it."""
    made = simulate(folder / "run", SimulateSettings.model_validate(PLAIN | changes))
    hitsieve.run(made.master, output=folder / "out")
    return made, read(folder / "out", "plain")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """The answers, from a virtual dataset of bitshuffle-LZ4."""
    found = make(tmp_path_factory.mktemp("plain"))[1]
    assert 8 <= len(found.images("hit")) <= 16
    return found


def assert_same_answers(found: Found, expected: Found) -> None:
    assert found.state == expected.state
    for name in NUMBERS:
        np.testing.assert_array_equal(found.table[name].to_numpy(), expected.table[name].to_numpy(), err_msg=name)
    assert np.array_equal(found.offsets, expected.offsets)
    for name, values in expected.spots.items():
        np.testing.assert_array_equal(found.spots[name], values, err_msg=name)


def assert_hits_as_in_the_source(made: Simulated, found: Found, *, verbatim: bool) -> None:
    """Pixels by h5py, hashes, and bytes of the chunks where they were copied."""
    with h5py.File(found.hits) as after, h5py.File(made.master) as master:
        process = after["entry/hit_finding"]
        audit = process["audit"]
        for images, about in ((after["entry/data/data"], process), (audit["data"], audit)):
            files = process["source_files"].asstr()[()]
            datasets = process["source_datasets"].asstr()[()]
            assert about["verbatim"][()].tolist() == [verbatim] * len(images)
            for row, image in enumerate(about["source_image"][()]):
                number, place = about["source_file"][row], int(about["source_row"][row])
                stored = images.id.read_direct_chunk((row, 0, 0))[1]
                assert hashlib.sha256(stored).hexdigest() == about["sha256"][row].decode()
                with h5py.File(files[number]) as file:
                    source = file[datasets[number]]
                    assert images.dtype == source.dtype
                    assert np.array_equal(images[row], source[place])
                    if verbatim:
                        assert stored == source.id.read_direct_chunk((place, 0, 0))[1]
                    if "data" in master["entry/data"]:
                        assert np.array_equal(images[row], master["entry/data/data"][image])


def every(rows: tuple[str, ...], columns: tuple[str, ...], quick: set[str]) -> list[object]:
    """All pairs; those with nothing quick about them are long."""
    return [pytest.param(*p, marks=() if quick & set(p) else pytest.mark.long) for p in product(rows, columns)]


@pytest.mark.parametrize(("style", "compression"), every(STYLES, COMPRESSIONS, {"vds", "bslz4", "gzip"}))
def test_same_answers_however_stored(tmp_path: Path, plain: Found, style: str, compression: str) -> None:
    made, found = make(tmp_path, style=style, compression=compression)
    assert found.summary.source.style == {"vds-strided": "vds"}.get(style, style)
    assert (found.summary.source_bytes is None) == (compression not in DIRECT)
    assert_same_answers(found, plain)
    assert_hits_as_in_the_source(made, found, verbatim=compression != "none")
    report = hitsieve.verify(found.hits, made.master)
    assert report.ok and report.with_source
    assert (report.n_hits, report.n_audit) == (found.summary.n_hits, found.summary.audit.n)


@pytest.mark.parametrize(("dtype", "compression"), every(TYPES, ("bslz4", "lz4"), {"bslz4"}))
def test_same_answers_in_every_type(tmp_path: Path, plain: Found, dtype: str, compression: str) -> None:
    made, found = make(tmp_path, dtype=dtype, compression=compression)
    assert np.dtype(found.summary.source.dtype) == np.dtype(f"{dtype[0]}{int(dtype[1:]) // 8}")
    assert_same_answers(found, plain)
    assert_hits_as_in_the_source(made, found, verbatim=True)
    assert hitsieve.verify(found.hits, made.master).ok


@pytest.mark.parametrize("chunks", [(2, 524, 514), (1, 131, 257), (5, 100, 100), None])
@pytest.mark.parametrize("compression", ["bslz4", "none"])
def test_same_answers_in_any_chunks(
    tmp_path: Path, plain: Found, chunks: tuple[int, int, int] | None, compression: str
) -> None:
    made = simulate(tmp_path / "run", SimulateSettings.model_validate(PLAIN | {"images_per_file": 24}))
    packing = {"chunks": chunks}
    if compression == "bslz4" and chunks is not None:
        packing |= dict(bitshuffle())
    with h5py.File(made.data_files[0], "r+") as file:
        values = file["entry/data/data"][()]
        del file["entry/data/data"]
        file.create_dataset("entry/data/data", data=values, **packing)
    hitsieve.run(made.master, output=tmp_path / "out")
    found = read(tmp_path / "out", "plain")
    assert_same_answers(found, plain)
    assert_hits_as_in_the_source(made, found, verbatim=False)
    assert hitsieve.verify(found.hits, made.master).ok


def bitshuffle() -> dict[str, object]:
    import hdf5plugin

    return dict(hdf5plugin.Bitshuffle(cname="lz4"))


def test_one_image_in_two_dimensions(tmp_path: Path, plain: Found) -> None:
    hit = plain.images("hit")[0]
    made = simulate(tmp_path / "run", SimulateSettings.model_validate(PLAIN | {"style": "single"}))
    with h5py.File(made.master, "r+") as file:
        values = file["entry/data/data"][hit]
        del file["entry/data/data"], file["entry/detector"]
        file["entry/data/data"] = values
        for name in ("nimages", "ntrigger"):
            file[f"entry/instrument/detector/detectorSpecific/{name}"][...] = 1
    hitsieve.run(made.master, output=tmp_path / "out")
    found = read(tmp_path / "out", "plain")
    assert found.state == ["hit"]
    assert np.array_equal(found.places(0), plain.places(hit))
    with h5py.File(found.hits) as file:
        assert np.array_equal(file["entry/data/data"][0], values)


def test_modules_as_panels_find_the_same_hits(tmp_path: Path, plain: Found) -> None:
    _, found = make(tmp_path, modules=True)
    assert found.summary.facts.n_panels == 2
    assert found.state == plain.state
    assert found.table["n_strong"].equals(plain.table["n_strong"])


def test_the_command_says_the_same(tmp_path: Path, plain: Found, hitsieve: Hitsieve) -> None:
    flags = ["--name", "plain", "--detector", "test-256k", "--images", "24", "--images-per-file", "10"]
    flags += ["--hit-fraction", "0.5", "--intensities", "uniform-log", "--photons", "20", "150", "--spots", "10", "60"]
    flags += ["--hot-pixels", "0", "--unmasked-hot-pixels", "0", "--seed", "2", "--style", "vds-strided"]
    run, out = tmp_path / "run", tmp_path / "out"
    assert hitsieve("simulate", run, *flags, "--quiet").returncode == 0
    assert hitsieve("run", run / "plain_master.h5", "-o", out, "--quiet").returncode == 0
    found = read(out, "plain")
    assert_same_answers(found, plain)
    proven = hitsieve("verify", found.hits, "--source", run / "plain_master.h5")
    assert proven.returncode == 0
    assert "agree with their hashes and the source" in proven.stdout
    truth = pq.read_table(run / "plain_truth.parquet")
    assert [state == "hit" for state in truth["state"].to_pylist()] == [state == "hit" for state in found.state]
