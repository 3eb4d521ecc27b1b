"""What was written can be read back: any image, any column, and nothing that is not of one run."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields, replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import fetch, make_pump, make_results, make_run, make_summary, opened, write_run

from hitsieve.errors import SourceError
from hitsieve.model import ImageResults, Lattices, Spots
from hitsieve.pipeline.reopen import reopen
from hitsieve.settings import RunSettings, WriteSettings
from hitsieve.write import Outputs, RunWriter, open_results

HITS = [2, 3, 9, 17, 23]


def assert_same(found: ImageResults, wanted: ImageResults) -> None:
    for field in fields(ImageResults):
        a, b = getattr(found, field.name), getattr(wanted, field.name)
        if field.name in ("spots", "lattices"):
            for part in fields(Spots if field.name == "spots" else Lattices):
                assert getattr(a, part.name).dtype == getattr(b, part.name).dtype, part.name
                np.testing.assert_array_equal(getattr(a, part.name), getattr(b, part.name), part.name)
        elif field.name == "reasons":
            assert a == b
        else:
            assert a.dtype == b.dtype, field.name
            np.testing.assert_array_equal(a, b, field.name)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stored")
    master = make_run(folder / "in", "vds")
    (folder / "in" / "test_data_000002.h5").rename(folder / "in" / "gone.h5")
    with opened(master) as source:
        source.run = replace(source.run, pump=make_pump(24))
        write_run(source, folder / "out", [2, 3, 17, 23])
    return folder


def expected(folder: Path, start: int = 0, stop: int = 24) -> ImageResults:
    with opened(folder / "in" / "test_master.h5") as source:
        run = replace(source.run, pump=make_pump(24))
    return make_results(run, [2, 3, 17, 23], start, stop, dict(run.images.missing))


@pytest.mark.parametrize("kind", ["hits", "annotated", "images", "summary", "folder"])
def test_any_output_names_the_run(run_folder: Path, kind: str) -> None:
    outputs = Outputs.of(run_folder / "out", "test")
    path = run_folder / "out" if kind == "folder" else getattr(outputs, kind)
    with open_results(path) as stored:
        assert stored.outputs == outputs
        assert len(stored) == 24
        assert stored.summary.n_hits == 4
        assert stored.settings.write.audit_min == 3
        assert stored.source_paths == (run_folder / "in" / "test_master.h5",)
        assert [path.name for path in stored.source_files] == [f"test_data_{k:06d}.h5" for k in (1, 2, 3)]
        assert stored.pump is not None and stored.pump.names == ("dark", "light 1ms")
        assert stored.pump.origin == "pattern"
        assert_same(stored.read(np.arange(24)), expected(run_folder))


def test_columns_are_those_of_the_results(run_folder: Path) -> None:
    whole = expected(run_folder)
    assert len(whole.reasons) == 8
    with open_results(run_folder / "out") as stored:
        for field in fields(ImageResults):
            wanted = getattr(whole, field.name)
            if isinstance(wanted, np.ndarray) and "offsets" not in field.name:
                found = stored.column(field.name)
                assert found.dtype == wanted.dtype
                assert h5py.check_enum_dtype(found.dtype) is None
                np.testing.assert_array_equal(found, wanted)
        assert stored.column("source_row").tolist() == [*range(8)] * 3
        with pytest.raises(ValueError, match="no column offsets"):
            stored.column("offsets")


@pytest.fixture(scope="module")
def whole(run_folder: Path) -> ImageResults:
    """All of the run."""
    return expected(run_folder)


@given(st.lists(st.integers(0, 23), max_size=40))
def test_images_in_any_order(run_folder: Path, whole: ImageResults, images: list[int]) -> None:
    with open_results(run_folder / "out") as stored:
        found = stored.read(images)
    assert found.image.tolist() == images
    np.testing.assert_array_equal(found.n_indexed, whole.n_indexed[images])
    assert found.reasons == {image: why for image, why in whole.reasons.items() if image in images}
    for place, image in enumerate(images):
        for part in fields(Spots):
            a, b = found.spots_of(place), whole.spots_of(image)
            np.testing.assert_array_equal(getattr(a, part.name), getattr(b, part.name))
        for part in fields(Lattices):
            c, d = found.lattices_of(place), whole.lattices_of(image)
            np.testing.assert_array_equal(getattr(c, part.name), getattr(d, part.name))


def test_images_outside_the_run_are_refused(run_folder: Path) -> None:
    with open_results(run_folder / "out") as stored:
        for image in (-1, 24):
            with pytest.raises(SourceError, match=rf"has no image {image}, only 24"):
                stored.read(image)


def _two_runs(folder: Path) -> tuple[Outputs, Outputs]:
    with opened(make_run(folder / "in", "vds")) as source:
        return write_run(source, folder / "a", HITS), write_run(source, folder / "b", HITS)


def test_what_is_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file or folder"):
        open_results(tmp_path / "absent")
    with pytest.raises(SourceError, match="holds no outputs"):
        open_results(tmp_path)
    outputs, other = _two_runs(tmp_path)
    with pytest.raises(SourceError, match="is not an output of hitsieve run"):
        open_results(tmp_path / "in" / "test_master.h5")
    shutil.copy(other.summary, tmp_path / "a" / "more_summary.json")
    with pytest.raises(SourceError, match=r"outputs of 2 runs .*more_summary"):
        open_results(tmp_path / "a")
    assert len(open_results(outputs.hits)) == 24
    outputs.annotated.unlink()
    with pytest.raises(SourceError, match=r"test_annotated\.h5: is absent"):
        open_results(outputs.summary)
    other.summary.unlink()
    with pytest.raises(SourceError, match=r"test_summary\.json: is absent"):
        open_results(tmp_path / "b")


@pytest.mark.parametrize("kind", ["annotated", "hits", "summary"])
def test_files_of_different_runs_are_refused(tmp_path: Path, kind: str) -> None:
    outputs, other = _two_runs(tmp_path)
    values = json.loads(other.summary.read_text())
    values["date"] = "2027-01-01T00:00:00Z"
    other.summary.write_text(json.dumps(values))
    for name in ("annotated", "hits"):
        with h5py.File(getattr(other, name), "r+") as handle:
            del handle["entry/hit_finding/date"]
            handle["entry/hit_finding/date"] = "2027-01-01T00:00:00+00:00"
    shutil.copy(getattr(other, kind), getattr(outputs, kind))
    with pytest.raises(SourceError, match=r"is not of the same run as test_summary\.json"):
        open_results(tmp_path / "a")


def test_outputs_of_an_older_version_are_refused(tmp_path: Path) -> None:
    outputs, other = _two_runs(tmp_path)
    text = outputs.summary.read_text()
    outputs.summary.write_text(text.replace('"schema_version": "2.0"', '"schema_version": "1.0"'))
    with pytest.raises(SourceError, match=r"version 1\.0 of the schema.*run hitsieve run again"):
        open_results(outputs.summary)
    with h5py.File(other.annotated, "r+") as handle:
        handle.move("entry/hit_finding/lattices/reciprocal_basis", "entry/hit_finding/lattices/A")
    with pytest.raises(SourceError, match="older version"):
        open_results(tmp_path / "b")
    with h5py.File(other.annotated, "r+") as handle:
        del handle["entry/hit_finding/lattices"]
    with pytest.raises(SourceError, match="older version"):
        open_results(tmp_path / "b")
    outputs.summary.write_text('{"schema_version": "2.0"}')
    with pytest.raises(SourceError, match="not a summary"):
        open_results(outputs.summary)
    outputs.summary.write_text("{")
    with pytest.raises(SourceError, match="not JSON"):
        open_results(outputs.summary)


def test_damage_is_told(tmp_path: Path) -> None:
    outputs, _ = _two_runs(tmp_path)
    whole = outputs.annotated.read_bytes()
    outputs.annotated.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=r"test_annotated\.h5: is truncated"):
        open_results(outputs.annotated)


@pytest.mark.parametrize("style", ["vds", "strided", "external", "single"])
def test_run_is_opened_again(tmp_path: Path, style: str) -> None:
    with opened(make_run(tmp_path / "in", style)) as source:
        source.run = replace(source.run, pump=make_pump(24))
        write_run(source, tmp_path / "out", HITS)
        chunk = source.stored(9)
    with open_results(tmp_path / "out") as stored, reopen(stored) as again:
        assert again.stored(9) == chunk
        assert again.run.stem == "test"
        assert again.run.pump is not None and again.run.pump.code.tolist() == make_pump(24).code.tolist()
    (tmp_path / "in").rename(tmp_path / "moved")
    with open_results(tmp_path / "out") as stored:
        with pytest.raises(SourceError, match="no such file"):
            reopen(stored)
        with reopen(stored, [tmp_path / "moved" / "test_master.h5"]) as again:
            assert again.stored(9) == chunk


def test_several_files_are_opened_again_together(tmp_path: Path) -> None:
    from hitsieve.source import open_run

    make_run(tmp_path / "in", "vds")
    parts = [tmp_path / "in" / f"test_data_{k:06d}.h5" for k in (3, 1)]
    with open_run(parts) as source:
        write_run(source, tmp_path / "out", [2, 12])
        chunk = source.stored(12)
    with open_results(tmp_path / "out") as stored, reopen(stored) as again:
        assert stored.source_paths == tuple(parts)
        assert again.stored(12) == chunk


def test_another_run_is_refused(tmp_path: Path) -> None:
    with opened(make_run(tmp_path / "in", "vds")) as source:
        write_run(source, tmp_path / "out", HITS)
    shorter = make_run(tmp_path / "shorter", "vds", n=12)
    strided = make_run(tmp_path / "strided", "strided")
    with open_results(tmp_path / "out") as stored:
        with pytest.raises(SourceError, match=r"has 12 images, the results .* are of 24"):
            reopen(stored, [shorter])
        with pytest.raises(SourceError, match="is another run"):
            reopen(stored, [strided])


def test_long_runs_are_read_where_asked(tmp_path: Path) -> None:
    """Images far apart in columns of many chunks, and lattices over more than one block."""
    n = 20_000
    with opened(make_run(tmp_path / "in", "single", n=n)) as source:
        run = source.run
        settings = RunSettings(write=WriteSettings(output=tmp_path / "out", audit_min=0, audit_fraction=0))
        hits = list(range(0, n, 5))
        results = make_results(run, hits, 0, n)
        with RunWriter(run, settings) as writer:
            for start in range(0, n, 3000):
                stop = min(start + 3000, n)
                chosen = {i: fetch(source, i) for i in hits if start <= i < stop}
                writer.add(make_results(run, hits, start, stop), chosen)
            writer.finish(make_summary(run, settings, len(hits), 0), [])
    wanted = [19_995, 3, 0, 10_000, 8191, 8192]
    with open_results(tmp_path / "out") as stored:
        found = stored.read(wanted)
        every = stored.read(np.arange(n))
    np.testing.assert_array_equal(every.spots.intensity, results.spots.intensity)
    np.testing.assert_array_equal(every.lattice_offsets, results.lattice_offsets)
    np.testing.assert_array_equal(every.lattices.cell, results.lattices.cell)
    for place, image in enumerate(wanted):
        np.testing.assert_array_equal(found.spots_of(place).x, results.spots_of(image).x)
        np.testing.assert_array_equal(found.spots_of(place).lattice, results.spots_of(image).lattice)
        np.testing.assert_array_equal(found.lattices_of(place).A, results.lattices_of(image).A)
