"""Workers of a cluster search on the cards of their computers, and nobody can tell from the outputs; emulated cards."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from distributed import Client

import emulatedcard
from clusters import job_of, started
from emulatedcard import EmulatedCard, Room, built, inworker
from hitsieve import pipeline
from hitsieve.cards import Card, CardError, Cards, Device, own
from hitsieve.cards.found import ALONE
from hitsieve.pipeline import cards
from hitsieve.pipeline.cluster import worker
from hitsieve.pipeline.cluster.worker import Found, Job, Refused, search_unit
from hitsieve.settings import ClusterSettings, RunSettings, WriteSettings
from hitsieve.spots import Searched
from hitsieve.spots.gpu.kernels import kernels_for
from hitsieve.testing import Simulated, SimulateSettings, simulate

ABOUT = {"name": "many", "detector": "test-256k", "images": 30, "images_per_file": 3, "hit_fraction": 0.3, "seed": 5}
CARDS = tuple(Card(number, "Emulated", 1 << 34, (9, 0), uuid=f"{number:x}") for number in range(2))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    """Thirty images in ten files; never changed."""
    return simulate(tmp_path_factory.mktemp("many"), SimulateSettings.model_validate(ABOUT))


@pytest.fixture(scope="module")
def here(many: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outputs of a run by the cores of this process."""
    folder = tmp_path_factory.mktemp("here")
    pipeline.run([many.master], settings(folder, "cpu"))
    return folder


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """This process is a worker that has searched nothing, of a user who has no other."""
    monkeypatch.setattr(worker, "_opened", {})
    monkeypatch.setattr(worker, "_on_card", [])
    monkeypatch.setattr(cards, "_seats", [])
    monkeypatch.setattr(own, "gettempdir", lambda: str(tmp_path))
    yield
    for seat in cards._seats:
        seat.close()


def settings(folder: Path, engine: str, **cluster: object) -> RunSettings:
    chosen = ClusterSettings.model_validate(cluster)
    given = {"write": WriteSettings(output=folder), "engine": engine, "workers": 1, "cluster": chosen}
    given["index"] = {"indexing": "off"}
    return RunSettings.model_validate(given)


def table(folder: Path) -> object:
    return pq.read_table(folder / "many_images.parquet")


def test_workers_share_a_card(
    many: Simulated,
    here: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A worker uses the card of its computer, which has room for one, and another its core; then the card fails."""
    library = built(kernels_for("int16"), 1, tmp_path)
    tests = str(Path(emulatedcard.__file__).parent.parent)
    begin = f"from emulatedcard import inworker; inworker.begin({str(library)!r})"
    preload = f"import sys; sys.path.insert(0, {tests!r}); {begin}"
    monkeypatch.setattr(cards, "MANY", 10)
    with (
        started(preload=preload) as cluster,
        Client(cluster.scheduler_address, set_as_default=False) as client,
        caplog.at_level(logging.INFO, "hitsieve"),
    ):
        client.wait_for_workers(2, timeout=240)
        answers = client.run(search_unit, job_of(many.master, "auto"), np.arange(2))
        assert sorted(answer.who for answer in answers.values()) == [
            "a core: other workers use the graphics cards",
            "graphics card 0, Emulated",
        ]
        assert len(list(tmp_path.glob("*.used"))) == 1
        out = tmp_path / "shared"
        pipeline.run([many.master], settings(out, "auto", scheduler=cluster.scheduler_address))
        assert table(out).equals(table(here))
        client.run(inworker.fail)
        # Whose core searches leaves, so that the other one has something to say.
        cores = [address for address, answer in answers.items() if answer.who.startswith("a core")]
        client.retire_workers(cores, close_workers=True)
        out = tmp_path / "failing"
        pipeline.run([many.master], settings(out, "gpu", scheduler=cluster.scheduler_address))
        assert table(out).equals(table(here))
    assert "searches on graphics card 0, Emulated" in caplog.text
    assert caplog.text.count("is used no more") == caplog.text.count("fallen off the bus") == 1


def emulate(monkeypatch: pytest.MonkeyPatch, of: Sequence[Card], kind: type[EmulatedCard]) -> list[EmulatedCard]:
    """Give this process a computer with some cards; those that are made of them."""
    made: list[EmulatedCard] = []

    def make() -> Device:
        made.append(kind("int16"))
        return made[-1]

    def devices(of: Sequence[Card], dtype: str) -> list[Callable[[], Device]]:
        return [make for _ in of]

    monkeypatch.setattr(cards, "find_cards", lambda: Cards(tuple(of), "12.4", "", ""))
    monkeypatch.setattr(cards, "devices_of", devices)
    return made


def found(job: Job, images: Sequence[int]) -> Searched:
    answer = search_unit(job, np.array(images, dtype=np.int64))
    assert isinstance(answer, Found)
    return answer.searched


@pytest.mark.usefixtures("alone")
def test_one_run_at_a_time_has_memory_on_the_card(many: Simulated, monkeypatch: pytest.MonkeyPatch) -> None:
    made = emulate(monkeypatch, CARDS[:1], EmulatedCard)
    first, second = job_of(many.master, "gpu"), job_of(many.master, "gpu", min_pixels=1)
    n_spots = found(first, range(10)).n_spots
    assert [card.closed for card in made] == [False]
    assert found(second, range(10)).n_spots.sum() > n_spots.sum()
    assert [card.closed for card in made] == [True, False]
    assert np.array_equal(found(first, range(10)).n_spots, n_spots)
    assert [card.closed for card in made] == [True, True, False]


@pytest.mark.usefixtures("alone")
def test_who_gets_no_card_does_without_cupy(many: Simulated, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes time and memory in each of the workers; and with one that does not work nobody keeps a card."""
    emulate(monkeypatch, CARDS[:1], EmulatedCard)

    def devices(of: Sequence[Card], dtype: str) -> list[Callable[[], Device]]:
        raise ImportError("no CuPy for you")

    monkeypatch.setattr(cards, "devices_of", devices)
    others = [own.take_seat(CARDS[:1]) for _ in range(own.SEATS)]
    answer = search_unit(job_of(many.master, "auto"), np.arange(2))
    assert isinstance(answer, Found)
    assert answer.who == "a core: other workers use the graphics cards"
    for seat in others:
        assert seat is not None
        seat.close()
    answer = search_unit(job_of(many.master, "auto", min_pixels=1), np.arange(2))
    assert isinstance(answer, Found)
    assert answer.who == "a core: CuPy cannot be used: no CuPy for you"
    others = [own.take_seat(CARDS[:1]) for _ in range(own.SEATS)]
    assert None not in others
    for seat in others:
        assert seat is not None
        seat.close()


class Dying(EmulatedCard):
    """A card that fails."""

    def launch(self, kernel: str, job: Room, warps: int, images: int) -> None:
        raise CardError("it has fallen off the bus")


@pytest.mark.usefixtures("alone")
def test_a_card_that_fails_in_a_worker_is_told(many: Simulated, monkeypatch: pytest.MonkeyPatch) -> None:
    emulate(monkeypatch, CARDS[:1], Dying)
    answer = search_unit(job_of(many.master, "gpu"), np.arange(10))
    assert isinstance(answer, Found)
    assert answer.failures == ("it has fallen off the bus",)
    assert answer.searched.n_spots.min() >= 0


@pytest.mark.usefixtures("alone")
def test_a_worker_without_a_card(many: Simulated, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its core searches, unless cards are asked for; then the run ends, with what to do."""
    lacking = Cards((), "", "there is no NVIDIA driver", "install the driver of the card")
    monkeypatch.setattr(cards, "find_cards", lambda: lacking)
    answer = search_unit(job_of(many.master, "auto"), np.arange(2))
    assert isinstance(answer, Found)
    assert answer.who == "a core: there is no NVIDIA driver"
    refused = search_unit(job_of(many.master, "gpu"), np.arange(2))
    assert isinstance(refused, Refused)
    assert refused.what == "cannot search: engine gpu: there is no NVIDIA driver"
    assert refused.mend == "install the driver of the card, or use engine cpu"


@pytest.mark.usefixtures("alone")
def test_processes_spread_over_cards() -> None:
    # As if each was a process: a seat is a lock of an open file.
    seats = [own.take_seat(CARDS) for _ in range(5)]
    taken = [seat for seat in seats if seat is not None]
    assert [seat.card.number for seat in taken] == [0, 1, 0, 1]
    # Known by another number where others are hidden, it is the same card.
    assert own.take_seat([Card(0, "Emulated", 1 << 34, (9, 0), uuid="1")]) is None
    taken[1].close()
    taken[1].close()
    again = own.take_seat(CARDS)
    assert again is not None
    assert again.card.number == 1
    for seat in (*taken, again):
        seat.close()


@pytest.mark.usefixtures("alone")
def test_a_card_for_one_process_has_one_seat() -> None:
    closed = [Card(0, "Emulated", 1 << 34, (9, 0), mode=ALONE, uuid="3"), CARDS[1]]
    seats = [own.take_seat(closed) for _ in range(4)]
    taken = [seat for seat in seats if seat is not None]
    assert [seat.card.number for seat in taken] == [0, 1, 1]
    for seat in taken:
        seat.close()


@pytest.mark.parametrize(("home", "own_one"), [("good", False), ("missing", True), ("closed", True)])
@pytest.mark.usefixtures("alone")
def test_kernels_are_kept_where_they_can_be(
    home: str, own_one: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CuPy does not start where it cannot make its folder."""
    places = {"good": tmp_path / "home", "missing": Path("/proc/none"), "closed": tmp_path / "file"}
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(places[home]))
    monkeypatch.delenv("CUPY_CACHE_DIR", raising=False)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    own.keep_kernels()
    chosen = os.environ.pop("CUPY_CACHE_DIR", None)
    assert (chosen is not None) == own_one
    if chosen is not None:
        assert Path(chosen).parent.stat().st_mode & 0o077 == 0
    # Who has said where is not overruled.
    monkeypatch.setenv("CUPY_CACHE_DIR", "there")
    own.keep_kernels()
    assert os.environ["CUPY_CACHE_DIR"] == "there"


@pytest.mark.usefixtures("alone")
def test_where_nothing_can_be_locked_cards_are_used_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(own.fcntl, "flock", flock)
    seats = [own.take_seat(CARDS) for _ in range(5)]
    assert None not in seats


@pytest.mark.usefixtures("alone")
def test_a_folder_of_somebody_else_is_not_used(tmp_path: Path) -> None:
    seat = own.take_seat(CARDS)
    assert seat is not None
    seat.close()
    (folder,) = tmp_path.iterdir()
    folder.chmod(0o777)
    alone = own.take_seat(CARDS)
    assert alone is not None
    assert len(list(folder.iterdir())) == 1
    alone.close()
