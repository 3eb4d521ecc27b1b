"""What befalls a receiver from outside: full disks, dying processes and sockets, those who read nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import active_children
from pathlib import Path
from typing import Any, cast

import cbor2
import pytest
import zmq

from hitsieve import pipeline
from hitsieve.model import SeriesKey
from hitsieve.pipeline import RunReport
from hitsieve.pipeline.apart import Apart
from hitsieve.pipeline.known import Known
from hitsieve.pipeline.live import Ended
from hitsieve.pipeline.live.finishing import Job, sieve_apart
from hitsieve.pipeline.live.metrics import Metrics
from hitsieve.pipeline.live.publish import QUEUED, Publisher
from hitsieve.pipeline.live.spool import remove_series, sweep
from hitsieve.testing import SimulateSettings, simulate
from hitsieve.testing.stream import StreamSender
from pipeline.streaming import Receiving, into, kept_chunks, series_of, states, until

N = 24


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of small images, many of them hits."""
    about = {"name": "source", "detector": "test-256k", "images": N, "hit_fraction": 0.4, "seed": 11}
    return simulate(tmp_path_factory.mktemp("source"), SimulateSettings.model_validate(about)).master


@pytest.fixture(scope="module")
def stored(master: Path, tmp_path_factory: pytest.TempPathFactory) -> RunReport:
    """What its files give."""
    return pipeline.run([master], into(tmp_path_factory.mktemp("stored")))


@pytest.fixture
def sender() -> Iterator[StreamSender]:
    """A detector with one socket; what nobody took does not hold up the test."""
    made = StreamSender(["tcp://127.0.0.1:*"])
    yield made
    made.close(0)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_full_spool_costs_only_what_there_was_no_room_for(
    master: Path, stored: RunReport, sender: StreamSender, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", "3m") as disk:
        with Receiving(sender.addresses, into(tmp_path / "out"), series=1, spool=disk) as receiving:
            sender.send(series_of(master, 1))
        assert not list(disk.rglob("*"))
    (ended,) = receiving.ended
    lost = {verdict.image for verdict in receiving.seen.verdicts if verdict.state == "missing"}
    assert 0 < len(lost) < N
    assert all("no space left" in v.reason for v in receiving.seen.verdicts if v.image in lost)
    wanted = states(stored.outputs.images)
    assert states(ended.outputs[1]) == ["missing" if i in lost else state for i, state in enumerate(wanted)]
    assert kept_chunks(ended.outputs[0]) == {i: s for i, s in kept_chunks(stored.outputs.hits).items() if i not in lost}


def test_a_full_disk_of_outputs_keeps_what_was_received(
    master: Path, stored: RunReport, sender: StreamSender, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = tmp_path / "spool"
    with (
        small_disk(tmp_path / "disk", "1m") as disk,
        Receiving(sender.addresses, into(disk), series=1, spool=spool) as receiving,
    ):
        sender.send(series_of(master, 1))
        until(lambda: bool(receiving.seen.ends))
        left = list(disk.iterdir())
    (ended,) = receiving.ended
    assert left == []
    received = spool / ended.name / f"{ended.name}_master.h5"
    assert "no space left" in ended.failed
    assert f"hitsieve run {received} --misses keep" in ended.failed
    # So many series are left, and how much room they take.
    assert re.search(rf"1 series in {spool}, [\d.]+ MB in all", caplog.text)
    again = pipeline.run([received], into(tmp_path / "again"))
    assert kept_chunks(again.outputs.hits) == kept_chunks(stored.outputs.hits)


class Deadly:
    """Ends whoever takes it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (9,)


def test_the_death_of_the_process_that_sieves(master: Path, stored: RunReport, tmp_path: Path) -> None:
    name = master.name.removesuffix("_master.h5")
    left = tmp_path / f".{name}_hits.h5.0123abcd.tmp"
    left.touch()
    with Apart() as apart:
        died = sieve_apart(apart, Job(master, into(tmp_path), cast(Known, Deadly()), keep=True))
        assert "has died twice" in died.failed
        assert list(tmp_path.iterdir()) == []
        # When it dies idle, that costs nothing. The dead are buried a little later.
        until(lambda: len(active_children()) == 1)
        (child,) = active_children()
        child.kill()
        child.join()
        well = sieve_apart(apart, Job(master, into(tmp_path), Known(), keep=True))
        assert states(well.outputs[2]) == states(stored.outputs.images)
        # What it may have been at is not written over, nor sieved a second time.
        died = sieve_apart(apart, Job(master, into(tmp_path), cast(Known, Deadly()), keep=True))
        assert "after outputs had appeared" in died.failed


def test_what_was_left_is_told_and_what_was_being_removed_is_no_series(
    sender: StreamSender, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = tmp_path / "received"
    folder, left = spool / "series_000001", spool / "series_000002" / "series_000002_master.h5"
    folder.mkdir(parents=True)
    for i in range(3000):
        (folder / f"{i}_master.h5").touch()
    code = "import sys; from pathlib import Path; from hitsieve.pipeline.live.spool import remove_series; "
    code += "remove_series(Path(sys.argv[1]))"
    with subprocess.Popen([sys.executable, "-c", code, folder]) as process:
        until(lambda: not folder.exists())
        process.kill()
    left.parent.mkdir()
    left.write_bytes(bytes(1_000_000))
    with Receiving(sender.addresses, into(tmp_path), stop=True):
        pass
    assert list(spool.rglob("*_master.h5")) == [left]
    assert list(spool.iterdir()) == [left.parent]
    assert "1 series in" in caplog.text
    assert "1.0 MB in all" in caplog.text
    assert f"hitsieve run {left}" in caplog.text


def test_only_what_was_proven_is_swept(tmp_path: Path) -> None:
    for name in ("series_000001", ".series_000002.proven", ".other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    (tmp_path / ".link.0123abcd.proven").symlink_to(tmp_path / "series_000001")
    (tmp_path / "series_000003").mkdir()
    remove_series(tmp_path / "series_000003")
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("file") if path.is_file()) == ["file"] * 3
    assert not (tmp_path / "series_000003").exists()


def test_a_socket_that_dies_in_mid_series_and_comes_back(master: Path, stored: RunReport, tmp_path: Path) -> None:
    series = series_of(master, 1)
    start = cbor2.dumps(series.start)
    with (
        StreamSender(["tcp://127.0.0.1:*"]) as one,
        StreamSender(["tcp://127.0.0.1:*"]) as other,
        Receiving([*one.addresses, *other.addresses], into(tmp_path), series=1, end_wait=60) as receiving,
    ):
        for sender in (one, other):
            sender.raw(start)
        for i in range(10):
            (one, other)[i % 2].raw(series.image(i))
        until(lambda: len(receiving.seen.verdicts) == 10)
        address = other.addresses
        other.close(0)
        for i in range(10, 16):
            one.raw(series.image(i))
        with StreamSender(address) as back:
            # Its writer begins anew: it knows nothing of what it sent.
            back.raw(start)
            for i in range(16, N):
                (one, back)[i % 2].raw(series.image(i))
            for sender in (one, back):
                sender.raw(series.end)
            until(lambda: bool(receiving.seen.ends))
    (ended,) = receiving.ended
    assert (ended.received, ended.why) == (N, "its end came")
    assert states(ended.outputs[1]) == states(stored.outputs.images)
    assert [kind for kind, _ in receiving.seen.refusals] == ["doubled"]


def test_who_reads_no_results_delays_nobody_and_sees_what_was_missed() -> None:
    n = 8 * QUEUED
    filler = "x" * 1000
    with zmq.Context() as context, context.socket(zmq.SUB) as slow, Publisher("tcp://127.0.0.1:*") as publisher:
        for option, value in ((zmq.RCVHWM, 10), (zmq.RCVBUF, 4096), (zmq.RCVTIMEO, 60_000), (zmq.LINGER, 0)):
            slow.setsockopt(option, value)
        slow.subscribe(b"")
        slow.connect(publisher.address)
        # A subscriber is known some time after it has connected.
        while not slow.poll(20):
            publisher.refused("bad", "first")
        for _ in range(n):
            publisher.refused("bad", filler)
        sequence = [json.loads(slow.recv())["sequence"]]
        # The queue is emptied; what comes then is received, however much was lost before it.
        publisher_sent = False
        while not publisher_sent:
            publisher.refused("bad", "last")
            while slow.poll(50):
                message = json.loads(slow.recv())
                sequence.append(message["sequence"])
                publisher_sent |= message["what"] == "last"
    assert sequence == sorted(set(sequence))
    missed = sequence[-1] - sequence[0] + 1 - len(sequence)
    assert 0 < missed < sequence[-1]


def test_images_of_which_nothing_is_kept_are_counted_for_prometheus() -> None:
    ended = Ended("name", SeriesKey(1), "its end came", {"miss": 9}, dropped=7)
    with Metrics("127.0.0.1:0") as metrics:
        metrics.ended(ended)
        metrics.ended(ended)
        with urllib.request.urlopen(f"http://127.0.0.1:{metrics.port}/metrics", timeout=60) as answer:
            text = answer.read().decode()
    assert "hitsieve_dropped_images_total 14.0" in text
