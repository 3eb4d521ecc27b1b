"""Whether cores or cards search, and that nobody can tell from the outputs; the cards are emulated."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from calling import Hitsieve
from emulatedcard import EmulatedCard
from hitsieve import pipeline
from hitsieve.cards import Card, Cards, Device, Kernels, find_cards
from hitsieve.errors import SettingsError
from hitsieve.index.gpu import kernels
from hitsieve.pipeline import cardlattices, cards
from hitsieve.pipeline.cards import choice, scan_here
from hitsieve.settings import ClusterSettings, RunSettings, SpotSettings, WriteSettings
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
        assert "cores search: CuPy cannot be imported: _ARRAY_API not found" in caplog.text
        with pytest.raises(SettingsError, match="CuPy cannot be imported"):
            scan_here(opened.run, finder, "gpu", 1)
    assert hitsieve("devices").stdout.splitlines()[-1] == (
        "engine  cpu: CuPy cannot be imported: _ARRAY_API not found (install it again)"
    )


def test_a_cluster_and_cards_exclude_each_other(few: Simulated, tmp_path: Path) -> None:
    both = settings(tmp_path, "gpu", cluster=ClusterSettings(scheduler="local"))
    with pytest.raises(SettingsError, match="cores of its workers"):
        pipeline.run([few.master], both)


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
    monkeypatch.setattr(cards, "find_cards", lambda: Cards((CARD, old), "12.4", "", ""))
    lines = hitsieve("devices").stdout.splitlines()
    assert lines[1:] == [
        "card 0  Emulated, 16 GiB, compute capability 9.0",
        "card 1  Ancient, 2 GiB, compute capability 3.5, cannot be used",
        "driver  for CUDA 12.4",
        "engine  gpu: for runs of 2000 images or more, to find spots and to index with a known cell",
    ]
    listed = json.loads(hitsieve("devices", "--json").stdout)
    assert [card["usable"] for card in listed["cards"]] == [True, False]
    assert listed["engine"] == "gpu"
