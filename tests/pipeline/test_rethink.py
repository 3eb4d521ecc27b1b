"""Another verdict over stored results says what a run with those settings would have said."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import fields
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401
import numpy as np
import pyarrow.parquet as pq
import pytest

from hitsieve import pipeline
from hitsieve.cli.commands import call
from hitsieve.errors import MetadataError, OutputError, SettingsError, SourceError
from hitsieve.model import Looked, Spots, State
from hitsieve.pipeline.rethink import RethinkRequest, rethink
from hitsieve.pipeline.verify import verify
from hitsieve.settings import IndexSettings, RunSettings, SourceSettings, VerdictSettings, WriteSettings
from hitsieve.testing import Simulated, SimulateSettings, simulate
from hitsieve.write import HitRuleSummary, Outputs, Summary, open_results

N = 150
OFF = IndexSettings(indexing="off")
OTHER = VerdictSettings(min_spots=60, d_min=2.2, d_max=30.0, ice=False, ice_half_width=0.003)


@pytest.fixture(scope="module")
def finished(simulated: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    """A run that is indexed."""
    settings = RunSettings(
        write=WriteSettings(output=tmp_path_factory.mktemp("finished")),
        source=SourceSettings(pump="dark:1,light:2"),
        workers=2,
    )
    return pipeline.run([simulated.master], settings).outputs


def digests(outputs: Outputs) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in outputs]


def request(folder: Path, **settings: object) -> RethinkRequest:
    return RethinkRequest(VerdictSettings.model_validate(settings), folder)


@pytest.mark.parametrize("min_spots", [1, 12, 30, 2000])
@pytest.mark.parametrize("rule", ["spots", "indexed", "either", "both"])
def test_rule_over_the_table(finished: Outputs, tmp_path: Path, rule: str, min_spots: int) -> None:
    before = digests(finished)
    report = rethink(finished.summary, request(tmp_path, rule=rule, min_spots=min_spots))
    assert digests(finished) == before
    assert report.files == (tmp_path / "small_images.parquet", tmp_path / "small_summary.json")
    assert sorted(tmp_path.iterdir()) == sorted(report.files)
    old, new = pq.read_table(finished.images), pq.read_table(report.files[0])
    enough, indexed = old["n_spots_counted"].to_numpy() >= min_spots, old["n_lattices"].to_numpy() > 0
    hit = {"spots": enough, "indexed": indexed, "either": enough | indexed, "both": enough & indexed}[rule]
    assert new["state"].to_pylist() == ["hit" if it else "miss" for it in hit]
    assert new.schema.equals(old.schema)
    for name in old.column_names:
        assert name == "state" or new[name].equals(old[name]), name
    summary = Summary.model_validate_json(report.files[1].read_text())
    assert summary == report.summary
    assert (summary.n_hits, summary.n_misses, summary.n_images) == (hit.sum(), N - hit.sum(), N)
    assert (summary.rule.rule, summary.rule.min_spots, summary.rule.origin) == (rule, min_spots, "given")
    assert summary.settings["verdict"]["min_spots"] == min_spots
    assert json.loads(new.schema.metadata[b"settings"]) == summary.settings
    assert summary.index is not None and report.before.index is not None
    assert summary.index.n_indexed == report.before.index.n_indexed == indexed.sum()
    assert summary.index.indexing_rate == ((hit & indexed).sum() / hit.sum() if hit.any() else None)
    assert summary.pump is not None
    assert sum(state.n_hits for state in summary.pump.states) == hit.sum()
    with open_results(finished.annotated) as stored:
        assert stored.second_look is not None
        looked = stored.second_look.looked
    told = ~hit & ~indexed & (looked != Looked.OUTSIDE)
    missed = summary.missed
    assert missed is not None
    assert missed.n == (told & (looked != Looked.NOT_DRAWN)).sum() <= 20
    assert missed.n_hits == (told & (looked == Looked.LATTICE)).sum()
    assert missed.n_indexed == (~hit & indexed).sum()
    assert missed.n_indexed + missed.n_unknown + told.sum() == summary.n_misses
    assert missed.n_lost == missed.n_indexed + missed.rate * told.sum()
    assert "spots and lattices are those found then" in summary.problems[-1]


def test_hits_are_those_of_a_run_with_these_settings(simulated: Simulated, tmp_path: Path) -> None:
    def settings(name: str, verdict: VerdictSettings) -> RunSettings:
        return RunSettings(write=WriteSettings(output=tmp_path / name), index=OFF, verdict=verdict, workers=2)

    first = pipeline.run([simulated.master], settings("first", VerdictSettings(min_spots=8))).outputs
    wanted = pipeline.run([simulated.master], settings("wanted", OTHER))
    report = rethink(tmp_path / "first", RethinkRequest(OTHER, tmp_path / "again", hits=True))
    found = Outputs.of(tmp_path / "again", "small")
    assert report.files == tuple(found)
    assert (report.summary.n_hits, report.summary.audit) == (wanted.summary.n_hits, wanted.summary.audit)
    assert report.summary.resolution_hits == wanted.summary.resolution_hits
    assert report.summary.hit_bytes == wanted.summary.hit_bytes
    assert report.before.n_hits != report.summary.n_hits
    assert verify(found.hits, simulated.master).ok
    assert pq.read_table(found.images).equals(pq.read_table(wanted.outputs.images))
    with open_results(found.hits) as a, open_results(wanted.outputs.hits) as b:
        left, right = a.read(np.arange(N)), b.read(np.arange(N))
    for field in fields(Spots):
        np.testing.assert_array_equal(getattr(left.spots, field.name), getattr(right.spots, field.name), field.name)
    with h5py.File(found.hits) as c, h5py.File(wanted.outputs.hits) as d:
        for name in ("data/data", "MX/peakXPosRaw", "hit_finding/sha256", "hit_finding/audit/source_image"):
            np.testing.assert_array_equal(c["entry"][name][()], d["entry"][name][()], name)
    assert len({path.parent for path in first}) == 1


def test_table_alone_counts_again_too(simulated: Simulated, finished: Outputs, tmp_path: Path) -> None:
    report = rethink(finished.hits, request(tmp_path, **OTHER.model_dump(exclude_unset=True)))
    table, old = pq.read_table(report.files[0]), pq.read_table(finished.images)
    assert (table["n_spots_counted"].to_numpy() <= old["n_spots"].to_numpy()).all()
    assert not table["n_spots_counted"].equals(old["n_spots_counted"])
    assert not table["n_spots_ice"].equals(old["n_spots_ice"])
    assert table["n_lattices"].equals(old["n_lattices"])
    with open_results(finished.annotated) as stored:
        spots = stored.read(np.arange(N))
    d = spots.spots.resolution
    counted = (d >= 2.2) & (d <= 30.0)
    owner = np.repeat(np.arange(N), np.diff(spots.offsets))
    assert table["n_spots_counted"].to_pylist() == np.bincount(owner[counted], minlength=N).tolist()


@pytest.fixture(scope="module")
def longer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of more images than are looked at first: `found` with a threshold from them, `given` with that of a user."""
    folder = tmp_path_factory.mktemp("longer")
    made = simulate(folder, SimulateSettings(name="long", detector="test-256k", images=300, hit_fraction=0.1, seed=9))
    for name, verdict in (("found", VerdictSettings()), ("given", VerdictSettings(min_spots=17))):
        settings = RunSettings(write=WriteSettings(output=folder / name), index=OFF, verdict=verdict, workers=2)
        pipeline.run([made.master], settings)
    return folder


@pytest.mark.parametrize("name", ["found", "given"])
def test_without_changes_a_run_is_as_it_was(longer: Path, tmp_path: Path, name: str) -> None:
    report = rethink(longer / name, request(tmp_path))
    assert report.before.rule.origin == ("blanks" if name == "found" else "given")
    changed = {
        "date",
        "verdict_on",
        "settings",
        "seconds",
        "images_per_second",
        "workers",
        "audit",
        "hit_bytes",
        "problems",
    }
    assert report.summary.model_dump(exclude=changed) == report.before.model_dump(exclude=changed)
    assert pq.read_table(report.files[0]).equals(pq.read_table(Outputs.of(longer / name, "long").images))


def test_a_second_look_is_heeded_unchanged(finished: Outputs, tmp_path: Path) -> None:
    report = rethink(finished.summary, RethinkRequest(VerdictSettings(), tmp_path / "a", hits=True))
    assert report.before.missed is not None
    assert report.summary.missed == report.before.missed
    assert rethink(tmp_path / "a", request(tmp_path / "b")).summary.missed == report.before.missed


def test_threshold_is_found_again_where_it_has_to_be(longer: Path, tmp_path: Path) -> None:
    def rule(name: str, **settings: object) -> HitRuleSummary:
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        return rethink(longer / name, request(folder, **settings)).summary.rule

    before, again = rule("found"), rule("found", min_spots=None)
    assert again.origin == "blanks" and again.reason != before.reason
    assert rule("found", ice=False).reason not in (before.reason, "set by the user")
    assert rule("found", false_hit_rate=1e-9).min_spots > before.min_spots
    assert rule("found", min_spots=70).origin == "given"
    assert (rule("given", rule="spots").min_spots, rule("given", ice=False).min_spots) == (17, 17)
    assert rule("given", false_hit_rate=1e-3) == rule("given", min_spots=None) == again


def test_what_cannot_be_carried_now_is_told(simulated: Simulated, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(simulated.master.parent, folder)
    settings = RunSettings(write=WriteSettings(output=tmp_path / "run"), index=OFF, workers=2)
    before = pipeline.run([folder / simulated.master.name], settings)
    with h5py.File(folder / simulated.master.name, "r+") as master:
        del master["entry/definition"]
    report = rethink(tmp_path / "run", RethinkRequest(VerdictSettings(), tmp_path / "again", hits=True))
    lacks = [problem for problem in report.problems if "definition" in str(problem)]
    assert lacks and not set(lacks) & set(before.problems)
    assert str(lacks[0]) in report.summary.problems
    assert report.summary == Summary.model_validate_json(report.files[3].read_text())


def test_files_of_states_are_written_again(simulated: Simulated, tmp_path: Path) -> None:
    settings = RunSettings(
        write=WriteSettings(output=tmp_path / "run", split_pump=True),
        source=SourceSettings(pump="dark:1,light:2"),
        workers=2,
    )
    first = pipeline.run([simulated.master], settings)
    assert first.summary.pump is not None
    assert [state.hits_file for state in first.summary.pump.states] == ["small_dark_hits.h5", "small_light_hits.h5"]
    report = rethink(tmp_path / "run", RethinkRequest(VerdictSettings(min_spots=60), tmp_path / "again", hits=True))
    assert len(report.files) == 6
    assert report.summary.pump is not None
    for path, state in zip(report.files[4:], report.summary.pump.states, strict=True):
        assert (path.name, verify(path, simulated.master).n_hits) == (state.hits_file, state.n_hits)


def test_own_files_are_never_replaced_by_table_and_summary_alone(finished: Outputs, tmp_path: Path) -> None:
    before = digests(finished)
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="is a file of the input"):
            rethink(finished.summary, RethinkRequest(VerdictSettings(), finished.summary.parent, overwrite=overwrite))
    assert digests(finished) == before
    rethink(finished.summary, request(tmp_path))
    with pytest.raises(OutputError, match="output exists"):
        rethink(finished.summary, request(tmp_path))
    rethink(finished.summary, RethinkRequest(VerdictSettings(), tmp_path, overwrite=True))


def test_a_run_is_replaced_as_a_whole(simulated: Simulated, finished: Outputs, tmp_path: Path) -> None:
    for path in finished:
        shutil.copy(path, tmp_path)
    asked = RethinkRequest(VerdictSettings(min_spots=2000, rule="spots"), tmp_path, hits=True, overwrite=True)
    rethink(tmp_path, asked)
    assert len(list(tmp_path.iterdir())) == 4
    with open_results(tmp_path) as stored:
        assert (stored.column("state") == State.MISS).all()


def test_a_run_that_moved_is_named(simulated: Simulated, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(simulated.master.parent, folder)
    settings = RunSettings(write=WriteSettings(output=tmp_path / "run"), index=OFF, workers=2)
    pipeline.run([folder / simulated.master.name], settings)
    folder.rename(tmp_path / "moved")
    asked = RethinkRequest(VerdictSettings(min_spots=60), tmp_path / "again", hits=True)
    with pytest.raises(SourceError, match="no such file"):
        rethink(tmp_path / "run", asked)
    assert not (tmp_path / "again").exists()
    moved = tmp_path / "moved" / simulated.master.name
    report = rethink(tmp_path / "run", RethinkRequest(asked.verdict, asked.output, hits=True, source=(moved,)))
    assert verify(report.files[0], moved).ok


def test_what_the_run_does_not_have_is_told(simulated: Simulated, tmp_path: Path) -> None:
    settings = RunSettings(write=WriteSettings(output=tmp_path / "run"), index=OFF, workers=2)
    outputs = pipeline.run([simulated.data_files[0]], settings).outputs
    with pytest.raises(MetadataError, match="the rule both needs lattices, and the run is not indexed"):
        rethink(outputs.summary, request(tmp_path / "out", rule="both"))
    with pytest.raises(MetadataError, match="resolution limits need the detector geometry"):
        rethink(outputs.summary, request(tmp_path / "out", d_min=2.0))
    with pytest.raises(SettingsError, match="max_spots 2000 is below min_spots 3000"):
        rethink(outputs.summary, request(tmp_path / "out", min_spots=3000))
    assert not (tmp_path / "out").exists()


def test_a_table_of_another_run_is_refused(simulated: Simulated, finished: Outputs, tmp_path: Path) -> None:
    for path in finished:
        shutil.copy(path, tmp_path)
    table = tmp_path / finished.images.name
    pq.write_table(pq.read_table(finished.images).slice(0, N - 1), table)
    with pytest.raises(SourceError, match="is not of the same run"):
        rethink(tmp_path, request(tmp_path / "out"))
    rows = pq.read_table(finished.images)
    pq.write_table(rows.take(np.arange(N)[::-1]), table)
    with pytest.raises(SourceError, match="is not of the same run"):
        rethink(tmp_path, request(tmp_path / "out"))
    table.write_bytes(b"PAR1")
    with pytest.raises(SourceError, match="cannot be read as a table"):
        rethink(tmp_path, request(tmp_path / "out"))
    table.unlink()
    with pytest.raises(SourceError, match="is absent"):
        rethink(tmp_path, request(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_command(finished: Outputs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(finished.summary.parent)
    assert call(["rethink", folder, "--min-spots", "40", "--rule", "spots", "-o", str(tmp_path / "a"), "--json"]) == 0
    summary = Summary.model_validate_json(capsys.readouterr().out)
    assert summary.rule.min_spots == 40
    assert call(["rethink", folder, "--min-spots", "40", "-o", str(tmp_path / "b"), "--hits"]) == 0
    text = capsys.readouterr().out
    assert f"before: {Summary.model_validate_json(finished.summary.read_text()).n_hits} hits" in text
    assert text.splitlines()[-4:] == [str(path) for path in Outputs.of(tmp_path / "b", "small")]
    assert re.search(r"missed hits at least \d+ \(95 % interval .* misses showed a lattice at a second look", text)
    narrow = ["rethink", folder, "--d-min", "3", "--min-spots", "40", "--hits", "-o", str(tmp_path / "d")]
    assert call(narrow) == 0
    capsys.readouterr()
    lifted = ["--d-min", "none", "--d-max", "None", "--min-spots", "none", "-o", str(tmp_path / "e"), "--json"]
    assert call(["rethink", str(tmp_path / "d"), *lifted]) == 0
    again = Summary.model_validate_json(capsys.readouterr().out)
    first = Summary.model_validate_json(finished.summary.read_text())
    assert again.settings["verdict"] == first.settings["verdict"]
    assert (again.n_hits, again.rule) == (first.n_hits, first.rule)
    assert call(["rethink", folder, "--d-min", "never", "-o", str(tmp_path / "f")]) == 2
    assert call(["rethink", folder, "-o", folder]) == 4
    assert call(["rethink", str(tmp_path), "-o", str(tmp_path / "c")]) == 3
    assert call(["rethink", folder]) == 2
