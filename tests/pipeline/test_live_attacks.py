"""What befalls a receiver from outside: full disks, dying processes and sockets, those who read nothing."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path
from threading import Event, current_thread
from typing import Any, cast

import cbor2
import numpy as np
import pytest
import zmq

from hitsieve import pipeline
from hitsieve.errors import SourceError
from hitsieve.model import SeriesKey
from hitsieve.pipeline import RunReport
from hitsieve.pipeline.apart import Apart
from hitsieve.pipeline.known import Known
from hitsieve.pipeline.live import Ended
from hitsieve.pipeline.live.finishing import Job, sieve_apart
from hitsieve.pipeline.live.metrics import Metrics
from hitsieve.pipeline.live.publish import QUEUED, Publisher
from hitsieve.pipeline.live.spool import remove_series, sweep
from hitsieve.source import endpoints
from hitsieve.testing import SimulateSettings, simulate
from hitsieve.testing.stream import StreamSender, array
from hitsieve.write import received
from pipeline.streaming import PATIENCE, Receiving, Seen, into, kept_chunks, series_of, states, until
from ports import free_port

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


def test_a_full_spool_costs_only_what_there_was_no_room_for(
    master: Path, stored: RunReport, sender: StreamSender, tmp_path: Path, make_disk: Callable[[str], Path]
) -> None:
    disk = make_disk("3m")
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
    master: Path,
    stored: RunReport,
    sender: StreamSender,
    tmp_path: Path,
    make_disk: Callable[[str], Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    spool, disk = tmp_path / "spool", make_disk("1m")
    with Receiving(sender.addresses, into(disk), series=1, spool=spool) as receiving:
        sender.send(series_of(master, 1))
    (ended,) = receiving.ended
    assert list(disk.iterdir()) == []
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
    for left in ("hits.h5", "light_hits.h5"):
        (tmp_path / f".{name}_{left}.0123abcd.tmp").touch()
    of_others = set(active_children())
    with Apart() as apart:
        died = sieve_apart(apart, Job(master, into(tmp_path), cast(Known, Deadly()), keep=True))
        assert "has died twice" in died.failed
        assert list(tmp_path.iterdir()) == []
        # When it dies idle, that costs nothing. The dead are buried a little later.
        until(lambda: len(set(active_children()) - of_others) == 1)
        (child,) = set(active_children()) - of_others
        child.kill()
        child.join()
        well = sieve_apart(apart, Job(master, into(tmp_path), Known(), keep=True))
        assert states(well.outputs[2]) == states(stored.outputs.images)
        # What it may have been at is not written over, nor sieved a second time.
        died = sieve_apart(apart, Job(master, into(tmp_path), cast(Known, Deadly()), keep=True))
        assert "after outputs had appeared" in died.failed


class Leaping(logging.Handler):
    """A clock that leaps with each look at it, until the receiver says that it has ended somebody."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []
        self._leap = 0.0

    def monotonic(self) -> float:
        self._leap += 0.0 if self.told else 10_000.0
        return time.monotonic() + self._leap

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(record.getMessage())


@pytest.fixture
def leaping(monkeypatch: pytest.MonkeyPatch) -> Iterator[Leaping]:
    """The clock of those who wait for another process."""
    clock, log = Leaping(), logging.getLogger("hitsieve.pipeline.live.finishing")
    monkeypatch.setattr("hitsieve.pipeline.apart.time", clock)
    monkeypatch.setattr("hitsieve.pipeline.apart.LOOK", 0.05)
    log.addHandler(clock)
    yield clock
    log.removeHandler(clock)


@pytest.mark.usefixtures("own_process")
def test_a_series_whose_sieving_hangs_is_sieved_by_another_process(
    master: Path, stored: RunReport, sender: StreamSender, tmp_path: Path, leaping: Leaping
) -> None:
    """What is stopped goes on as little as what waits for a share that does not answer."""
    of_others = set(active_children())
    with Receiving(sender.addresses, into(tmp_path / "out"), series=1, hung=PATIENCE) as receiving:
        until(lambda: len(set(active_children()) - of_others) == 1)
        (child,) = set(active_children()) - of_others
        assert child.pid is not None
        os.kill(child.pid, signal.SIGSTOP)
        sender.send(series_of(master, 1))
    (told,) = leaping.told
    assert "nothing went on in it for 240 s, and another one tries once more" in told
    (ended,) = receiving.ended
    assert not ended.failed
    assert states(ended.outputs[1]) == states(stored.outputs.images)
    assert kept_chunks(ended.outputs[0]) == kept_chunks(stored.outputs.hits)


def test_a_disk_of_outputs_that_does_not_answer_is_not_waited_for(
    master: Path, tmp_path: Path, leaping: Leaping, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes next has its turn: nobody else asks that disk anything."""
    monkeypatch.setattr(leaping, "emit", lambda _: None)
    with Apart() as apart:
        failed = sieve_apart(apart, Job(master, into(tmp_path / "out"), Known(), keep=False, longest=PATIENCE)).failed
    assert "did not go on, and was ended" in failed
    assert "the disk of the outputs does not answer" in failed
    assert master.exists()


def test_a_disk_of_outputs_that_does_not_answer_does_not_keep_series_from_being_received(
    master: Path,
    sender: StreamSender,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Series are named by what lies there: only who lists the folder waits for ever, as for a share that is away."""
    out, answers = tmp_path / "out", Event()
    out.mkdir()
    (out / "series_000001_hits.h5").touch()

    def list_folder(path: Path) -> Any:
        if current_thread().daemon:
            answers.wait()
        return os.scandir(path)

    monkeypatch.setattr("hitsieve.pipeline.live.naming.scandir", list_folder)
    monkeypatch.setattr("hitsieve.pipeline.live.naming.ANSWER", 0.01)
    try:
        with Receiving(sender.addresses, into(out), series=2, spool=tmp_path / "spool") as receiving:
            sender.send(series_of(master, 1))
            sender.send(series_of(master, 2))
    finally:
        answers.set()
    assert [ended.name for ended in receiving.ended] == ["series_000001-2", "series_000002"]
    assert not any(ended.failed for ended in receiving.ended)
    assert f"{out}: does not answer" in caplog.text


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
        StreamSender([f"tcp://127.0.0.1:{free_port()}"]) as other,
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


def test_who_sends_too_much_at_once_is_called_anew(
    master: Path, stored: RunReport, sender: StreamSender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = series_of(master, 1)
    monkeypatch.setattr(endpoints, "LARGEST_MESSAGE", 1 << 22)
    with Receiving(sender.addresses, into(tmp_path), series=1) as receiving:
        sender.raw(cbor2.dumps(series.start))
        for i in range(10):
            sender.raw(series.image(i))
        sender.raw(bytes(1 << 23))
        until(lambda: bool(receiving.seen.refusals))
        for i in range(10, N):
            sender.raw(series.image(i))
        sender.raw(series.end)
    (ended,) = receiving.ended
    assert ended.received == N
    assert states(ended.outputs[1]) == states(stored.outputs.images)
    ((kind, what),) = receiving.seen.refusals
    assert kind == "bad"
    assert what.startswith(f"{sender.addresses[0]}: cut off, and called anew")


def test_a_detector_is_heard_where_another_program_was_before(tmp_path: Path) -> None:
    context = zmq.Context()
    other = context.socket(zmq.PUB)
    address = f"tcp://127.0.0.1:{free_port()}"
    other.bind(address)
    with Receiving([address], into(tmp_path), stop=True) as receiving:
        until(lambda: bool(receiving.seen.refusals))
        context.destroy(linger=0)
        with StreamSender([address]) as sender:
            sender.raw(b"no CBOR")
            until(lambda: "not CBOR" in receiving.seen.refusals[-1][1])


def test_sizes_that_cannot_be_are_not_believed(
    master: Path, stored: RunReport, sender: StreamSender, tmp_path: Path
) -> None:
    series = series_of(master, 1)
    with Receiving(sender.addresses, into(tmp_path), series=1) as receiving:
        sender.send(replace(series, start=series.start | {"pixel_size_x": 1e-300, "detector_distance": 1e300}))
    (ended,) = receiving.ended
    assert ended.counts["hit"] + ended.counts["miss"] == N
    for what in ("no detector distance", "no pixel size"):
        assert any(what in problem for problem in ended.problems)


@pytest.mark.parametrize("n_odd", [1, N])
def test_one_odd_image_does_not_tell_what_the_others_are(
    master: Path, sender: StreamSender, tmp_path: Path, n_odd: int
) -> None:
    series = series_of(master, 1)
    odd = array(np.zeros((30, 40), dtype=np.uint16))
    with Receiving(sender.addresses, into(tmp_path), series=1) as receiving:
        sender.raw(cbor2.dumps(series.start))
        for i in range(N):
            message = cbor2.dumps({"type": "image", **series.key, "image_id": i, "data": {"threshold_1": odd}})
            nothing = cbor2.dumps({"type": "image", **series.key, "image_id": i})
            sender.raw(message if i < n_odd else nothing if i == 1 else series.image(i))
        sender.raw(series.end)
    (ended,) = receiving.ended
    # Where all are so, the start is wrong.
    assert ended.counts["missing"] == (2 if n_odd == 1 else 0)
    assert ended.counts["unreadable"] == 0


def test_an_error_of_ours_in_one_series_ends_no_other(
    master: Path, stored: RunReport, sender: StreamSender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Seen):
        def started(self, name: str, key: SeriesKey, n_images: int | None) -> None:
            raise BrokenPipeError

    series = series_of(master, 1)
    other = replace(series, start=series.start | {"series_id": 2, "series_unique_id": "other"})
    with Receiving(sender.addresses, into(tmp_path), Broken(), series=2) as receiving:
        with monkeypatch.context() as patch:
            patch.setattr(received, "_write_panel", lambda *_: 1 / 0)
            sender.send(series)
            until(lambda: bool(receiving.seen.ends))
        sender.send(other)
    one, two = receiving.ended
    assert f"ZeroDivisionError: division by zero; what was received is in {tmp_path / 'received'}" in one.failed
    assert len(list((tmp_path / "received" / one.name).iterdir())) > 0
    assert states(two.outputs[1]) == states(stored.outputs.images)


def test_where_no_more_can_be_received_what_was_is_sieved(
    master: Path, sender: StreamSender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = series_of(master, 1)
    with (
        pytest.raises(SourceError, match="receiving has failed: no memory"),
        Receiving(sender.addresses, into(tmp_path), series=1) as receiving,
    ):
        sender.raw(cbor2.dumps(series.start))
        for i in range(10):
            sender.raw(series.image(i))
        until(lambda: len(receiving.seen.verdicts) == 10)

        def fail(_: bytes) -> None:
            raise MemoryError("no memory")

        monkeypatch.setattr(endpoints, "read_message", fail)
        sender.raw(series.image(10))
    (ended,) = receiving.seen.ends
    assert (ended.received, ended.counts["missing"]) == (10, N - 10)


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
        with urllib.request.urlopen(f"http://127.0.0.1:{metrics.port}/metrics", timeout=240) as answer:
            text = answer.read().decode()
    assert "hitsieve_dropped_images_total 14.0" in text
