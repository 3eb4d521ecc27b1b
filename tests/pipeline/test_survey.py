"""What is decided before a run is searched: the threshold from its blanks, the cell from its hits."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from hitsieve import pipeline
from hitsieve.errors import MetadataError, SettingsError
from hitsieve.model import Looked, State
from hitsieve.pipeline import RunReport
from hitsieve.pipeline.doubts import unsure_threshold
from hitsieve.pipeline.rethink import RethinkRequest, rethink
from hitsieve.pipeline.tally import Tally
from hitsieve.settings import IndexSettings, RunSettings, SourceSettings, SpotSettings, VerdictSettings, WriteSettings
from hitsieve.testing import Simulated, SimulateSettings, simulate
from hitsieve.write import HitRuleSummary, open_results

NAMED = "79,79,38,90,90,90"
CELL = (79.0, 79.0, 38.0, 90.0, 90.0, 90.0)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    """More images than are looked at first."""
    settings = SimulateSettings(name="long", detector="test-256k", images=700, hit_fraction=0.08, seed=5)
    return simulate(tmp_path_factory.mktemp("long"), settings)


def sieved(made: Simulated, folder: Path, step: Callable[[], None] = lambda: None, **rooms: object) -> RunReport:
    settings = {"write": WriteSettings(output=folder), "workers": 2, **rooms}
    return pipeline.run([made.master], RunSettings.model_validate(settings), step=step)


def test_threshold_and_cell_come_from_the_run(long: Simulated, tmp_path: Path) -> None:
    report = sieved(long, tmp_path, index=IndexSettings(cell="unknown"))
    rule, index = report.summary.rule, report.summary.index
    assert (rule.rule, rule.origin, rule.min_spots) == ("either", "blanks", 5)
    assert index is not None and "found in the run" in index.cell.origin
    np.testing.assert_allclose(sorted(index.cell.parameters[:3]), [38, 79, 79], rtol=0.01)
    np.testing.assert_allclose(index.cell.parameters[3:], 90, atol=1)
    table = pq.read_table(report.outputs.images)
    counted, lattices = (table[name].to_numpy() for name in ("n_spots_counted", "n_lattices"))
    hit = np.array(table["state"].to_pylist()) == "hit"
    assert np.array_equal(hit, (counted >= 5) | (lattices > 0))
    assert index.n_indexed == (lattices > 0).sum() > 30


def test_looking_first_changes_no_image(long: Simulated, tmp_path: Path) -> None:
    found = sieved(long, tmp_path / "found")
    given = sieved(long, tmp_path / "given", verdict=VerdictSettings(min_spots=5))
    assert given.summary.rule.origin == "given"
    one, two = (pq.read_table(report.outputs.images) for report in (found, given))
    assert one.equals(two)
    assert found.outputs.hits.stat().st_size > 0


def test_a_wrong_cell_is_used_and_doubted(long: Simulated, tmp_path: Path) -> None:
    report = sieved(long, tmp_path, index=IndexSettings(cell="50,60,70,90,90,90"))
    assert report.summary.index is not None
    assert report.summary.index.cell.parameters == (50, 60, 70, 90, 90, 90)
    assert report.summary.index.n_indexed < 0.3 * report.summary.index.n_tried
    assert report.summary.n_hits > 30
    assert any("fit the cell 50 60 70" in str(problem) for problem in report.problems)


@pytest.mark.parametrize(
    ("cell", "centring", "doubted"),
    [
        ("79,79,38,90,90,90", None, False),
        ("38.3,78.6,79.2,90,90,90", None, False),
        ("79,79,38,90,90,100", None, True),
        ("158,158,76,90,90,90", None, True),
        ("79,79,38,90,90,90", "I", True),
    ],
    ids=["right", "nearly right, other axes", "wrong angle", "of several cells", "wrong centring"],
)
def test_a_cell_that_fits_but_is_not_that_of_the_hits_is_doubted(
    long: Simulated, tmp_path: Path, cell: str, centring: str | None, doubted: bool
) -> None:
    settings = IndexSettings.model_validate({"cell": cell, "centring": centring})
    report = sieved(long, tmp_path, index=settings)
    assert report.summary.index is not None
    assert report.summary.index.n_indexed > 0.5 * report.summary.n_hits
    told = [str(problem) for problem in report.problems if "show by themselves" in str(problem)]
    assert len(told) == doubted
    assert all("90 90 90 P: see `hitsieve cell`" in line for line in told)
    assert set(told) <= set(report.summary.problems)


def test_off_is_spots_only(long: Simulated, tmp_path: Path) -> None:
    report = sieved(long, tmp_path, index=IndexSettings(indexing="off"))
    assert report.summary.index is None and report.summary.missed is None
    assert report.summary.rule.rule == "spots"
    assert set(pq.read_table(report.outputs.images)["n_lattices"].to_pylist()) == {None}


@pytest.mark.parametrize(
    ("rooms", "error", "says"),
    [
        ({"index": {"cell": "1,2,3"}}, SettingsError, "six numbers"),
        ({"index": {"cell": "10,10,10,30,30,90"}}, SettingsError, "no crystal"),
        ({"index": {"cell": "absent.pdb"}}, SettingsError, r"absent\.pdb"),
        ({"index": {"centring": "C"}}, SettingsError, "--cell"),
        ({"index": {"indexing": "off"}, "verdict": {"rule": "both"}}, SettingsError, "needs lattices"),
        ({"index": {"indexing": "off", "cell": "79,79,38,90,90,90"}}, SettingsError, "indexing is off"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(
    long: Simulated, tmp_path: Path, rooms: dict[str, object], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        sieved(long, tmp_path / "out", **rooms)
    assert not (tmp_path / "out").exists()


def test_without_geometry_nothing_is_indexed(long: Simulated, tmp_path: Path) -> None:
    report = pipeline.run(long.data_files[:1], RunSettings(write=WriteSettings(output=tmp_path / "plain")))
    assert report.summary.index is None
    assert any("not indexed" in problem.what for problem in report.problems)
    for rooms in ({"index": {"cell": "79,79,38,90,90,90"}}, {"verdict": {"rule": "indexed"}}):
        settings = RunSettings.model_validate({"write": {"output": tmp_path / "out"}, **rooms})
        with pytest.raises(MetadataError):
            pipeline.run(long.data_files[:1], settings)
        assert not (tmp_path / "out").exists()


def test_missed_hits_are_found_among_the_misses(long: Simulated, tmp_path: Path) -> None:
    """With a rule that misses many hits, the second look at all misses says how many."""
    strict = VerdictSettings(rule="spots", min_spots=60)
    report = sieved(
        long, tmp_path, verdict=strict, write=WriteSettings(output=tmp_path, audit_fraction=1), source=SourceSettings()
    )
    missed = report.summary.missed
    assert missed is not None
    table = pq.read_table(report.outputs.images)
    state, lattices = table["state"].to_pylist(), table["n_lattices"].to_pylist()
    wrongly = sum(s == "miss" and n > 0 for s, n in zip(state, lattices, strict=True))
    assert missed.n_indexed == wrongly > 10
    assert missed.n == report.summary.n_misses - wrongly
    assert missed.n_hits <= 6
    assert missed.interval[0] <= missed.rate < missed.interval[1]
    # All misses are looked at: nothing is left to chance.
    lost = wrongly + missed.n_hits
    assert (missed.n_lost, missed.n_lost_interval) == (lost, (lost, lost))
    assert missed.lost_share == lost / (report.summary.n_hits + lost)


@pytest.mark.parametrize(("most", "fraction", "n"), [(1000, 0.2, 0), (50, 0.2, 50), (1000, 0.0, 20), (5, 0.2, 5)])
def test_more_misses_than_are_kept_are_looked_at_again(
    long: Simulated, tmp_path: Path, most: int, fraction: float, n: int
) -> None:
    verdict = VerdictSettings(second_look=most, second_look_fraction=fraction)
    steps: list[None] = []
    report = sieved(long, tmp_path, lambda: steps.append(None), verdict=verdict, index=IndexSettings(cell=NAMED))
    n = n or math.ceil(fraction * report.summary.n_misses)
    missed, n_hits = report.summary.missed, report.summary.n_hits
    assert missed is not None and missed.n == n
    # Whoever waits hears of each, however many there are.
    assert len(steps) > n
    low, high = missed.n_lost_interval
    assert missed.n_hits <= low <= missed.n_lost == missed.rate * report.summary.n_misses < high
    assert missed.lost_share_interval == (low / (n_hits + low), high / (n_hits + high))
    with open_results(tmp_path) as stored, h5py.File(report.outputs.hits) as hits:
        assert stored.second_look is not None
        looked, state = stored.second_look.looked, stored.column("state")
        audit = hits["entry/hit_finding/audit/source_image"][()]
    assert np.array_equal(looked == Looked.OUTSIDE, state != State.MISS)
    assert (looked >= Looked.NOTHING).sum() == n
    assert (looked[audit] >= Looked.NOTHING).sum() == min(n, 20)


@pytest.mark.parametrize("rule", ["either", "both", "spots"])
def test_images_with_a_lattice_are_no_blanks(tmp_path: Path, rule: str) -> None:
    """All images show a crystal of few spots: their one mode of counts is not taken for blanks."""
    settings = SimulateSettings(name="full", detector="test-256k", images=300, hit_fraction=1.0, spots=(9, 14), seed=2)
    made = simulate(tmp_path / "made", settings)
    report = sieved(made, tmp_path / "out", verdict=VerdictSettings.model_validate({"rule": rule}))
    assert report.summary.rule.origin == "default"
    assert "without a lattice are too few" in report.summary.rule.reason
    assert report.summary.n_hits > 250
    assert not any("by default" in problem for problem in report.summary.problems)


def test_blanks_that_the_default_takes_for_hits_are_told_of_and_what_to_type(tmp_path: Path) -> None:
    """Images too few to tell a threshold, each with a score of spots that hot pixels make."""
    bad = SimulateSettings(name="hot", detector="test-256k", images=16, hit_fraction=0, unmasked_hot_pixels=1200)
    report = sieved(simulate(tmp_path / "made", bad), tmp_path / "out", index=IndexSettings(indexing="off"))
    assert (report.summary.rule.origin, report.summary.n_hits) == ("default", 16)
    (told,) = (problem for problem in report.problems if "by default" in problem.what)
    assert told.what.startswith("16 of 16 images without a lattice are hits because 8 spots are enough by default;")
    assert str(told) in report.summary.problems
    wanted = re.search(r"--min-spots (\d+)`", told.mend)
    assert wanted is not None
    verdict = VerdictSettings(min_spots=int(wanted[1]))
    again = rethink(tmp_path / "out", RethinkRequest(verdict, tmp_path / "again"))
    assert again.summary.n_hits <= 1
    assert again.problems == () and not any("by default" in problem for problem in again.summary.problems)
    unsure = rethink(tmp_path / "out", RethinkRequest(VerdictSettings(min_spots=None), tmp_path / "unsure"))
    assert [problem.what for problem in unsure.problems] == [told.what]


def test_few_images_of_strong_hits_are_nothing_to_warn_of(tmp_path: Path) -> None:
    """Whatever the threshold, their verdict is the same."""
    good = SimulateSettings(name="good", detector="test-256k", images=40, hit_fraction=0.6, spots=(30, 200), seed=2)
    report = sieved(simulate(tmp_path / "made", good), tmp_path / "out", index=IndexSettings(indexing="off"))
    assert report.summary.rule.origin == "default" and report.summary.n_hits > 15
    assert report.problems == ()


def test_what_may_be_blanks_beside_strong_hits_is_told_of() -> None:
    """The threshold to try is one for these images, not for the hits beside them."""
    tally = Tally.of(40)
    tally.n_spots_counted[:] = [6, 7, 9, 10, *[2] * 12, *range(30, 150, 5)]
    tally.state[:] = np.where(tally.n_spots_counted >= 8, State.HIT, State.MISS)
    rule = HitRuleSummary(rule="spots", min_spots=8, origin="default")
    assert unsure_threshold("run", rule, tally) == ()
    tally.n_spots_counted[4] = 11
    tally.state[4] = State.HIT
    (told,) = unsure_threshold("run", rule, tally)
    assert told.what.startswith("3 of 40 images without a lattice have fewer than 16 spots, and are hits because 8 ")
    wanted = re.search(r"--min-spots (\d+)`", told.mend)
    assert wanted is not None and 11 < int(wanted[1]) <= 30


def test_more_spots_wanted_than_kept_is_refused(long: Simulated, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"4 are kept, 5 are wanted.*--max-spots 5"):
        sieved(long, tmp_path / "out", spots=SpotSettings(max_spots=4))
    assert not (tmp_path / "out").exists()


def test_why_lattices_lack_is_said_with_the_rule_that_needs_them(tmp_path: Path) -> None:
    made = simulate(tmp_path / "made", SimulateSettings(name="few", detector="test-256k", images=10, hit_fraction=0.2))
    with pytest.raises(MetadataError, match=r"a unit cell needs 5 that agree \(give --cell, or use --rule spots\)"):
        sieved(made, tmp_path / "out", verdict=VerdictSettings(rule="both"), index=IndexSettings(cell="unknown"))
