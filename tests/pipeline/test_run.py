"""The main job as a Python call, and the summary that it makes."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

import hitsieve
from hitsieve import pipeline
from hitsieve.errors import HitsieveError, MetadataError, OutputError, SourceError
from hitsieve.model import ImageResults, Lattices, Spots, State
from hitsieve.pipeline import Progress
from hitsieve.pipeline.tally import Tally
from hitsieve.settings import RunSettings, SourceSettings, SpotSettings, VerdictSettings, WriteSettings
from hitsieve.testing import Simulated


def into(folder: Path, **rooms: object) -> RunSettings:
    return RunSettings.model_validate({"write": WriteSettings(output=folder), "workers": 2, **rooms})


def test_progress_counts_up_to_the_end(simulated: Simulated, tmp_path: Path) -> None:
    seen: list[Progress] = []
    report = pipeline.run([simulated.master], into(tmp_path), progress=seen.append)
    # The first images are looked at before anything is decided.
    assert [p.done for p in seen] == [0, 0, 0, 64, 128, 150]
    assert {p.total for p in seen} == {150}
    assert all(p.hits + p.misses == p.done for p in seen)
    assert [p.seconds for p in seen] == sorted(p.seconds for p in seen)
    assert (seen[-1].hits, seen[-1].misses) == (report.summary.n_hits, report.summary.n_misses)


@pytest.mark.parametrize("done", [0, 64])
def test_progress_that_raises_stops_the_run_and_leaves_nothing(simulated: Simulated, tmp_path: Path, done: int) -> None:
    def stop(progress: Progress) -> None:
        if progress.done == done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline.run([simulated.master], into(tmp_path / "out"), progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_goes_while_it_is_searched_makes_no_image_unreadable(simulated: Simulated, tmp_path: Path) -> None:
    for path in (simulated.master, *simulated.data_files):
        (tmp_path / path.name).hardlink_to(path)
    last = tmp_path / simulated.data_files[-1].name
    master = tmp_path / simulated.master.name
    with pytest.raises(SourceError, match=f"{last.name}: was there .* cannot be read any more"):
        pipeline.run([master], into(tmp_path / "out"), opened=lambda _: last.unlink())
    assert not (tmp_path / "out").exists()


def test_outputs_that_appear_in_the_meantime_are_kept(simulated: Simulated, tmp_path: Path) -> None:
    other = {}

    def overtake(progress: Progress) -> None:
        if progress.done == progress.total:
            pipeline.run([simulated.master], into(tmp_path))
            other.update({path: path.read_bytes() for path in tmp_path.glob("small_*")})

    with pytest.raises(OutputError, match="output exists"):
        pipeline.run([simulated.master], into(tmp_path), progress=overtake)
    assert len(other) == 4
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == other


def test_summary_says_what_the_table_says(simulated: Simulated, tmp_path: Path) -> None:
    report = pipeline.run([simulated.master], into(tmp_path))
    summary, table = report.summary, pq.read_table(report.outputs.images)
    state = np.array(table["state"].to_pylist())
    hits, misses = state == "hit", state == "miss"
    n_hits, n_misses = int(hits.sum()), int(misses.sum())
    assert (summary.n_hits, summary.n_misses, summary.n_unreadable, summary.n_missing) == (n_hits, n_misses, 0, 0)
    assert summary.n_images == len(table) == 150
    assert summary.hit_rate == n_hits / 150
    interval = binomtest(n_hits, 150).proportion_ci(0.95, method="wilson")
    assert summary.hit_rate_interval == pytest.approx((interval.low, interval.high))
    assert summary.n_spots_median_hits == np.median(table["n_spots"].to_numpy()[hits])
    assert summary.background_median == np.median(table["background"].to_numpy())
    assert summary.n_saturated_images == int((table["n_saturated"].to_numpy() > 0).sum())
    resolution = table["resolution"].to_numpy()[hits]
    assert summary.resolution_hits is not None
    assert list(summary.resolution_hits.model_dump().values()) == pytest.approx(
        np.percentile(resolution, [10, 25, 50, 75, 90])
    )
    assert summary.audit.n == max(20, -(-n_misses // 100))
    assert summary.settings == into(tmp_path).model_dump(mode="json")
    assert summary.source.path == str(simulated.master)
    assert summary.source.n_files == 3
    assert summary.source.dtype == "int16"
    assert summary.workers == 2
    assert summary.source_bytes is not None
    assert 0 < summary.hit_bytes < summary.source_bytes < sum(path.stat().st_size for path in simulated.data_files)
    assert summary.facts.wavelength == 1.0
    assert summary.facts.distance == pytest.approx(0.05)
    assert (summary.facts.beam_center_x, summary.facts.beam_center_y) == (257.0, 232.0)


def test_run_without_hits_has_a_rate_of_zero(simulated: Simulated, tmp_path: Path) -> None:
    strict = VerdictSettings(rule="spots", min_spots=1_000)
    summary = pipeline.run([simulated.master], into(tmp_path, verdict=strict)).summary
    assert (summary.n_hits, summary.n_misses, summary.hit_rate) == (0, 150, 0.0)
    assert summary.hit_rate_interval is not None
    assert summary.hit_rate_interval[0] == 0.0 < summary.hit_rate_interval[1]
    assert summary.n_spots_median_hits is None
    assert summary.resolution_hits is None
    assert summary.hit_bytes == 0


def test_run_of_hits_only_has_no_audit(simulated: Simulated, tmp_path: Path) -> None:
    lenient = {"verdict": VerdictSettings(min_spots=1), "spots": SpotSettings(snr=2, min_pixels=1, spot_snr=0)}
    summary = pipeline.run([simulated.master], into(tmp_path, **lenient)).summary
    assert (summary.n_hits, summary.n_misses, summary.hit_rate) == (150, 0, 1.0)
    assert summary.audit.n == 0


def test_overrides_are_used_and_recorded(simulated: Simulated, tmp_path: Path) -> None:
    near = pipeline.run([simulated.master], into(tmp_path / "near"))
    far = pipeline.run([simulated.master], into(tmp_path / "far", source=SourceSettings(set=("distance=0.1",))))
    assert far.summary.overrides == {"distance": "0.1"}
    assert far.summary.facts.distance == pytest.approx(0.1)
    assert far.summary.resolution_hits is not None and near.summary.resolution_hits is not None
    assert far.summary.resolution_hits.p50 > 1.5 * near.summary.resolution_hits.p50


def test_limits_leave_spots_out(simulated: Simulated, tmp_path: Path) -> None:
    whole = pq.read_table(pipeline.run([simulated.master], into(tmp_path / "whole")).outputs.images)
    limits = VerdictSettings(d_min=3.0, d_max=20.0)
    cut = pq.read_table(pipeline.run([simulated.master], into(tmp_path / "cut", verdict=limits)).outputs.images)
    assert whole["n_spots"].equals(cut["n_spots"])
    fewer = cut["n_spots_counted"].to_numpy() < whole["n_spots_counted"].to_numpy()
    assert fewer[np.array(whole["state"].to_pylist()) == "hit"].all()


def test_limits_without_wavelength_are_refused(simulated: Simulated, tmp_path: Path) -> None:
    limits = VerdictSettings(d_min=3.0)
    with pytest.raises(MetadataError, match="wavelength"):
        pipeline.run([simulated.data_files[0]], into(tmp_path / "out", verdict=limits))
    assert list(tmp_path.iterdir()) == []


def test_three_lines_as_in_the_readme(
    simulated: Simulated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    report = hitsieve.run(str(simulated.master), output="out")
    print(report.summary.hit_rate, report.outputs.hits)

    assert capsys.readouterr().out == f"{report.summary.n_hits / 150} out/small_hits.h5\n"
    assert hitsieve.verify(report.outputs.hits, simulated.master).ok
    with pytest.raises(OutputError, match=r"small_hits\.h5: output exists"):
        hitsieve.run(simulated.master, output="out")
    with pytest.raises(HitsieveError, match="no such file"):
        hitsieve.run("absent.h5", output="out")


def test_many_files_are_one_run(simulated: Simulated, tmp_path: Path) -> None:
    report = hitsieve.run(simulated.data_files, output=tmp_path)
    assert report.outputs.hits == tmp_path / "small_hits.h5"
    assert report.summary.n_images == 150
    assert any("wavelength" in problem.what for problem in report.problems)
    whole = hitsieve.run(simulated.master, output=tmp_path / "master")
    # Without geometry the bins are tiles: clear hits stay what they are.
    states = [pq.read_table(r.outputs.images)["state"].to_pylist() for r in (report, whole)]
    assert sum(a == b for a, b in zip(*states, strict=True)) >= 145


NUMBERS = st.tuples(
    st.sampled_from(list(State)),
    st.integers(0, 100),
    st.integers(0, 3),
    st.floats(0, 10, width=32) | st.just(float("nan")),
)


def results(first: int, rows: list[tuple[State, int, int, float]]) -> ImageResults:
    n = len(rows)
    state = np.array([row[0] for row in rows], dtype=np.uint8)
    counts = np.array([row[1] for row in rows], dtype=np.int32)
    saturated = np.array([row[2] for row in rows], dtype=np.int32)
    level = np.array([row[3] for row in rows], dtype=np.float32)
    none = np.zeros(0, dtype=np.float32)
    types = {"n_pixels": np.int32, "flags": np.uint8, "lattice": np.int8, "h": np.int16, "k": np.int16, "l": np.int16}
    spots = Spots(**{field.name: none.astype(types.get(field.name, np.float32)) for field in fields(Spots)})
    reasons = {first + i: f"why {first + i}" for i in range(n) if state[i] >= State.UNREADABLE}
    return ImageResults(
        image=np.arange(first, first + n),
        state=state,
        n_spots=counts,
        n_spots_counted=counts,
        n_spots_ice=counts,
        n_strong=counts,
        n_saturated=saturated,
        max_count=counts.astype(np.int64),
        background=level,
        resolution=level,
        n_lattices=counts,
        n_indexed=counts,
        pump=np.full(n, -1, dtype=np.int16),
        reasons=reasons,
        offsets=np.zeros(n + 1, dtype=np.int64),
        spots=spots,
        lattice_offsets=np.zeros(n + 1, dtype=np.int64),
        lattices=Lattices.of([]),
    )


@given(st.lists(st.lists(NUMBERS, min_size=1, max_size=6), max_size=6))
def test_tally_remembers_every_batch(batches: list[list[tuple[State, int, int, float]]]) -> None:
    rows = [row for batch in batches for row in batch]
    tally = Tally.of(len(rows) + 3)
    for batch in batches:
        tally.add(results(tally.done, batch))
    assert tally.done == len(rows)
    assert tally.counts.tolist() == [sum(row[0] == state for row in rows) for state in State]
    for state in State:
        assert tally.images(state).tolist() == [i for i, row in enumerate(rows) if row[0] == state]
    assert tally.n_saturated[: len(rows)].tolist() == [row[2] for row in rows]
    assert tally.n_spots[: len(rows)].tolist() == [row[1] for row in rows]
    np.testing.assert_array_equal(tally.background[: len(rows)], np.array([row[3] for row in rows], dtype=np.float32))
    assert np.isnan(tally.resolution[len(rows) :]).all()
    first = next((i for i, row in enumerate(rows) if row[0] >= State.UNREADABLE), None)
    assert tally.first_reason == ("" if first is None else f"image {first}: why {first}")
