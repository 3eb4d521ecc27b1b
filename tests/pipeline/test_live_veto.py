"""Misses that are dropped before they are written: only sure ones, all counted; nobody calls what is left complete."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from hitsieve import pipeline
from hitsieve.errors import SettingsError, VerificationError
from hitsieve.pipeline import RunReport
from hitsieve.pipeline.live import Ended, judging, receive
from hitsieve.pipeline.release import ReleaseRequest, release
from hitsieve.pipeline.restore import RestoreRequest, restore
from hitsieve.pipeline.veto import Veto
from hitsieve.settings import LiveSettings, RunSettings
from hitsieve.source import open_run
from hitsieve.testing import SimulateSettings, StreamSettings, simulate
from hitsieve.testing.stream import StreamedSeries, StreamSender, order
from pipeline.streaming import Receiving, Seen, kept_chunks, peaks, series_of, states

N = 60
FAULTS = StreamSettings(disorder=10, lose=0.1, fault_seed=4)


def chosen(folder: Path, *, min_spots: int | None = 8, rule: str = "spots", **write: object) -> RunSettings:
    rooms = {
        "write": {"output": folder, "audit_min": 10, "audit_fraction": 0.05, "audit_seed": 3} | write,
        "verdict": {"min_spots": min_spots, "rule": rule, "second_look": 100},
    }
    return RunSettings.model_validate(rooms | {"catalogue": {"no_catalogue": True}, "workers": 2})


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    about = {"name": "source", "detector": "test-256k", "images": N, "hit_fraction": 0.4, "seed": 11}
    return simulate(tmp_path_factory.mktemp("source"), SimulateSettings.model_validate(about)).master


@pytest.fixture(scope="module")
def stored(master: Path, tmp_path_factory: pytest.TempPathFactory) -> RunReport:
    """What its files give."""
    return pipeline.run([master], chosen(tmp_path_factory.mktemp("stored")))


def sent(master: Path, folder: Path, **live: object) -> tuple[Ended, Seen]:
    """Send the run, out of order, to a receiver with a veto."""
    with (
        StreamSender(["tcp://127.0.0.1:*"]) as sender,
        Receiving(sender.addresses, chosen(folder), series=1, veto="spots", **live) as receiving,
    ):
        sender.send(series_of(master, 1), FAULTS)
    (ended,) = receiving.ended
    return ended, receiving.seen


@pytest.fixture(scope="module")
def vetoed(master: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Ended, Seen]:
    return sent(master, tmp_path_factory.mktemp("vetoed"), keep_received=True)


def dropped(seen: Seen) -> set[int]:
    return {verdict.image for verdict in seen.verdicts if verdict.dropped}


def test_flags_numbers_and_hits_are_those_of_the_whole_run(stored: RunReport, vetoed: tuple[Ended, Seen]) -> None:
    ended, seen = vetoed
    came = {verdict.image for verdict in seen.verdicts}
    assert N // 2 < len(came) < N
    table, wanted = pq.read_table(ended.outputs[2]), pq.read_table(stored.outputs.images)
    flags = wanted["state"].to_pylist()
    assert table["state"].to_pylist() == [flag if i in came else "missing" for i, flag in enumerate(flags)]
    for name in ("n_spots", "n_spots_counted", "background", "resolution", "n_lattices"):
        rows = wanted[name].to_pylist()
        assert table[name].to_pylist() == [value if i in came else None for i, value in enumerate(rows)]
    hits = {i: sha for i, sha in kept_chunks(stored.outputs.hits).items() if i in came}
    assert kept_chunks(ended.outputs[0]) == hits
    assert sum(ended.counts.values()) == N


def test_only_sure_misses_are_dropped_but_for_a_random_sample(stored: RunReport, vetoed: tuple[Ended, Seen]) -> None:
    ended, seen = vetoed
    gone, came = dropped(seen), {verdict.image for verdict in seen.verdicts}
    veto = Veto(8, 10 / N, 3)
    misses = {i for i, state in enumerate(states(stored.outputs.images)) if state == "miss" and i in came}
    sample = {i for i in misses if veto.samples(i)}
    # The first image tells what the others are like: it is written before it is judged.
    assert gone == misses - sample - {next(order(N, FAULTS))}
    assert 0 < len(gone) == ended.dropped
    with h5py.File(ended.outputs[0]) as file:
        process = file["entry/hit_finding"]
        assert set(process["audit/source_image"][()].tolist()) == sample
        assert process["audit/fraction"][()] == pytest.approx(veto.fraction)
        assert process["veto"].asstr()[()] == str(veto)
        assert (process["n_dropped"][()], process["n_misses"][()]) == (len(gone), len(misses))
    summary = json.loads(next(path for path in ended.outputs if path.suffix == ".json").read_text())
    assert (summary["veto"]["n"], summary["n_dropped"]) == (len(gone), len(gone))
    assert summary["missed"]["n"] <= len(sample)
    # Of those that are gone no file is known.
    files = pq.read_table(ended.outputs[2])["file"].to_pylist()
    assert {i for i, file in enumerate(files) if file is None and i in came} == gone


def test_what_was_received_says_what_it_lacks_and_is_not_called_complete(
    vetoed: tuple[Ended, Seen], tmp_path: Path
) -> None:
    ended, seen = vetoed
    received = ended.outputs[0].parent / "received" / ended.name / f"{ended.name}_master.h5"
    with open_run(received) as opened:
        lost = set(range(N)) - {verdict.image for verdict in seen.verdicts}
        assert set(opened.run.images.missing) == dropped(seen) | lost
        assert any("dropped before they were written" in problem.what for problem in opened.run.problems)
    # As after a crash: the run of what is left.
    report = pipeline.run([received], chosen(tmp_path, misses="keep"))
    assert report.outputs.misses is not None
    assert report.summary.n_missing == len(dropped(seen) | lost)
    proven = release(ReleaseRequest((received,), report.outputs.hits, report.outputs.misses))
    assert proven.proof is None
    assert "dropped before they were written" in proven.reasons[0]
    with pytest.raises(VerificationError, match="dropped before they were written"):
        restore(RestoreRequest(report.outputs.hits, report.outputs.misses, tmp_path / "restored.h5"))


def test_where_sieving_fails_the_numbers_of_what_was_dropped_are_kept(
    master: Path, stored: RunReport, tmp_path: Path, make_disk: Callable[[str], Path]
) -> None:
    ended, seen = sent(master, make_disk("600k"), spool=tmp_path)
    path = tmp_path / ended.name / f"{ended.name}_dropped.parquet"
    assert "no space left" in ended.failed
    assert ended.failed.endswith(f"what is known of {len(dropped(seen))} images that were dropped is in {path}")
    table, wanted = pq.read_table(path), pq.read_table(stored.outputs.images)
    images = table["image"].to_pylist()
    assert images == sorted(dropped(seen))
    for name in ("n_spots", "n_spots_counted", "n_saturated", "background", "max_count"):
        assert table[name].to_pylist() == [wanted[name][i].as_py() for i in images], name
    assert b"were dropped before they were written" in table.schema.metadata[b"veto"]


def test_without_room_to_wait_images_are_written_first(
    master: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "MOST_WAITING", 0)
    ended, seen = sent(master, tmp_path, keep_received=True)
    later = {verdict.image for verdict in seen.verdicts if verdict.state == "later"}
    received = tmp_path / "received" / ended.name / f"{ended.name}_master.h5"
    assert len(later) == ended.later
    assert not later & dropped(seen)
    with open_run(received) as opened:
        assert not set(opened.run.images.missing) & later
    assert ended.dropped == len(dropped(seen))


def test_images_that_cannot_be_read_stay_and_misses_go(tmp_path: Path, master: Path) -> None:
    with open_run(master) as opened:
        series = StreamedSeries.of(opened, 1)
    start = series.start
    damaged = bytes(series.pieces[20][:400]) + b"\xff" * (len(series.pieces[20]) - 400)
    pieces = (*series.pieces[:20], damaged, *series.pieces[21:])
    folder = tmp_path / "out"
    with (
        StreamSender(["tcp://127.0.0.1:*"]) as sender,
        Receiving(sender.addresses, chosen(folder), series=2, veto="spots") as receiving,
    ):
        sender.send(series)
        sender.send(StreamedSeries(start | {"series_id": 2, "series_unique_id": "damaged"}, pieces, N))
    whole, broken = receiving.ended
    assert not list(folder.glob("received/series_000001*"))
    n_audit = sum(Veto(8, 10 / N, 3).samples(i) for i in np.flatnonzero(np.array(states(whole.outputs[1])) == "miss"))
    assert whole.dropped == whole.counts["miss"] - n_audit
    assert whole.dropped >= len({v.image for v in receiving.seen.verdicts if v.dropped and v.name == whole.name}) > 0
    assert len(peaks(whole.outputs[0])["nPeaks"]) == whole.counts["hit"]
    assert broken.counts["unreadable"] == 1
    assert "no veto drops" in broken.problems[-1]
    with open_run(folder / "received" / broken.name / f"{broken.name}_master.h5") as opened:
        assert 20 not in opened.run.images.missing
    assert broken.dropped == len({v.image for v in receiving.seen.verdicts if v.dropped and v.name == broken.name})


@pytest.mark.parametrize("said", [{}, {"misses": "sample"}])
def test_without_its_start_no_miss_is_sure(master: Path, tmp_path: Path, said: dict[str, object]) -> None:
    with (
        StreamSender(["tcp://127.0.0.1:*"]) as sender,
        Receiving(sender.addresses, chosen(tmp_path, **said), series=1, veto="spots") as receiving,
    ):
        sender.send(series_of(master, 1), StreamSettings(no_start=True))
    (ended,) = receiving.ended
    assert not dropped(receiving.seen)
    names = {path.name for path in ended.outputs}
    if said:
        assert 0 < ended.dropped < ended.counts["miss"]
        assert "series_000001_misses.h5" not in names
    else:
        assert ended.dropped == 0
        # All that was received is proven to be in hits and misses.
        assert "series_000001_release.json" in names
    assert not (tmp_path / "received").exists()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"min_spots": None}, "--min-spots"),
        ({"rule": "either"}, "--rule spots or --indexing off"),
        ({"misses": "keep"}, "--misses keep"),
    ],
)
def test_where_no_miss_is_sure_nothing_is_received(tmp_path: Path, settings: dict[str, object], says: str) -> None:
    with pytest.raises(SettingsError) as error:
        receive(["tcp://127.0.0.1:1"], chosen(tmp_path, **settings), LiveSettings(veto="spots"))  # type: ignore[arg-type]
    assert says in f"{error.value}"


def test_the_random_sample_hangs_on_number_and_seed_alone() -> None:
    veto = Veto(8, 0.1, 7)
    sample = [veto.samples(i) for i in range(4000)]
    assert sample == [Veto(20, 0.1, 7).samples(i) for i in range(4000)]
    assert sample != [Veto(8, 0.1, 8).samples(i) for i in range(4000)]
    # Five standard deviations.
    assert abs(sum(sample) - 400) < 5 * (4000 * 0.1 * 0.9) ** 0.5
    settings = RunSettings.model_validate({"write": {"audit_min": 50, "audit_fraction": 0.01}})
    assert [Veto.of(settings, 8, n).fraction for n in (None, 10, 100, 100_000)] == [0.01, 1.0, 0.5, 0.01]
