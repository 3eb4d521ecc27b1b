"""Hits of a series that still comes, in parts that are whole: those of the whole series, as far as spots tell."""

from __future__ import annotations

import logging
from pathlib import Path

import cbor2
import h5py
import pytest

from hitsieve import pipeline
from hitsieve.errors import SettingsError
from hitsieve.pipeline.apart import Apart
from hitsieve.pipeline.live import losing_nothing, parts
from hitsieve.pipeline.live.finishing import Job, Sieved, sieve_apart
from hitsieve.settings import LiveSettings
from hitsieve.source import open_run
from hitsieve.testing import SimulateSettings, simulate
from hitsieve.testing.stream import StreamSender
from hitsieve.write import received
from pipeline.streaming import Receiving, into, kept_chunks, series_of, until

N, SIZE = 44, 10


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    about = {"name": "source", "detector": "test-256k", "images": N, "hit_fraction": 0.4, "seed": 11}
    return simulate(tmp_path_factory.mktemp("source"), SimulateSettings.model_validate(about)).master


@pytest.mark.usefixtures("own_process")
def test_hits_come_while_the_series_does(
    master: Path,
    tmp_path: Path,
    sender: StreamSender,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(received, "IMAGES_PER_FILE", SIZE)
    caplog.set_level(logging.INFO, logger="hitsieve")
    stored = pipeline.run([master], into(tmp_path / "stored"))
    series, out = series_of(master, 1), tmp_path / "out"

    def part(number: int) -> Path:
        return out / f"series_000001_part_{number:06d}_hits.h5"

    # The second part is never whole: one of its images comes with the last ones.
    order = [*range(9, -1, -1), *range(11, N - 1), 10]
    with Receiving(sender.addresses, into(out), series=1, parts=True) as receiving:
        sender.raw(cbor2.dumps(series.start))
        for i in order[:33]:
            sender.raw(series.image(i))
        until(lambda: part(1).exists() and part(3).exists())
        assert not receiving.seen.ends
        assert not part(2).exists()
        for i in order[33:]:
            sender.raw(series.image(i))
        sender.raw(series.end)
    (ended,) = receiving.ended
    assert not ended.failed
    wanted = {i: sha for i, sha in kept_chunks(stored.outputs.hits).items() if i < N - 1}
    assert kept_chunks(ended.outputs[0]) == wanted
    found: dict[int, bytes] = {}
    for number in range(1, 5):
        found |= {(number - 1) * SIZE + i: sha for i, sha in kept_chunks(part(number)).items()}
    assert found == {i: sha for i, sha in wanted.items() if i < 4 * SIZE}
    # It is a run that others read, with its geometry, and peaks.
    with open_run(part(1)) as opened, h5py.File(part(1)) as file:
        assert opened.run.detector.distance == series.start["detector_distance"]
        assert len(opened.run) == len(file["entry/MX/nPeaks"]) == len(kept_chunks(part(1)))
    names = {part(number).name for number in range(1, 5)}
    assert {path.name for path in out.iterdir()} == names | {path.name for path in ended.outputs}
    assert f"hits of images 20 to 29: {part(3)}" in caplog.text
    # Said by the process that sieves: they are of this series.
    assert "is not of this run" not in capfd.readouterr().err


def test_a_part_that_goes_wrong_costs_the_series_nothing(
    master: Path, tmp_path: Path, sender: StreamSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does an image that cannot be read, before any other has come, cost a part."""
    monkeypatch.setattr(received, "IMAGES_PER_FILE", SIZE)

    def fails(apart: Apart, job: Job) -> Sieved:
        if "000002" in job.master.name:
            raise RuntimeError("as nobody thought of")
        return sieve_apart(apart, job)

    monkeypatch.setattr(parts, "sieve_apart", fails)
    series, out = series_of(master, 1), tmp_path / "out"
    with Receiving(sender.addresses, into(out), series=1, parts=True, keep_received=True) as receiving:
        sender.raw(cbor2.dumps(series.start))
        sender.raw(cbor2.dumps({"type": "image", **series.key, "image_id": 0, "data": "nonsense"}))
        for i in range(1, 2 * SIZE):
            sender.raw(series.image(i))
        sender.raw(series.end)
    (ended,) = receiving.ended
    assert not ended.failed
    part = kept_chunks(out / "series_000001_part_000001_hits.h5")
    assert part == {i: sha for i, sha in kept_chunks(ended.outputs[0]).items() if i < SIZE}
    assert part
    # Nothing is left of parts where others may look for runs.
    assert [path.name for path in out.glob("received/*/*_master.h5")] == ["series_000001_master.h5"]


def test_a_veto_leaves_no_part_whole(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="leave out one of them"):
        losing_nothing(into(tmp_path), LiveSettings(veto="spots", parts=True))
