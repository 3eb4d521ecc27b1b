"""`hitsieve live` as a user calls it: results for others, Ctrl-C, a crash."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zmq

from cli.conftest import HITSIEVE, Hitsieve
from hitsieve.errors import SourceError
from hitsieve.source import open_run
from hitsieve.testing import Simulated, SimulateSettings, StreamSettings, simulate
from hitsieve.testing.stream import StreamedSeries, StreamSender
from ports import free_port

N = 30
PATIENCE = 240
"""Longest time (s) that a test waits for what must come: whoever sieves gives way to all others on this computer."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    about = {"name": "live", "detector": "test-256k", "images": N, "hit_fraction": 0.4, "seed": 4}
    return simulate(tmp_path_factory.mktemp("made"), SimulateSettings.model_validate(about))


@pytest.fixture(scope="module")
def series(made: Simulated) -> StreamedSeries:
    with open_run(made.master) as opened:
        return StreamedSeries.of(opened, 17)


@contextmanager
def living(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command, once it waits for series."""
    command = [HITSIEVE, "live", *arguments, "--no-catalogue", "--min-spots", "8", "--second-look", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert "waiting for series" in process.stderr.readline()
            yield process
        finally:
            process.kill()


def spooled(folder: Path, scratch: Path) -> int:
    """Images that whoever comes after a crash would find; HDF5 lets nobody open a file that another one writes."""
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        shutil.copytree(folder / "received", scratch)
        with open_run(next(scratch.glob("*/*_master.h5"))) as opened:
            return len(opened.run) - len(opened.run.images.missing)
    except (OSError, StopIteration, SourceError):
        return 0


def wait(true: object) -> None:
    end = time.monotonic() + PATIENCE
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.1)


def test_who_listens_no_more_ends_no_series(series: StreamedSeries, tmp_path: Path) -> None:
    """Ctrl-C in `hitsieve live ... 2>&1 | tee log` ends tee first; a terminal that goes sends SIGHUP."""
    out = tmp_path / "out"
    with StreamSender(["tcp://127.0.0.1:*"]) as sender, living(*sender.addresses, "-o", str(out)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stderr.close()
        sender.send(series, StreamSettings(die_after=N - 5))
        wait(lambda: spooled(out, tmp_path / "copy") == N - 5)
        process.send_signal(signal.SIGHUP)
        process.wait(PATIENCE)
    assert (out / "series_000017_release.json").exists()
    assert not (out / "received").exists()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_open_series_with_what_was_received(
    series: StreamedSeries, tmp_path: Path, sent: signal.Signals
) -> None:
    out = tmp_path / "out"
    with StreamSender(["tcp://127.0.0.1:*"]) as sender, living(*sender.addresses, "-o", str(out)) as process:
        sender.send(series, StreamSettings(die_after=N - 5))
        wait(lambda: spooled(out, tmp_path / "copy") == N - 5)
        process.send_signal(sent)
        stdout, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, stderr
    assert "series_000017: receiving was stopped;" in stdout
    assert "5 missing" in stdout
    assert {path.name for path in out.iterdir()} == {
        "series_000017_hits.h5",
        "series_000017_images.parquet",
        "series_000017_misses.h5",
        "series_000017_release.json",
        "series_000017_summary.json",
    }


def test_after_a_crash_what_was_received_is_a_run(series: StreamedSeries, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with StreamSender(["tcp://127.0.0.1:*"]) as sender, living(*sender.addresses, "-o", str(out)) as process:
        sender.send(series, StreamSettings(die_after=N - 5))
        wait(lambda: spooled(out, tmp_path / "copy") == N - 5)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
        process.wait()
    assert children
    wait(lambda: not any(Path(f"/proc/{child}").exists() for child in children))
    (master,) = out.glob("received/*/*_master.h5")
    command = [HITSIEVE, "run", str(master), "-o", str(tmp_path / "after"), "--no-catalogue", "--json", "--quiet"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    summary = json.loads(result.stdout)
    assert (summary["n_images"], summary["n_missing"]) == (N, 5)
    assert summary["n_hits"] > 0


def test_results_for_other_programs(series: StreamedSeries, tmp_path: Path) -> None:
    publish, metrics = f"tcp://127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    told = ["--publish", publish, "--metrics", metrics]
    with zmq.Context() as context, context.socket(zmq.SUB) as subscriber:
        subscriber.setsockopt(zmq.RCVTIMEO, 1000 * PATIENCE)
        subscriber.subscribe(b"")
        subscriber.connect(publish)
        with (
            StreamSender(["tcp://127.0.0.1:*"]) as sender,
            living(*sender.addresses, "-o", str(tmp_path), *told) as process,
        ):
            # A subscriber is known some time after it has connected; what comes first is a bad message.
            while not subscriber.poll(100):
                sender.raw(b"\xff")
            sender.send(series)
            messages = []
            while not messages or messages[-1]["type"] != "end":
                messages.append(json.loads(subscriber.recv()))
            with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=PATIENCE) as answer:
                text = answer.read().decode()
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    numbers = [message.pop("sequence") for message in messages]
    # Those from before it was known are not sent to it.
    assert numbers == list(range(numbers[0], numbers[0] + len(messages)))
    refused = [message for message in messages if message["type"] == "refused"]
    assert {message["kind"] for message in refused} == {"bad"}
    start, *images, end = [message for message in messages if message["type"] != "refused"]
    about = {"name": "series_000017", "series_id": 17, "series_unique_id": "live-17"}
    assert start == {"type": "start", **about, "number_of_images": N}
    assert all(message.items() >= about.items() for message in (*images, end))
    assert sorted(image["image_id"] for image in images) == list(range(N))
    hits = [image for image in images if image["state"] == "hit"]
    assert end["counts"] == {"hit": len(hits), "miss": N - len(hits), "unreadable": 0, "missing": 0}
    assert all(hit["n_spots_counted"] >= hit["min_spots"] == 8 and hit["final"] for hit in hits)
    assert all(0 < image["seconds"] < 60 for image in images)
    assert f'hitsieve_images_total{{state="hit"}} {len(hits)}.0' in text
    assert f'hitsieve_final_images_total{{state="miss"}} {N - len(hits)}.0' in text
    assert f"hitsieve_latency_seconds_count {N}.0" in text
    assert 'hitsieve_series_total{result="sieved"} 1.0' in text
    (free,) = (line for line in text.splitlines() if line.startswith("hitsieve_spool_free_bytes "))
    assert float(free.split()[1]) > 0


def test_a_stored_run_is_sent_by_the_command(made: Simulated, tmp_path: Path) -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    with living(address, "-o", str(tmp_path), "--series", "1") as process:
        command = [HITSIEVE, "simulate", str(made.master), "--replay", "--stream", address, "--lose", "0.2"]
        sent = subprocess.run(command, capture_output=True, text=True, check=True)
        stdout, _ = process.communicate(timeout=PATIENCE)
    n = int(sent.stdout.split()[0])
    assert n < N
    assert f"{N - n} missing" in stdout


def test_what_a_stored_run_lacks_is_missing_in_its_stream(tmp_path: Path) -> None:
    about = {"name": "lacking", "detector": "test-256k", "images": 20, "images_per_file": 10, "hit_fraction": 0.4}
    run = simulate(tmp_path / "run", SimulateSettings.model_validate(about))
    run.data_files[1].unlink()
    address = f"tcp://127.0.0.1:{free_port()}"
    with living(address, "-o", str(tmp_path / "out"), "--series", "1") as process:
        command = [HITSIEVE, "simulate", str(run.master), "--replay", "--stream", address]
        sent = subprocess.run(command, capture_output=True, text=True, check=True)
        stdout, _ = process.communicate(timeout=PATIENCE)
    assert sent.stdout == "10 images sent\n"
    assert "0 unreadable, 10 missing" in stdout


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["nonsense"], "no address to receive from"),
        (["tcp://127.0.0.1:99999"], "'99999' is no port"),
        (["tcp://no-such-host.invalid:31001"], "no such host is known"),
        (["tcp://127.0.0.1:1", "--publish", "nonsense"], "cannot be published"),
        (["tcp://127.0.0.1:1", "--metrics", "nonsense"], "cannot be served"),
        (["tcp://127.0.0.1:1", "--publish", "tcp://127.0.0.1:TAKEN"], "cannot be published"),
        (["tcp://127.0.0.1:1", "--metrics", "127.0.0.1:TAKEN"], "cannot be served"),
    ],
)
def test_addresses_that_make_no_sense_or_are_taken(
    hitsieve: Hitsieve, tmp_path: Path, flags: list[str], says: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = [flag.replace("TAKEN", str(other.getsockname()[1])) for flag in flags]
        result = hitsieve("live", *taken, "-o", tmp_path)
    assert result.returncode == 2
    assert says in result.stderr
    assert "waiting for series" not in result.stderr


def test_without_the_extra(tmp_path: Path) -> None:
    """Who has not installed what streams need is told how."""
    program = "import sys; sys.modules['zmq'] = None; from hitsieve.cli import main; main()"
    command = [sys.executable, "-c", program, "live", "tcp://127.0.0.1:1", "-o", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert result.returncode == 2
    assert "pip install cbor2 prometheus-client pyzmq" in result.stderr
