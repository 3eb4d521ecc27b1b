"""Series come and go, with all that can go wrong on the way; what is received is sieved, and no two series meet."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import cbor2
import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from hitsieve import pipeline
from hitsieve.errors import OutputError, SettingsError
from hitsieve.pipeline import RunReport
from hitsieve.pipeline.known import Known
from hitsieve.pipeline.live import losing_nothing, receive
from hitsieve.pipeline.live.finishing import Job, sieve
from hitsieve.pipeline.restore import RestoreRequest, restore
from hitsieve.settings import LiveSettings
from hitsieve.source import open_run
from hitsieve.testing import SimulateSettings, StreamSettings, simulate
from hitsieve.testing.stream import StreamedSeries, StreamSender, array, order, packed
from hitsieve.write import read_proof
from pipeline.streaming import Receiving, end, into, kept_chunks, series_of, states, until

N = 40


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of small images, many of them hits."""
    about = {"name": "source", "detector": "test-256k", "images": N, "hit_fraction": 0.4, "seed": 11}
    return simulate(tmp_path_factory.mktemp("source"), SimulateSettings.model_validate(about)).master


@pytest.fixture(scope="module")
def stored(master: Path, tmp_path_factory: pytest.TempPathFactory) -> RunReport:
    """What its files give."""
    return pipeline.run([master], into(tmp_path_factory.mktemp("stored")))


def test_lost_doubled_and_out_of_order_over_two_sockets(master: Path, stored: RunReport, tmp_path: Path) -> None:
    faults = StreamSettings(lose=0.2, double=0.2, disorder=8, fault_seed=2)
    with (
        StreamSender(["tcp://127.0.0.1:*", "tcp://127.0.0.1:*"]) as sender,
        Receiving(sender.addresses, into(tmp_path), series=1) as receiving,
    ):
        sent = sender.send(series_of(master, 1), faults)
    assert sent == list(order(N, faults))
    assert sent != sorted(sent)
    came = set(sent)
    (ended,) = receiving.ended
    assert (ended.received, ended.doubled) == (len(came), len(sent) - len(came))
    assert ended.doubled > 0
    assert len(came) < N
    hits, table, *_ = ended.outputs
    wanted = states(stored.outputs.images)
    assert states(table) == [state if i in came else "missing" for i, state in enumerate(wanted)]
    assert kept_chunks(hits) == {i: sha for i, sha in kept_chunks(stored.outputs.hits).items() if i in came}
    verdicts = {verdict.image: verdict.state for verdict in receiving.seen.verdicts}
    assert len(receiving.seen.verdicts) == len(came)
    assert verdicts == {i: wanted[i] for i in came}
    assert Counter(kind for kind, _ in receiving.seen.refusals) == {"doubled": ended.doubled}


def test_all_that_was_received_is_in_hits_and_misses_before_it_goes(
    master: Path, sender: StreamSender, tmp_path: Path
) -> None:
    with Receiving(sender.addresses, into(tmp_path), series=1) as receiving:
        sender.send(series_of(master, 1))
    (ended,) = receiving.ended
    hits, _, _, misses, proof = ended.outputs
    assert not (tmp_path / "received").exists()
    assert ended.dropped == 0
    request = RestoreRequest(hits, misses, tmp_path / "restored.h5")
    restore(request)
    with open_run(request.output) as restored, open_run(master) as source:
        assert [restored.stored(i) for i in range(N)] == [source.stored(i) for i in range(N)]
    told = read_proof(proof)
    assert (told.n_hits + told.n_misses, told.n_bytes) == (N, N)
    assert told.deletion is not None
    assert len(told.deletion.deleted) == len(told.files) == 2


def test_misses_are_dropped_where_that_is_wanted_and_counted(
    master: Path, sender: StreamSender, tmp_path: Path
) -> None:
    settings = into(tmp_path, misses="sample", audit_min=5, audit_fraction=0.0)
    with Receiving(sender.addresses, settings, series=1) as receiving:
        sender.send(series_of(master, 1))
    (ended,) = receiving.ended
    assert ended.dropped == ended.counts["miss"] - 5 > 0
    assert {path.name.removeprefix(ended.name) for path in tmp_path.iterdir()} == {
        "_hits.h5",
        "_images.parquet",
        "_summary.json",
    }


def test_what_is_not_proven_to_be_in_the_outputs_stays(master: Path, tmp_path: Path) -> None:
    spool = tmp_path / "spool" / "name"
    shutil.copytree(master.parent, spool)
    received = spool / master.name
    settings = losing_nothing(into(tmp_path / "out"))
    job = Job(received, settings, Known(), keep=False)
    # The folder of the proof cannot take it: nothing is proven.
    (tmp_path / "out" / f"{master.name.removesuffix('_master.h5')}_release.json").mkdir(parents=True)
    sieved = sieve(job)
    assert not sieved.failed
    assert "what was received is kept" in sieved.problems[-1]
    assert received.exists()
    assert set(sieved.outputs) == {path for path in (tmp_path / "out").iterdir() if path.is_file()}
    with h5py.File(next(path for path in sieved.outputs if path.name.endswith("_annotated.h5"))) as file:
        assert len(file["entry/data/data"]) == N


def test_two_programs_share_a_folder_and_no_series(master: Path, sender: StreamSender, tmp_path: Path) -> None:
    series = series_of(master, 1)
    with (
        StreamSender(["tcp://127.0.0.1:*"]) as second,
        Receiving(sender.addresses, into(tmp_path), series=1) as one,
        Receiving(second.addresses, into(tmp_path), series=1) as other,
    ):
        for detector in (sender, second):
            detector.raw(cbor2.dumps(series.start))
        until(lambda: len(one.seen.names) == len(other.seen.names) == 1)
        for detector in (sender, second):
            for i in range(N):
                detector.raw(series.image(i))
            detector.raw(series.end)
    ended = (*one.ended, *other.ended)
    assert {end.name for end in ended} == {"series_000001", "series_000001-2"}
    assert [end.failed for end in ended] == ["", ""]


def test_a_detector_that_dies_and_one_that_uses_a_number_again(
    master: Path, stored: RunReport, sender: StreamSender, tmp_path: Path
) -> None:
    one = series_of(master, 5)
    again = StreamedSeries({**one.start, "series_unique_id": ""}, one.pieces, N)
    with Receiving(sender.addresses, into(tmp_path), series=4) as receiving:
        sender.send(one, StreamSettings(die_after=10))
        # Its last images come after the next series has begun.
        sender.send(again, StreamSettings(die_after=20))
        sender.raw(one.image(30))
        sender.send(again)
        sender.send(again, StreamSettings(lose=0.1))
    names = [ended.name for ended in receiving.ended]
    assert names == ["series_000005", "series_000005-2", "series_000005-3", "series_000005-4"]
    assert receiving.seen.names == names
    assert [ended.received for ended in receiving.ended][:3] == [10, 20, N]
    assert [ended.why for ended in receiving.ended] == [
        "the next series began",
        "a series of the same number began",
        "its end came",
        "its end came",
    ]
    wanted = states(stored.outputs.images)
    for ended, n in zip(receiving.ended, (10, 20, N), strict=False):
        assert states(ended.outputs[1]) == wanted[:n] + ["missing"] * (N - n)
    assert [kind for kind, _ in receiving.seen.refusals] == ["late"]


def test_a_number_used_again_while_one_socket_lags(master: Path, stored: RunReport, tmp_path: Path) -> None:
    """The lagging images bear the key of the series that is open: only the order of each socket tells them apart."""
    one = series_of(master, 5)
    series = StreamedSeries({**one.start, "series_unique_id": ""}, one.pieces, N)
    start = cbor2.dumps(series.start)
    with (
        StreamSender(["tcp://127.0.0.1:*", "tcp://127.0.0.1:*"]) as sender,
        Receiving(sender.addresses, into(tmp_path), series=2) as receiving,
    ):
        for socket in (0, 1):
            sender.raw(start, socket)
            sender.raw(series.image(socket), socket)
        until(lambda: len(receiving.seen.verdicts) == 2)
        sender.raw(start)
        until(lambda: len(receiving.seen.names) == 2)
        for late in range(10, 15):
            sender.raw(series.image(late), 1)
        until(lambda: len(receiving.seen.refusals) == 5)
        sender.raw(start, 1)
        for i in range(N):
            sender.raw(series.image(i), i % 2)
        for socket in (0, 1):
            sender.raw(series.end, socket)
    assert [ended.received for ended in receiving.ended] == [2, N]
    assert {kind for kind, _ in receiving.seen.refusals} == {"late"}
    assert states(receiving.ended[1].outputs[1]) == states(stored.outputs.images)


def test_each_series_is_searched_with_its_own_mask(master: Path, sender: StreamSender, tmp_path: Path) -> None:
    one = series_of(master, 1)
    with open_run(master) as opened:
        mask = np.ones(opened.run.detector.shape, dtype=np.uint32)
        mask[:200] = 0
    with Receiving(sender.addresses, into(tmp_path), series=3) as receiving:
        for number, start in ((1, {}), (2, {"pixel_mask": {"threshold_1": array(mask)}}), (3, {})):
            sender.send(StreamedSeries(one.start | start | {"series_id": number}, one.pieces, N))
    found = []
    for ended in receiving.ended:
        table = pq.read_table(ended.outputs[1])
        for name in ("n_spots", "n_spots_counted", "n_saturated"):
            at_once = {v.image: getattr(v, name) for v in receiving.seen.verdicts if v.name == ended.name}
            assert at_once == dict(enumerate(table[name].to_pylist()))
        found.append(table["n_spots"].to_pylist())
    assert found[0] == found[2]
    assert sum(found[1]) < sum(found[0])


def test_sockets_that_state_different_masks_are_told(master: Path, stored: RunReport, tmp_path: Path) -> None:
    series = series_of(master, 1)
    mask = np.ones((series.start["image_size_y"], series.start["image_size_x"]), dtype=np.uint32)
    starts = [series.start | {"write_master_file": False}, series.start | {"pixel_mask": {"threshold_1": array(mask)}}]
    with (
        StreamSender(["tcp://127.0.0.1:*"] * 2) as sender,
        Receiving(sender.addresses, into(tmp_path), series=2) as receiving,
    ):
        for number, start in enumerate(starts, 1):
            one = {"series_id": number, "series_unique_id": f"{number}"}
            sender.raw(cbor2.dumps(series.start | one), 0)
            until(lambda seen=number: len(receiving.seen.names) == seen)
            sender.raw(cbor2.dumps(start | one), 1)
            for i in range(N):
                sender.raw(StreamedSeries(series.start | one, series.pieces, N).image(i))
            for socket in range(2):
                end_of = cbor2.dumps({"type": "end"} | one)
                sender.raw(end_of, socket)
    same, other = receiving.ended
    what = "its sockets state different geometry or masks"
    assert not any(what in problem for problem in same.problems)
    assert any(what in problem for problem in other.problems)
    assert states(other.outputs[1]) == states(stored.outputs.images)


def test_a_missed_start(master: Path, sender: StreamSender, tmp_path: Path) -> None:
    with Receiving(sender.addresses, into(tmp_path), series=1) as receiving:
        sender.send(series_of(master, 3), StreamSettings(no_start=True))
    (ended,) = receiving.ended
    assert "its start was missed" in ended.problems[0]
    assert not ended.failed
    assert sum(ended.counts.values()) == N
    assert ended.counts["hit"] > 0


def test_a_start_that_comes_after_images(master: Path, stored: RunReport, sender: StreamSender, tmp_path: Path) -> None:
    series = series_of(master, 3)
    with Receiving(sender.addresses, into(tmp_path), series=1) as receiving:
        for i in range(10):
            sender.raw(series.image(i))
        sender.raw(cbor2.dumps(series.start))
        for i in range(10, N - 2):
            sender.raw(series.image(i))
        sender.raw(series.end)
    (ended,) = receiving.ended
    assert states(ended.outputs[1]) == [*states(stored.outputs.images)[:-2], "missing", "missing"]
    wanted = {i: sha for i, sha in kept_chunks(stored.outputs.hits).items() if i < N - 2}
    assert kept_chunks(ended.outputs[0]) == wanted


def test_silence_ends_a_series(master: Path, sender: StreamSender, tmp_path: Path) -> None:
    with Receiving(sender.addresses, into(tmp_path), series=1, idle=3) as receiving:
        sender.send(series_of(master, 1), StreamSettings(die_after=15))
    assert [(ended.received, ended.why) for ended in receiving.ended] == [(15, "nothing came for 3 s")]


def test_stopping_ends_the_open_series_and_what_was_received_may_stay(
    master: Path, sender: StreamSender, tmp_path: Path
) -> None:
    with Receiving(sender.addresses, into(tmp_path), stop=True, keep_received=True) as receiving:
        sender.send(series_of(master, 9), StreamSettings(die_after=12))
        until(lambda: len(receiving.seen.verdicts) == 12)
    (ended,) = receiving.ended
    assert (ended.received, ended.why) == (12, "receiving was stopped")
    # What was received is a run like any other, and the annotated master shows it.
    kept = tmp_path / "received" / ended.name / f"{ended.name}_master.h5"
    with open_run(kept) as run, open_run(master) as source:
        assert [run.stored(i) for i in range(12)] == [source.stored(i) for i in range(12)]
        assert run.run.detector.panels == source.run.detector.panels
        assert run.run.beam.wavelength == source.run.beam.wavelength
        assert len(run.run.images.missing) == N - 12
        with h5py.File(tmp_path / f"{ended.name}_annotated.h5") as file:
            assert (file["entry/data/data"][3] == source.pixels(3)).all()


def test_hostile_and_odd_messages_harm_no_series(
    master: Path, stored: RunReport, sender: StreamSender, tmp_path: Path
) -> None:
    series = series_of(master, 1)
    key = series.key
    with open_run(master) as opened:
        shape, dtype, chunk = opened.run.detector.shape, opened.run.dtype, opened.stored(0)
        other_codec = packed(shape, dtype, "lz4", chunk)
        pixels = opened.pixels(0)
    odd = {
        20: array(pixels),
        21: other_codec,
        22: array(pixels[:10]),
        23: packed(shape, dtype, "bslz4", chunk[:100]),
        24: packed(shape, dtype, "bslz4", b"\xff" * len(chunk)),
        25: None,
    }

    def image(number: int, data: object) -> bytes:
        return cbor2.dumps({"type": "image", **key, "image_id": number, "data": {"threshold_1": data}})

    with Receiving(sender.addresses, into(tmp_path), series=1) as receiving:
        for _ in range(2):
            sender.raw(cbor2.dumps(series.start))
        for i in range(N):
            for junk in (b"", b"\x81" * 1000, cbor2.dumps({"type": "image", "series_id": 1}), series.image(i)[:-3]):
                sender.raw(junk)
            sender.raw(cbor2.dumps({"type": "metadata", "images": [{"image_id": i}]}))
            sender.raw(image(i, odd[i]) if i in odd else series.image(i))
        sender.raw(image(1 << 60, array(pixels)))
        end(sender, 99)
        sender.raw(series.end)
    (ended,) = receiving.ended
    assert Counter(kind for kind, _ in receiving.seen.refusals) == {"bad": 4 * N + 1, "doubled": 1}
    rows = pq.read_table(ended.outputs[1])
    wanted = states(stored.outputs.images)
    # The bytes of two fit, and are kept, whatever they are; of the others nothing can be.
    lost = {i: "unreadable" if i in (23, 24) else "missing" for i in odd}
    assert rows["state"].to_pylist() == [lost.get(i, state) for i, state in enumerate(wanted)]
    with h5py.File(ended.outputs[3]) as file:
        assert file["entry/hit_finding/n_unreadable"][()] == 2
    assert not (tmp_path / "received").exists()
    reasons = rows["reason"].to_pylist()
    for i, why in {20: "not packed", 21: "lz4", 22: "(10, 514)", 25: "no array"}.items():
        assert why in reasons[i]
    verdicts = {verdict.image: verdict.state for verdict in receiving.seen.verdicts}
    assert verdicts == dict(enumerate(rows["state"].to_pylist()))


def test_what_comes_too_fast_is_dropped_and_told(sender: StreamSender, tmp_path: Path) -> None:
    """More than may be held: the data of images are let go, and every image is accounted for."""
    big = simulate(tmp_path / "big", SimulateSettings(name="big", detector="jungfrau-4m", images=2, compression="none"))
    with open_run(big.master) as opened:
        series = StreamedSeries.of(opened, 1, 30)
    with Receiving(sender.addresses, into(tmp_path / "out"), series=1, buffer=1) as receiving:
        sender.send(series)
    (ended,) = receiving.ended
    assert ended.received == 30
    # Every one of them is larger than what may be held.
    assert {verdict.state for verdict in receiving.seen.verdicts} == {"missing"}
    assert all("too fast" in verdict.reason for verdict in receiving.seen.verdicts)
    assert ended.failed
    assert not list((tmp_path / "out").glob("*.h5"))


def test_addresses_and_folders_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no address to receive from"):
        receive(["nonsense"], into(tmp_path), LiveSettings())
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        receive(["tcp://127.0.0.1:1"], into(tmp_path / "file"), LiveSettings())
