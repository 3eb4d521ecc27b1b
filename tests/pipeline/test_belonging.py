"""Commands on a finished run work on that run and on no other: neither its images nor its files are mistaken."""

from __future__ import annotations

import csv
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401
import numpy as np
import pyarrow.parquet as pq
import pytest

from hitsieve import pipeline
from hitsieve.cli.commands import call
from hitsieve.errors import SourceError
from hitsieve.model import State
from hitsieve.pipeline.cell import CellRequest, find_cell_of_run
from hitsieve.pipeline.explain import explain
from hitsieve.pipeline.export import ExportRequest, export
from hitsieve.pipeline.numbers import numbers
from hitsieve.pipeline.rethink import RethinkRequest, rethink
from hitsieve.pipeline.words import rows
from hitsieve.settings import IndexSettings, RunSettings, SourceSettings, VerdictSettings, WriteSettings
from hitsieve.testing import Simulated, SimulateSettings, simulate
from hitsieve.write import Outputs, Summary, open_results

N = 30
SIMULATED = {"name": "few", "detector": "test-256k", "images": N, "hit_fraction": 0.4, "seed": 4}


def sieve(made: Simulated, folder: Path, pump: str, *, overwrite: bool = False) -> Outputs:
    settings = RunSettings(
        source=SourceSettings(pump=pump),
        write=WriteSettings(output=folder, audit_min=3, split_pump=True, overwrite=overwrite),
        workers=2,
    )
    return pipeline.run([made.master], settings).outputs


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    return simulate(tmp_path_factory.mktemp("few"), SimulateSettings.model_validate(SIMULATED))


@pytest.fixture(scope="module")
def finished(made: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    return sieve(made, tmp_path_factory.mktemp("finished"), "dark:1,light:2")


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Master of a run of the same names with another geometry."""
    settings = SIMULATED | {"distance": 0.07, "wavelength": 1.3, "hit_fraction": 0.0}
    return simulate(tmp_path_factory.mktemp("elsewhere"), SimulateSettings.model_validate(settings)).master


def reached(name: str, outputs: Outputs, source: tuple[Path, ...], folder: Path) -> None:
    """Call what opens the original run again."""
    if name == "explain":
        explain(outputs.summary, 0, source=source, picture=folder / "a.png")
    elif name == "cell":
        find_cell_of_run(outputs.summary, CellRequest(max_hits=4, source=source))
    elif name == "export":
        export(outputs.summary, ExportRequest("dials", folder / "dials", source=source))
    else:
        request = RethinkRequest(VerdictSettings(min_spots=20), folder / "again", hits=True, source=source)
        rethink(outputs.summary, request)


@pytest.mark.parametrize("name", ["explain", "cell", "export", "rethink"])
def test_another_geometry_is_another_run(finished: Outputs, elsewhere: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match="is another run than that of") as caught:
        reached(name, finished, (elsewhere,), tmp_path)
    assert "wavelength 1.3 angstrom now, 1 angstrom recorded; distance 0.07 m now, 0.05 m recorded" in str(caught.value)
    assert "name the run that the results were found on" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_another_type_of_pixel_is_another_run(finished: Outputs, tmp_path: Path) -> None:
    master = simulate(
        tmp_path / "other", SimulateSettings.model_validate(SIMULATED | {"dtype": "i32", "hit_fraction": 0.0})
    ).master
    with pytest.raises(SourceError, match="pixels int32 now, int16 recorded"):
        explain(finished.summary, 0, source=[master], picture=tmp_path / "a.png")


@pytest.mark.parametrize("compression", ["bslz4", "gzip"])
def test_no_other_images_under_stored_spots(tmp_path: Path, compression: str) -> None:
    """Also where the source's chunks were packed anew, and the recorded hash is not that of the source."""
    settings = SIMULATED | {"compression": compression}
    mine = simulate(tmp_path / "mine", SimulateSettings.model_validate(settings))
    other = simulate(tmp_path / "other", SimulateSettings.model_validate(settings | {"seed": 5}))
    write = WriteSettings(output=tmp_path / "run")
    pipeline.run([mine.master], RunSettings(write=write, index=IndexSettings(indexing="off"), workers=2))
    asked = RethinkRequest(VerdictSettings(min_spots=20), tmp_path / "again", hits=True)
    rethink(tmp_path / "run", asked)
    shutil.rmtree(tmp_path / "again")
    for path in other.data_files:
        shutil.copy(path, mine.data_files[0].parent)
    with pytest.raises(SourceError, match=r"few_data_000001.h5: image \d+ \(row \d+\) is not the one"):
        rethink(tmp_path / "run", asked)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "other", "run"]


def test_a_changed_image_of_the_audit_sample_is_seen(tmp_path: Path) -> None:
    mine = simulate(tmp_path / "mine", SimulateSettings.model_validate(SIMULATED))
    run = RunSettings(write=WriteSettings(output=tmp_path / "run"), index=IndexSettings(indexing="off"), workers=2)
    outputs = pipeline.run([mine.master], run).outputs
    with h5py.File(outputs.hits) as file:
        image = int(file["entry/hit_finding/audit/source_image"][0])
    with h5py.File(mine.data_files[0], "r+") as file:
        file["entry/data/data"][image, :9, :9] += 1
    with pytest.raises(SourceError, match=rf"image {image} \(row {image}\) is not the one"):
        rethink(tmp_path / "run", RethinkRequest(VerdictSettings(min_spots=20), tmp_path / "again", hits=True))
    assert not (tmp_path / "again").exists()


def of_state(outputs: Outputs, number: int) -> list[int]:
    with open_results(outputs.summary) as stored:
        chosen = (stored.column("state") == State.HIT) & (stored.column("pump") == number)
    return np.flatnonzero(chosen).tolist()


@pytest.mark.parametrize("number", [0, 1])
def test_rows_of_a_state_are_those_of_its_file(finished: Outputs, number: int) -> None:
    path, images = finished.pump_hits[number], of_state(finished, number)
    for row in (0, len(images) - 1):
        found = explain(path, row, hit=True, picture=False)
        assert found.image == images[row]
        assert dict(rows(found))["hit-only"] == f"row {row} of {path.name}"
        assert (numbers(found)["hit"], numbers(found)["hits_file"]) == (row, path.name)
    with pytest.raises(SourceError, match=rf"{path.name}: has no hit {len(images)}, only {len(images)}"):
        explain(path, len(images), hit=True, picture=False)
    strange = of_state(finished, 1 - number)[0]
    assert dict(rows(explain(path, strange, picture=False)))["hit-only"].endswith(" of few_hits.h5")


@pytest.mark.parametrize("format", ["dials", "stream", "events"])
def test_a_state_is_exported_by_itself(finished: Outputs, tmp_path: Path, format: str) -> None:
    path, images = finished.pump_hits[1], of_state(finished, 1)
    report = export(path, ExportRequest(format, tmp_path, "hits"))  # type: ignore[arg-type]
    assert report.n_images == len(images)
    assert {file.name.removesuffix(file.suffix) for file in report.files} >= {"few_light"}
    assert str(path) in report.files[0].read_text()
    if format == "events":
        with (tmp_path / "few_light_source.tsv").open() as file:
            assert [int(row["image"]) for row in csv.DictReader(file, delimiter="\t")] == images
        rows_ = [int(line.rpartition("//")[2]) for line in report.files[0].read_text().splitlines()]
        assert rows_ == list(range(len(images)))


def test_a_cell_of_the_hits_of_a_state(finished: Outputs) -> None:
    report = find_cell_of_run(finished.pump_hits[0], CellRequest(max_hits=4))
    assert report.n_hits == len(of_state(finished, 0)) < len(of_state(finished, 1))
    assert {int(image) for group in report.images for image in group} <= set(of_state(finished, 0))


def test_a_rule_is_for_all_states(finished: Outputs, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"of pump state dark alone, .* \(name the run, such as .*few_summary.json"):
        rethink(finished.pump_hits[0], RethinkRequest(VerdictSettings(), tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_what_is_left_of_an_earlier_run_is_named_and_refused(
    made: Simulated, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "run"
    sieve(made, folder, "dark:1,light:2")
    assert not caplog.records
    shutil.copy(folder / "few_hits.h5", folder / "few_2_hits.h5")
    shutil.copy(folder / "few_summary.json", folder / "few_2_summary.json")
    with caplog.at_level(logging.WARNING):
        sieve(made, folder, "dark:1,pink:2", overwrite=True)
    assert [record.getMessage() for record in caplog.records] == [
        f"{folder}/few_light_hits.h5: is not of this run, and stays; remove it if it is of an earlier one"
    ]
    assert explain(folder / "few_pink_hits.h5", 0, hit=True, picture=False).pump == "pink"
    (folder / "few_2_summary.json").unlink()
    for name in ("few_light_hits.h5", "few_2_hits.h5"):
        with pytest.raises(SourceError, match=rf"{name}: is not of the same run as few_summary.json"):
            explain(folder / name, 0, picture=False)


def test_a_table_of_another_run_with_the_same_states(made: Simulated, finished: Outputs, tmp_path: Path) -> None:
    other = sieve(made, tmp_path / "other", "dark:1,light:2")
    assert pq.read_table(other.images).equals(pq.read_table(finished.images))
    for path in finished:
        shutil.copy(path, tmp_path)
    shutil.copy(other.images, tmp_path)
    mixed: list[Callable[[], object]] = [
        lambda: rethink(tmp_path, RethinkRequest(VerdictSettings(), tmp_path / "out")),
        lambda: explain(tmp_path / other.images.name, 0, picture=False),
    ]
    for act in mixed:
        with pytest.raises(SourceError, match=r"few_images.parquet: is not of the same run as few_summary.json"):
            act()
    assert not (tmp_path / "out").exists()


def test_a_verdict_without_hits_names_its_run(
    finished: Outputs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rethink(finished.summary, RethinkRequest(VerdictSettings(min_spots=20), tmp_path / "bare"))
    summary = Summary.model_validate(json.loads((tmp_path / "bare" / "few_summary.json").read_text()))
    assert summary.verdict_on == str(finished.summary.resolve())
    for command in (["explain", "0"], ["rethink", "-o", str(tmp_path / "more")], ["cell"]):
        assert call([command[0], str(tmp_path / "bare"), *command[1:]]) == 3
        said = capsys.readouterr().err
        assert "was written by hitsieve rethink without --hits" in said
        assert f"name the run, {finished.summary.resolve()}, or call hitsieve rethink again with --hits" in said
    rethink(finished.summary, RethinkRequest(VerdictSettings(min_spots=20), tmp_path / "whole", hits=True))
    rethink(tmp_path / "whole", RethinkRequest(VerdictSettings(min_spots=25), tmp_path / "chain"))


def test_lattices_after_other_limits(finished: Outputs, tmp_path: Path) -> None:
    """The lattice was found among spots that no longer count."""
    before = next(a for i in range(N) if (a := explain(finished.summary, i, picture=False)).n_lattices == 1)
    n = int(before.results.lattices.n_indexed[0])
    assert f"{n} of {before.counted} spots indexed, median" in dict(rows(before))["lattice 1"]
    rethink(finished.summary, RethinkRequest(VerdictSettings(d_min=3.0), tmp_path, hits=True))
    after = explain(tmp_path, before.image, picture=False)
    m = after.indexed_and_counted(0)
    assert 0 < m <= after.counted < n
    assert f"{n} spots indexed, {m} of the {after.counted} that count, median" in dict(rows(after))["lattice 1"]
    told = numbers(after)["lattices"][0]
    assert (told["n_indexed"], told["n_indexed_counted"]) == (n, m)
    blank = next(a for i in range(N) if (a := explain(tmp_path, i, picture=False)).n_lattices == 0)
    assert dict(rows(blank))["lattices"] == "none was found when the run was searched"
