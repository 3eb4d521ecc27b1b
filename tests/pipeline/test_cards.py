"""Whether cores or cards search, and that nobody can tell from the outputs; the cards are emulated."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from threading import Event

import numpy as np
import pyarrow.parquet as pq
import pytest

from calling import Hitsieve
from emulatedcard import EmulatedCard
from hitsieve import pipeline
from hitsieve.cards import Card, Cards, Device, Kernels, find_cards
from hitsieve.cards.found import ALONE
from hitsieve.errors import SettingsError
from hitsieve.index.gpu import kernels
from hitsieve.pipeline import cardlattices, cards
from hitsieve.pipeline.archive import ScanRequest, ScanSteps, scan
from hitsieve.pipeline.campaign.costing import cost_of
from hitsieve.pipeline.cards import choice, scan_here
from hitsieve.pipeline.known import Known
from hitsieve.pipeline.live.finishing import Job, sieve
from hitsieve.pipeline.live.receiving import receive
from hitsieve.pipeline.watch import BeamlineSettings
from hitsieve.pipeline.watch.watching import WatchRequest, watch
from hitsieve.settings import LiveSettings, RunSettings, SpotSettings, WriteSettings
from hitsieve.source import open_run
from hitsieve.spots import build_finder
from hitsieve.testing import Simulated, SimulateSettings, simulate

ABOUT = {"name": "few", "detector": "test-256k", "images": 40, "hit_fraction": 0.3, "seed": 5}
CARD = Card(0, "Emulated", 1 << 34, (9, 0))


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    """Forty images; never changed."""
    return simulate(tmp_path_factory.mktemp("few"), SimulateSettings.model_validate(ABOUT))


@pytest.fixture
def emulated(monkeypatch: pytest.MonkeyPatch) -> list[EmulatedCard]:
    """A computer with a card; those that were made."""
    made: list[EmulatedCard] = []

    def make(what: str | Kernels) -> Device:
        made.append(EmulatedCard(what))
        return made[-1]

    def devices(of: Sequence[Card], dtype: str) -> list[Callable[[], Device]]:
        return [partial(make, dtype) for _ in of]

    monkeypatch.setattr(cards, "find_cards", lambda: Cards((CARD,), "12.4", "", ""))
    monkeypatch.setattr(cards, "devices_of", devices)
    monkeypatch.setattr(cardlattices, "devices_of", lambda of: [partial(make, kernels()) for _ in of])
    return made


def settings(folder: Path, engine: str, **more: object) -> RunSettings:
    given = {"write": WriteSettings(output=folder), "engine": engine, "workers": 1}
    return RunSettings.model_validate(given | more)


def test_outputs_do_not_tell_who_searched(few: Simulated, emulated: list[EmulatedCard], tmp_path: Path) -> None:
    for engine in ("cpu", "gpu"):
        report = pipeline.run([few.master], settings(tmp_path / engine, engine))
        assert report.summary.n_hits > 8
        launched = {kernel for card in emulated for kernel in card.launched}
        assert launched >= ({"emit", "peaks"} if engine == "gpu" else set())
        assert bool(emulated) == (engine == "gpu")
    tables = [pq.read_table(tmp_path / engine / "few_images.parquet") for engine in ("cpu", "gpu")]
    assert tables[0].equals(tables[1])


def test_nobody_is_told_of_cards_that_index_where_nothing_is_indexed(
    few: Simulated, emulated: list[EmulatedCard], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        pipeline.run([few.master], settings(tmp_path / "out", "gpu", index={"indexing": "off"}))
    assert "graphics cards search" in caplog.text
    assert "help to index" not in caplog.text
    assert emulated


def test_short_runs_are_not_worth_a_card(
    few: Simulated, emulated: list[EmulatedCard], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pipeline.run([few.master], settings(tmp_path / "short", "auto"))
    assert not emulated
    monkeypatch.setattr(cards, "MANY", 40)
    pipeline.run([few.master], settings(tmp_path / "long", "auto"))
    assert emulated


def test_what_cards_cannot_do_is_refused_or_done_by_cores(
    few: Simulated, emulated: list[EmulatedCard], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cards, "MANY", 10)
    with open_run([few.master]) as opened:
        finder = build_finder(opened.run, SpotSettings(algorithm="dispersion"))
        with pytest.raises(SettingsError, match="do not know the algorithm dispersion"):
            scan_here(opened.run, finder, "gpu", 1)
        with caplog.at_level(logging.INFO):
            scan_here(opened.run, finder, "auto", 1)
    assert "cores search" in caplog.text
    assert not emulated


def test_a_cupy_that_cannot_be_imported_is_no_card(
    hitsieve: Hitsieve, few: Simulated, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who has not asked for a card is not told of it by a crash."""

    def devices(of: Sequence[Card], dtype: str) -> list[Callable[[], Device]]:
        raise AttributeError("_ARRAY_API\n  not found")

    monkeypatch.setattr(cards, "find_cards", lambda: Cards((CARD,), "12.4", "", ""))
    monkeypatch.setattr(cards, "devices_of", devices)
    monkeypatch.setattr(cards, "MANY", 10)
    with open_run([few.master]) as opened:
        finder = build_finder(opened.run, SpotSettings())
        with caplog.at_level(logging.INFO):
            scan_here(opened.run, finder, "auto", 1)
        assert "cores search: CuPy cannot be used: _ARRAY_API not found" in caplog.text
        with pytest.raises(SettingsError, match="CuPy cannot be used"):
            scan_here(opened.run, finder, "gpu", 1)
    assert hitsieve("devices").stdout.splitlines()[-1] == (
        'engine  cpu: CuPy cannot be used: _ARRAY_API not found (install it again: pip install "hitsieve[gpu]")'
    )


def test_what_is_known_already_starts_no_card(few: Simulated, emulated: list[EmulatedCard]) -> None:
    """A received series whose images were searched as they came."""
    with open_run([few.master]) as opened:
        finder = build_finder(opened.run, SpotSettings())
        known = np.full(40, -1, dtype=np.int64)
        with closing(scan_here(opened.run, finder, "gpu", 1)(opened.run, known)) as scan:
            assert sum(len(found.reasons) for found in scan) == 40
        assert not emulated


def test_long_runs_of_which_little_is_left_are_not_worth_a_card(
    few: Simulated, emulated: list[EmulatedCard], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cards, "MANY", 10)
    images = np.arange(40, dtype=np.int64)
    images[9:] = -1
    with open_run([few.master]) as opened:
        finder = build_finder(opened.run, SpotSettings())
        scan = scan_here(opened.run, finder, "auto", 1)
        with closing(scan(opened.run, images)) as few_left:
            assert sum(len(found) for found in few_left) == 40
        assert not emulated
        images[9] = 9
        with closing(scan(opened.run, images)) as enough:
            assert sum(len(found) for found in enough) == 40
        assert emulated


def test_a_share_that_has_gone_leaves_all_to_the_core(
    few: Simulated, emulated: list[EmulatedCard], tmp_path: Path
) -> None:
    """Between the look at the run and its search; the core says why its images cannot be read."""
    folder = tmp_path / "share"
    folder.mkdir()
    for path in (few.master, *few.data_files):
        (folder / path.name).hardlink_to(path)
    with open_run([folder / few.master.name]) as opened:
        finder = build_finder(opened.run, SpotSettings())
        scan = scan_here(opened.run, finder, "gpu", 1)
        for path in folder.iterdir():
            path.unlink()
        with closing(scan(opened.run, np.arange(40, dtype=np.int64))) as found:
            assert all(why for part in found for why in part.reasons.values())
    assert not emulated


def test_a_received_series_is_sieved_by_cards(
    few: Simulated, emulated: list[EmulatedCard], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where most of its images could not be judged as they came."""
    monkeypatch.setattr(cards, "MANY", 10)
    sieved = sieve(Job(few.master, settings(tmp_path / "out", "auto"), Known(), keep=True))
    assert sieved.failed == ""
    assert sieved.counts["hit"] > 8
    assert emulated


def receiving(folder: Path) -> None:
    receive(["tcp://127.0.0.1:1"], settings(folder / "out", "gpu"), LiveSettings())


def watching(folder: Path) -> None:
    watch(WatchRequest(folder, BeamlineSettings(engine="gpu"), folder / "journal", once=True), Event())


def an_archive(folder: Path) -> ScanRequest:
    return ScanRequest((folder,), folder / "out", settings(folder / "out", "gpu"), folder / "catalogue.db")


def scanning(folder: Path) -> None:
    nothing = lambda *_: None  # noqa: E731 - it stands for three functions
    scan(an_archive(folder), ScanSteps(nothing, nothing, nothing, nothing))


def costing(folder: Path) -> None:
    cost_of(an_archive(folder), step=lambda *_: None, looking=lambda _: None)


@pytest.mark.parametrize("begin", [receiving, watching, scanning, costing])
def test_cards_that_are_not_there_are_missed_before_runs_come(
    begin: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cards, "find_cards", lambda: Cards((), "", "there is no NVIDIA driver", "install it"))
    with pytest.raises(SettingsError, match="engine gpu: there is no NVIDIA driver"):
        begin(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(bool(find_cards().usable), reason="this computer has a card")
def test_without_a_card(hitsieve: Hitsieve, few: Simulated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = hitsieve("run", few.master, "-o", tmp_path / "out", "--engine", "gpu")
    assert refused.returncode == 2
    assert refused.stderr.startswith("hitsieve: error: engine gpu: ")
    assert refused.stderr.rstrip().endswith("or use engine cpu)")
    assert not list(tmp_path.glob("out/*"))
    monkeypatch.setattr(cards, "MANY", 10)
    assert hitsieve("run", few.master, "-o", tmp_path / "out", "--quiet").stderr == ""
    assert choice().engine == "cpu"


def test_devices(hitsieve: Hitsieve) -> None:
    listed = json.loads(hitsieve("devices", "--json").stdout)
    found = find_cards()
    assert listed["cores"] == len(os.sched_getaffinity(0))
    assert [card["name"] for card in listed["cards"]] == [card.name for card in found.cards]
    assert (listed["engine"], listed["why"]) == (choice().engine, choice().why)
    text = hitsieve("devices").stdout
    assert listed["why"] in text
    assert f"kernels for {listed['kernels']}" in text


def test_devices_with_a_card(hitsieve: Hitsieve, emulated: list[EmulatedCard], monkeypatch: pytest.MonkeyPatch) -> None:
    old = Card(1, "Ancient", 1 << 31, (3, 5))
    mine = Card(2, "Mine", 1 << 33, (8, 0), mode=ALONE)
    monkeypatch.setattr(cards, "find_cards", lambda: Cards((CARD, old, mine), "12.4", "", ""))
    lines = hitsieve("devices").stdout.splitlines()
    assert lines[1:] == [
        "card 0  Emulated, 16 GiB, compute capability 9.0",
        "card 1  Ancient, 2 GiB, compute capability 3.5, cannot be used",
        "card 2  Mine, 8 GiB, compute capability 8.0, for one process at a time",
        "driver  for CUDA 12.4",
        "engine  gpu: for runs of 2000 images or more, to find spots and to index with a known cell",
    ]
    listed = json.loads(hitsieve("devices", "--json").stdout)
    assert [card["usable"] for card in listed["cards"]] == [True, False, True]
    assert [card["one_process"] for card in listed["cards"]] == [False, False, True]
    assert listed["engine"] == "gpu"
