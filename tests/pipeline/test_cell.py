"""The cell that hits of a finished run agree on."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from calling import Hitsieve
from hitsieve.errors import MetadataError, SettingsError, SourceError
from hitsieve.pipeline.cell import CellRequest, find_cell_of_run
from hitsieve.pipeline.run import run as sieve
from hitsieve.settings import RunSettings
from hitsieve.testing import Simulated, SimulateSettings, simulate

CENTRED = (61.4, 122.6, 90.0, 90.0, 90.0, 90.0)


def finished(master: Path, output: Path, **index: object) -> Path:
    settings = {"write": {"output": output}, "verdict": {"min_spots": 10}, "index": index}
    sieve([master], RunSettings.model_validate(settings))
    return output


@pytest.fixture(scope="module")
def centred(tmp_path_factory: pytest.TempPathFactory) -> tuple[Simulated, Path]:
    """A run of C-centred orthorhombic crystals, searched without indexing."""
    folder = tmp_path_factory.mktemp("centred")
    settings = SimulateSettings(
        name="centred", detector="test-256k", images=60, hit_fraction=0.4, cell=CENTRED, centering="C", seed=4
    )
    made = simulate(folder / "raw", settings)
    return made, finished(made.master, folder / "out", indexing="off")


def test_cell_of_a_run_that_was_not_indexed(centred: tuple[Simulated, Path]) -> None:
    _, out = centred
    steps: list[tuple[int, int]] = []
    report = find_cell_of_run(out, CellRequest(), lambda done, total: steps.append((done, total)))
    best = report.groups[0]
    assert best.bravais.type == "oC" and best.cell.centring == "C"
    assert best.cell.parameters == pytest.approx(CENTRED, rel=0.01)
    assert best.believed and len(report.images[0]) >= 0.8 * report.n_tried
    assert 2 <= report.n_tried == report.n_enough <= report.n_hits
    assert steps[-1] == (report.n_tried, report.n_tried) and len(steps) == report.n_tried


def test_images_are_those_of_the_run_and_at_most_as_many_as_asked(centred: tuple[Simulated, Path]) -> None:
    _, out = centred
    report = find_cell_of_run(out / "centred_hits.h5", CellRequest(max_hits=8))
    assert report.n_tried == 8 < report.n_enough
    with h5py.File(out / "centred_annotated.h5") as file:
        state = file["entry/hit_finding/state"][()]
    assert np.all(state[report.images[0]] == 1)
    assert np.ptp(report.images[0]) > 30


def test_lengths_that_make_no_sense(centred: tuple[Simulated, Path]) -> None:
    with pytest.raises(SettingsError, match="not below max_length 20"):
        find_cell_of_run(centred[1], CellRequest(min_length=30, max_length=20))
    with pytest.raises(SettingsError, match=r"--max-length 4000: .*\(--min-length from 5, --max-length to 400"):
        find_cell_of_run(centred[1], CellRequest(max_length=4000))
    with pytest.raises(SettingsError, match=r"not below max_length 170.*the first below the second\)"):
        find_cell_of_run(centred[1], CellRequest(min_length=200))
    with pytest.raises(SettingsError, match=r"--max-hits 1: .*\(give 2 or more\)"):
        find_cell_of_run(centred[1], CellRequest(max_hits=1))


def test_original_run_has_moved(centred: tuple[Simulated, Path], tmp_path: Path) -> None:
    made, out = centred
    moved = tmp_path / "moved"
    made.master.parent.rename(moved)
    try:
        with pytest.raises(SourceError):
            find_cell_of_run(out, CellRequest(max_hits=6))
        report = find_cell_of_run(out, CellRequest(max_hits=6, source=(moved / made.master.name,)))
        assert report.groups[0].bravais.type == "oC"
    finally:
        moved.rename(made.master.parent)


def test_too_few_hits(tmp_path: Path) -> None:
    made = simulate(tmp_path / "raw", SimulateSettings(detector="test-256k", images=10, hit_fraction=0.0))
    out = finished(made.master, tmp_path / "out", indexing="off")
    with pytest.raises(SourceError, match="0 of 0 hits have 15 spots or more"):
        find_cell_of_run(out, CellRequest())


def test_no_geometry(simulated: Simulated, tmp_path: Path) -> None:
    bare = tmp_path / "bare_data_000001.h5"
    bare.write_bytes(simulated.data_files[0].read_bytes())
    out = finished(bare, tmp_path / "out")
    with pytest.raises(MetadataError, match="geometry is unknown"):
        find_cell_of_run(out, CellRequest())


def test_no_outputs(simulated: Simulated) -> None:
    with pytest.raises(SourceError, match="is not an output of hitsieve run"):
        find_cell_of_run(simulated.master, CellRequest())


def test_command_says_what_to_give_to_a_run(
    hitsieve: Hitsieve, process: Hitsieve, centred: tuple[Simulated, Path], tmp_path: Path
) -> None:
    made, out = centred
    told = process("cell", out)
    assert told.returncode == 0 and told.stderr == ""
    line = told.stdout.splitlines()[-1]
    assert line.startswith("--cell 61.") and line.endswith("90,90,90 --centring C")
    assert "* oC" in told.stdout and "agree on this cell" in told.stdout
    data = json.loads(hitsieve("cell", out, "--json").stdout)
    assert data["groups"][0]["flags"] == line and data["groups"][0]["type"] == "oC"
    assert data["groups"][0]["n_agreeing"] == len(data["groups"][0]["images"])
    # What it prints is taken as it stands.
    again = hitsieve("run", made.master, *line.split(), "--min-spots", "10", "-o", tmp_path / "again", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["index"]["indexing_rate"] > 0.8


def test_command_without_a_cell(hitsieve: Hitsieve, centred: tuple[Simulated, Path]) -> None:
    told = hitsieve("cell", centred[1], "--max-length", "16", "--max-hits", "5")
    assert told.returncode == 3 and told.stdout == ""
    assert "no cell: 5 of " in told.stderr and "check the geometry" in told.stderr
    assert hitsieve("cell", centred[1], "--min-length", "50", "--max-length", "20").returncode == 2
    assert hitsieve("cell", centred[1], "--max-hits", "0").returncode == 2
    assert hitsieve("cell", "nowhere").returncode == 3
