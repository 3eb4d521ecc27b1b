"""Lattices are the same, to the bit, whoever makes the trials; the cards are emulated."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from emulatedcard import EmulatedCard, Room
from emulatedcard.nvrtc import complaints
from hitsieve.cards import CardError, Device, find_cards
from hitsieve.index import CellIndexer
from hitsieve.index.gpu import CardIndexing, devices_of, kernels
from hitsieve.index.gpu.searching import is_same
from hitsieve.index.gpu.trials import Tried
from hitsieve.settings import IndexSettings
from hitsieve.testing.lists import SPOT_LISTS, SpotList
from hitsieve.testing.stills import CRYSTALS, Crystal, Floats, spurious, still

SOME = IndexSettings(max_lattices=5)


def agree(indexer: CellIndexer, q: list[Floats], lanes: int = 1) -> int:
    """A card's lattices are those of the core; how many there are."""
    card = Tried(EmulatedCard(kernels(), lanes))
    found = card.lattices(indexer, q, 2)
    assert is_same(found, [indexer.index(each) for each in q])
    return sum(map(len, found))


@pytest.mark.parametrize("case", SPOT_LISTS, ids=lambda case: case.name)
def test_real_lists(case: SpotList, data_dir: Path) -> None:
    images, spots = case.read(data_dir)
    indexer = CellIndexer(case.cell, case.centring, SOME)
    n = 12
    assert agree(indexer, [spots[image["image"]] for image in images[:n]]) > 0


@pytest.mark.long
@pytest.mark.parametrize("case", SPOT_LISTS, ids=lambda case: case.name)
def test_real_lists_at_length(case: SpotList, data_dir: Path) -> None:
    _, spots = case.read(data_dir)
    assert agree(CellIndexer(case.cell, case.centring, SOME), list(spots.values())) >= case.lattices


def stills(crystal: Crystal, n: int, seed: int = 1) -> list[Floats]:
    """Spots of one crystal, of several, and of none, a few and many."""
    random = np.random.default_rng(seed)
    some = []
    for i in range(n):
        crystals = [still(random, crystal, int(random.integers(8, 140)))[1] for _ in range(i % 4)]
        some.append(random.permutation(np.vstack([*crystals, spurious(random, int(random.integers(3, 60)))])))
    return some


@pytest.mark.parametrize("crystal", CRYSTALS.values(), ids=CRYSTALS)
def test_simulated_lists(crystal: Crystal) -> None:
    assert agree(CellIndexer(crystal.cell, crystal.centring, SOME), stills(crystal, 8)) > 4


@pytest.mark.long
@pytest.mark.parametrize("crystal", CRYSTALS.values(), ids=CRYSTALS)
def test_simulated_lists_at_length(crystal: Crystal) -> None:
    assert agree(CellIndexer(crystal.cell, crystal.centring, SOME), stills(crystal, 100, seed=2)) > 75


def test_lanes_that_take_turns() -> None:
    crystal = CRYSTALS["triclinic"]
    assert agree(CellIndexer(crystal.cell), stills(crystal, 3), lanes=32) > 0


class Failing(EmulatedCard):
    """A card that fails at a launch, or finds what is not there."""

    def __init__(self, after: int, wrong: bool = False) -> None:
        super().__init__(kernels())
        self._after, self._wrong = after, wrong

    def launch(self, kernel: str, job: Room, warps: int, images: int) -> None:
        super().launch(kernel, job, warps, images)
        if len(self.launched) > self._after:
            raise CardError("card 0: it fell out")

    def get(self, room: Room, n_bytes: int) -> npt.NDArray[np.uint8]:
        got = super().get(room, n_bytes)
        return np.zeros_like(got) if self._wrong else got


@pytest.fixture
def cores() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


CRYSTAL = CRYSTALS["tetragonal"]
INDEXER = CellIndexer(CRYSTAL.cell)


@pytest.fixture(scope="module")
def lists() -> list[list[Floats]]:
    """Three batches."""
    return [stills(CRYSTAL, 6, seed) for seed in (3, 4, 5)]


def by_cards(
    makers: Sequence[Callable[[], Device]], cores: ThreadPoolExecutor, lists: list[list[Floats]]
) -> list[bool]:
    """For each batch, whether its lattices are those of the core."""
    with closing(CardIndexing(makers, cores, 2)) as indexing:
        begun = [indexing.submit(INDEXER, batch) for batch in lists]
        found = [each.result() for each in begun]
    return [is_same(some, [INDEXER.index(q) for q in batch]) for some, batch in zip(found, lists, strict=True)]


def test_batches_on_several_streams(cores: ThreadPoolExecutor, lists: list[list[Floats]]) -> None:
    made: list[EmulatedCard] = []

    def make() -> Device:
        made.append(EmulatedCard(kernels()))
        return made[-1]

    assert by_cards([make] * 2, cores, lists) == [True] * 3
    assert made and all(card.closed for card in made)
    assert sum(card.launched.count("peaks") for card in made) > 3


def no_card() -> Device:
    raise CardError("card 0: cudaErrorDevicesUnavailable")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (no_card, "cudaErrorDevicesUnavailable"),
        (lambda: Failing(0), "it fell out"),
        (lambda: Failing(8), "it fell out"),
        (lambda: Failing(1 << 40, wrong=True), "please report this"),
        (lambda: EmulatedCard(kernels(), memory=1 << 12), "no 524288 bytes"),
    ],
    ids=["away", "at once", "on the way", "wrong", "memory"],
)
def test_whatever_becomes_of_a_card(
    make: Callable[[], Device],
    why: str,
    cores: ThreadPoolExecutor,
    lists: list[list[Floats]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The lattices are the same, and one warning says why."""
    with caplog.at_level(logging.WARNING):
        assert by_cards([make] * 2, cores, lists) == [True] * 3
    assert len(caplog.messages) == 1
    assert why in caplog.text
    assert "indexes no more" in caplog.text


def test_nothing_to_index(cores: ThreadPoolExecutor) -> None:
    """No image, images without spots, and spots that mean nothing."""
    none = np.zeros((0, 3))
    nothing = [none, np.full((20, 3), np.nan), np.zeros((20, 3)), np.tile([0.1, 0.1, 0.0], (20, 1))]
    assert agree(INDEXER, []) == 0
    assert agree(INDEXER, nothing) == 0


THREADLESS = """
import numpy as np
from hitsieve.index import CellIndexer

q = np.random.default_rng(1).normal(scale=0.1, size=(20, 40, 3))
searches = CellIndexer((79, 79, 38, 90, 90, 90)).begin(q)
searches.go_on(8)
print(len(searches.first()[1]["images"]))
"""


def test_a_system_that_has_no_threads_to_give() -> None:
    """The searches go on in the one there is."""
    # No system has so much room for the stack of another.
    environment = os.environ | {"RUST_MIN_STACK": str(1 << 50)}
    command = [sys.executable, "-c", THREADLESS]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("20\n", "")


@pytest.mark.parametrize("architecture", ["sm_75", "sm_90"])
def test_the_compiler_of_cards_takes_the_kernels(architecture: str) -> None:
    said = complaints(kernels(), architecture)
    if said is None:
        pytest.skip("NVRTC is not installed (nvidia-cuda-nvrtc-cu12)")
    assert said == ""


def test_a_real_card() -> None:
    """Equality on a card that is there; what an emulation cannot show."""
    found = find_cards()
    if not found.usable:
        pytest.skip(f"no card can be used: {found.lack}")
    card = Tried(devices_of(found.usable)[0]())
    for crystal in CRYSTALS.values():
        indexer, q = CellIndexer(crystal.cell, crystal.centring, SOME), stills(crystal, 64)
        assert is_same(card.lattices(indexer, q, 2), [indexer.index(each) for each in q])
