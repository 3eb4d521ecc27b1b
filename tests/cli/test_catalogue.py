"""Runs are entered, found again, and taken out: as a user does it."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from pathlib import Path

import pytest

from cli.conftest import Hitsieve
from hitsieve.testing import Simulated


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's catalogue, which does not exist yet."""
    path = tmp_path / "share" / "catalogue.sqlite"
    monkeypatch.setenv("HITSIEVE_CATALOGUE", str(path))
    return path


@pytest.fixture(scope="module")
def results(hitsieve: Hitsieve, simulated: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that no catalogue knows; never changed."""
    out = tmp_path_factory.mktemp("results")
    done = hitsieve("run", simulated.master, "-o", out / "a", "--no-catalogue", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    return out


def test_a_run_is_found_again(hitsieve: Hitsieve, simulated: Simulated, tmp_path: Path, place: Path) -> None:
    done = hitsieve("run", simulated.master, "-o", tmp_path / "out", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    summary = json.loads(done.stdout)
    found = hitsieve("search", "hit_rate > 1 % and cell ~ 38,79,79,90,90,90 and images = 40", "--json")
    assert found.returncode == 0, found.stderr
    assert found.stderr.startswith("1 of 1 run in ")
    (record,) = json.loads(found.stdout)
    assert record["hit_rate"] == summary["hit_rate"]
    assert record["settings"] == summary["settings"]
    assert record["place"] == str(tmp_path / "out" / "small_summary.json")
    assert record["strain"] == pytest.approx(0, abs=1e-6)
    again = hitsieve("run", simulated.master, "-o", tmp_path / "out", "--overwrite", "--quiet")
    assert again.returncode == 0
    assert hitsieve("search", "").stdout.endswith(f"\n1 of 1 run in {place}\n")


def test_where_it_is_entered(hitsieve: Hitsieve, simulated: Simulated, tmp_path: Path, place: Path) -> None:
    config = tmp_path / "settings.toml"
    config.write_text(f"[catalogue]\ncatalogue = '{tmp_path / 'ours.sqlite'}'\n")
    assert hitsieve("run", simulated.master, "-o", tmp_path / "a", "--config", config, "--quiet").returncode == 0
    assert (tmp_path / "ours.sqlite").exists()
    assert hitsieve("run", simulated.master, "-o", tmp_path / "b", "--no-catalogue", "--quiet").returncode == 0
    assert not place.exists()
    both = ["--config", config, "--catalogue", tmp_path / "mine.sqlite"]
    assert hitsieve("run", simulated.master, "-o", tmp_path / "c", *both, "--quiet").returncode == 0
    assert hitsieve("search", "", "--catalogue", tmp_path / "mine.sqlite").stdout.endswith("mine.sqlite\n")


def test_a_catalogue_that_cannot_be_written_is_a_warning(
    hitsieve: Hitsieve, simulated: Simulated, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_bytes(b"in the way " * 200)
    for place in (blocked, blocked / "catalogue.sqlite"):
        out = tmp_path / f"out{len(place.name)}"
        done = hitsieve("run", simulated.master, "-o", out, "--catalogue", place, "--json")
        assert done.returncode == 0
        assert json.loads(done.stdout)["n_images"] == 40
        (warning,) = done.stderr.splitlines()
        assert warning.startswith(f"hitsieve: warning: {out / 'small_summary.json'}: is not in the catalogue: {place}")
        assert (out / "small_hits.h5").exists()
    assert blocked.read_bytes() == b"in the way " * 200


def test_add_takes_what_is_there_and_says_why_not(
    hitsieve: Hitsieve, results: Path, tmp_path: Path, place: Path
) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(results, tree)
    (tree / "bad_summary.json").write_text("{}")
    (tree / "other_summary.json").write_text("no JSON")
    first = hitsieve("catalog", "add", tree)
    assert first.returncode == 0, first.stderr
    lines = first.stdout.splitlines()
    assert f"added   {tree / 'a' / 'small_summary.json'}" in lines
    assert any(line.startswith(f"skipped {tree / 'bad_summary.json'}: ") and "schema" in line for line in lines)
    assert any(line.startswith(f"skipped {tree / 'other_summary.json'}: ") and "not JSON" in line for line in lines)
    assert lines[-1] == f"1 added, 2 skipped: {place}"
    again = json.loads(hitsieve("catalog", "add", tree / "a", "--json").stdout)
    assert [(one["what"], one["why"]) for one in again] == [("skipped", "is in the catalogue as it is")]
    copy = hitsieve("catalog", "add", results)
    assert f"is in the catalogue already, at {tree / 'a' / 'small_summary.json'}" in copy.stdout
    (tree / "a").rename(tree / "b")
    moved = hitsieve("catalog", "add", tree / "b" / "small_summary.json")
    assert f"updated {tree / 'b' / 'small_summary.json'}: moved from {tree / 'a'}" in moved.stdout
    assert hitsieve("search", "").stdout.endswith(f"1 of 1 run in {place}\n")


def test_a_file_of_facts_is_searched_as_well(hitsieve: Hitsieve, results: Path, tmp_path: Path, place: Path) -> None:
    """As SciCat and a crate are told it; one that is wrong is told, and hinders nothing."""
    folder = tmp_path / "a"
    shutil.copytree(results / "a", folder)
    facts = folder / "hitsieve-facts.toml"
    facts.write_text("sample_nam = 'x'\n")
    wrong = hitsieve("catalog", "add", folder)
    assert (wrong.returncode, wrong.stdout.splitlines()[-1]) == (0, f"1 added: {place}")
    assert "unknown fact sample_nam" in wrong.stderr
    facts.write_text("sample_name = 'photosystem'\nsample_id = 'HEIDI-0042'\nproposal = '20261234'\n")
    assert "updated" in hitsieve("catalog", "add", folder).stdout
    (found,) = json.loads(hitsieve("search", '"heidi 0042" and sample = photosystem', "--json").stdout)
    assert (found["experiment"], found["title"]) == ("20261234", "small (simulated)")


def test_another_verdict_is_a_run_of_its_own(hitsieve: Hitsieve, results: Path, tmp_path: Path, place: Path) -> None:
    assert hitsieve("rethink", results / "a", "-o", tmp_path / "strict", "--min-spots", "60", "-q").returncode == 2
    again = ("rethink", results / "a", "-o", tmp_path / "strict", "--min-spots", "60", "--quiet")
    # The run itself was entered into none.
    done = hitsieve(*again, "--catalogue", place)
    assert done.returncode == 0, done.stderr
    assert hitsieve("search", "").stdout.endswith(f"1 of 1 run in {place}\n")
    assert "skipped" in hitsieve("catalog", "add", tmp_path / "strict").stdout
    assert hitsieve("catalog", "add", results).returncode == 0
    (record,) = json.loads(hitsieve("search", "verdict_on is known and 'simulated'", "--json").stdout)
    assert record["min_spots"] == 60
    shown = hitsieve("search", "", "--limit", "1").stdout.splitlines()
    assert str(tmp_path / "strict" / "small_summary.json") in shown[1]
    assert shown[-1] == f"2 of 2 runs in {place}, the first 1 shown"


def test_another_verdict_is_entered_where_it_is_wanted(
    hitsieve: Hitsieve, process: Hitsieve, results: Path, tmp_path: Path, place: Path
) -> None:
    again = ("rethink", results / "a", "--min-spots", "60", "--quiet", "-o")
    assert process(*again, tmp_path / "none").returncode == 0
    assert not place.exists()
    own = ("--catalogue", tmp_path / "mine.sqlite")
    assert hitsieve(*again, tmp_path / "some", *own).returncode == 0
    assert not place.exists()
    assert hitsieve("search", "", *own).stdout.endswith(f"1 of 1 run in {tmp_path / 'mine.sqlite'}\n")
    hopeless = hitsieve(*again, tmp_path / "more", "--catalogue", tmp_path)
    assert hopeless.returncode == 0
    assert "is not in the catalogue: " in hopeless.stderr


def test_remove_and_list(hitsieve: Hitsieve, process: Hitsieve, results: Path, place: Path) -> None:
    process("catalog", "add", results)
    listed = hitsieve("catalog", "list")
    assert listed.stdout.splitlines()[0].split()[:2] == ["date", "run"]
    assert str(results / "a" / "small_summary.json") in listed.stdout
    gone = hitsieve("catalog", "remove", results)
    assert gone.stdout.startswith(f"removed {results / 'a' / 'small_summary.json'}\n")
    assert (results / "a" / "small_summary.json").exists()
    nothing = hitsieve("catalog", "remove", results)
    assert nothing.returncode == 3
    assert "lies there" in nothing.stderr
    assert hitsieve("catalog", "list").stdout == f"no run found among 0 in {place}\n"


def test_nothing_found_is_an_answer(hitsieve: Hitsieve, process: Hitsieve, results: Path, place: Path) -> None:
    hitsieve("catalog", "add", results)
    line = f"no run found among 1 in {place}\n"
    table = process("search", "hit_rate > 99 %")
    assert (table.returncode, table.stdout, table.stderr) == (0, line, "")
    as_json = hitsieve("search", "hit_rate > 99 %", "--json")
    assert (as_json.returncode, as_json.stdout, as_json.stderr) == (0, "[]\n", line)
    as_csv = hitsieve("search", "hit_rate > 99 %", "--csv")
    assert (as_csv.returncode, as_csv.stderr) == (0, line)
    assert len(as_csv.stdout.splitlines()) == 1


def test_csv_has_all_fields(hitsieve: Hitsieve, results: Path, place: Path) -> None:
    hitsieve("catalog", "add", results)
    text = hitsieve("search", "images = 40", "--csv").stdout
    (row,) = csv.DictReader(io.StringIO(text))
    summary = json.loads((results / "a" / "small_summary.json").read_text())
    assert float(row["hit_rate"]) == summary["hit_rate"]
    assert row["pump"] == ""
    assert row["place"] == str(results / "a" / "small_summary.json")


def test_a_folder_that_cannot_be_read_is_told(hitsieve: Hitsieve, results: Path, tmp_path: Path, place: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    shutil.copytree(results, tmp_path / "tree")
    closed = tmp_path / "tree" / "closed"
    closed.mkdir(mode=0)
    assert f"skipped {closed}: cannot be read" in hitsieve("catalog", "add", tmp_path / "tree").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["search", "hit_rate >> 5"], 2, 'at "> 5": expected a number'),
        (["search", "hit_rate > 1"], 3, "there is no catalogue yet"),
        (["search", "hit_rate > 1", "--json", "--csv"], 2, "exclude each other"),
        (["search"], 2, "usage: hitsieve search QUERY [OPTIONS]"),
        (["catalog"], 2, "usage: hitsieve catalog ACTION PATHS... [OPTIONS]"),
        (["catalog", "ad"], 2, 'Choose from: "add", "remove", "list"'),
        (["catalog", "add"], 2, "catalog add needs PATHS..."),
        (["catalog", "list", "x"], 2, "catalog list takes no paths"),
        (["catalog", "add", "nowhere"], 3, "there is no such file or folder"),
        (["catalog", "add", "."], 3, "holds no results of hitsieve run"),
        (["catalog", "remove", "."], 3, "there is no catalogue yet"),
    ],
)
def test_wrong_usage(
    hitsieve: Hitsieve, tmp_path: Path, place: Path, arguments: list[str], code: int, says: str
) -> None:
    result = hitsieve(*arguments, cwd=tmp_path)
    assert result.returncode == code
    (line,) = result.stderr.splitlines()
    assert line.startswith("hitsieve: error: ")
    assert says in line
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []
