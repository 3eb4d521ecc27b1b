"""Runs searched by cards give what the core gives, whatever becomes of the cards; real runs, on emulated cards."""

from __future__ import annotations

import logging
import os
import subprocess
import weakref
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulatedcard import EmulatedCard, Room
from emulatedcard.nvrtc import complaints
from hitsieve.cards import CardError, Device, find_cards
from hitsieve.model import Run
from hitsieve.settings import SpotSettings
from hitsieve.source import open_run
from hitsieve.spots import Finder, Searched, build_finder
from hitsieve.spots.finder import NOT_STORED
from hitsieve.spots.gpu import Streams, can_search
from hitsieve.spots.gpu.kernels import kernels_for
from hitsieve.spots.gpu.lane import Bounds
from hitsieve.spots.gpu.plan import CardPlan, card_plan
from hitsieve.spots.gpu.reading import Places
from hitsieve.spots.gpu.stage import ALIGNED, block_bytes, image_bytes
from hitsieve.testing import Simulated, SimulateSettings, simulate

from .test_gpu import assert_same

ABOUT = {"name": "few", "detector": "test-256k", "images": 30, "images_per_file": 9, "hit_fraction": 0.4, "seed": 3}
BATCH = 8
SMALL = Bounds(images=BATCH)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    """Thirty images in four files; never changed."""
    return simulate(tmp_path_factory.mktemp("few"), SimulateSettings.model_validate(ABOUT))


@pytest.fixture(scope="module")
def run(few: Simulated) -> Run:
    with open_run([few.master]) as opened:
        return opened.run


@pytest.fixture(scope="module")
def finder(run: Run) -> Finder:
    return build_finder(run, SpotSettings())


def by_core(run: Run, finder: Finder, images: Sequence[int]) -> Searched:
    with closing(finder.scan(run, np.array(images, dtype=np.int64), 1, BATCH)) as scan:
        return Searched.joined(list(scan))


def by_cards(
    devices: Sequence[Callable[[], Device]],
    run: Run,
    finder: Finder,
    images: Sequence[int],
    bounds: Bounds = SMALL,
) -> tuple[Searched, list[int]]:
    asked = np.array(images, dtype=np.int64)
    streams = Streams(devices, run, finder, workers=1, bounds=bounds)
    with closing(streams.scan(asked, BATCH, ends=True)) as scan:
        parts = list(scan)
    return Searched.joined(parts), [len(part) for part in parts]


class Cards:
    """Emulated cards, each of which is remembered."""

    def __init__(self, dtype: str, **more: int) -> None:
        self.made: list[EmulatedCard] = []
        self._dtype, self._more = dtype, more

    def __call__(self) -> Device:
        self.made.append(EmulatedCard(self._dtype, **self._more))
        return self.made[-1]


def test_cards_find_what_cores_find(run: Run, finder: Finder) -> None:
    cards = Cards(finder.ground.dtype)
    found, sizes = by_cards([cards] * 3, run, finder, range(30))
    assert sizes == [8, 8, 8, 6]
    assert_same(found, by_core(run, finder, range(30)))
    assert found.n_spots.max() > 15
    assert sum(card.launched.count("decode") for card in cards.made) == 4


@pytest.mark.parametrize(
    "name",
    ["dls_i19_lcysteine_pilatus_2m", "lcls_cxi_thermolysin_cspad", "sls_jungfrau_module_raw", "su_timepix_electron"],
)
def test_images_of_real_detectors(name: str, data_dir: Path) -> None:
    with open_run([data_dir / "images" / f"{name}.h5"]) as opened:
        real = opened.run
    search = build_finder(real, SpotSettings())
    images = range(min(2, len(real)))
    found, _ = by_cards([Cards(search.ground.dtype)], real, search, images)
    assert_same(found, by_core(real, search, images))
    assert found.n_spots.min() > 0


def test_any_images_in_any_order(run: Run, finder: Finder) -> None:
    images = [7, -1, 3, 29, -1, -1, 0, 11, 12, 5, -1]
    found, _ = by_cards([Cards(finder.ground.dtype)], run, finder, images)
    assert_same(found, by_core(run, finder, images))
    assert set(found.reasons) == {1, 4, 5, 10}


def test_no_images(run: Run, finder: Finder) -> None:
    none = np.empty(0, dtype=np.int64)
    with closing(Streams([Cards("int16")], run, finder, workers=1).scan(none, BATCH, ends=True)) as scan:
        assert list(scan) == []


def test_a_search_that_is_left_early(run: Run, finder: Finder) -> None:
    streams = Streams([Cards(finder.ground.dtype)] * 2, run, finder, workers=1, bounds=SMALL)
    scan = streams.scan(np.arange(30, dtype=np.int64), BATCH, ends=True)
    assert_same(next(scan), by_core(run, finder, range(8)))
    scan.close()
    scan.close()
    assert list(scan) == []


class Interrupted(EmulatedCard):
    """A card that is slow to give memory back, so that the user's Ctrl-C comes while it does."""

    asked = 0

    def close(self) -> None:
        super().close()
        Interrupted.asked += 1
        if Interrupted.asked == 1:
            raise KeyboardInterrupt


def test_ctrl_c_while_memory_is_given_back(run: Run, finder: Finder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search is closed once more on the way out, and does not wait for what was interrupted."""
    monkeypatch.setattr(Interrupted, "asked", 0)
    streams = Streams([lambda: Interrupted(finder.ground.dtype)] * 2, run, finder, workers=1, bounds=SMALL)
    for place in [*Places.of(run, np.arange(30, dtype=np.int64)).batches(BATCH, 1 << 28)][:2]:
        streams.search(place)
    none = np.empty(0, dtype=np.int64)
    with pytest.raises(KeyboardInterrupt), closing(streams.scan(none, BATCH, ends=True)) as scan:
        list(scan)
    assert Interrupted.asked == 2


def test_images_that_cannot_be_read_say_why_as_ever(run: Run, finder: Finder, tmp_path: Path) -> None:
    """Chunks that are cut, broken, or in a file that is not there."""
    data = bytearray(run.files[0].path.read_bytes())
    table = run.images
    data[int(table.offset[2]) + 16 : int(table.offset[2]) + 80] = bytes([0xFF]) * 64
    (tmp_path / "broken.h5").write_bytes(data)
    size = table.size.copy()
    size[4] = 5
    size[5] = 1 << 40
    files = list(run.files)
    files[0] = replace(files[0], path=tmp_path / "broken.h5")
    files[1] = replace(files[1], path=tmp_path / "absent.h5")
    hurt = replace(run, files=tuple(files), images=replace(table, size=size))
    found, _ = by_cards([Cards(finder.ground.dtype)], hurt, finder, range(30))
    assert_same(found, by_core(hurt, finder, range(30)))
    assert {2, 4, 5, *range(9, 18)} == set(found.reasons)
    assert all(found.reasons.values())


@pytest.mark.parametrize("away", [True, False])
def test_a_run_whose_first_images_are_lost_is_searched_by_cards(
    away: bool, run: Run, finder: Finder, tmp_path: Path
) -> None:
    """The first file is away, or its chunks hold nothing that makes sense."""
    if not away:
        (tmp_path / "first.h5").write_bytes(bytes([0xFF]) * run.files[0].path.stat().st_size)
    files = (replace(run.files[0], path=tmp_path / "first.h5"), *run.files[1:])
    hurt = replace(run, files=files)
    assert can_search(hurt, finder)
    cards = Cards(finder.ground.dtype)
    found, _ = by_cards([cards], hurt, finder, range(30))
    assert_same(found, by_core(hurt, finder, range(30)))
    assert set(found.reasons) == set(range(9))
    assert cards.made[0].launched


def test_little_memory_is_used_by_few_images_at_a_time(run: Run, finder: Finder) -> None:
    # The list of what is measured takes most: 1.25 MiB an image.
    cards = Cards(finder.ground.dtype, memory=3 << 20)
    found, _ = by_cards([cards], run, finder, range(12))
    assert_same(found, by_core(run, finder, range(12)))
    assert cards.made[0].launched.count("decode") == 6


def test_a_card_takes_its_share_of_free_memory(run: Run, finder: Finder, caplog: pytest.LogCaptureFixture) -> None:
    """It is looked at before; nothing has to fail first."""
    plan, blocks = made_for(run, finder)
    # One in four is a stream's: three images and a half. They come by eight and four.
    cards = Cards(finder.ground.dtype, free=14 * image_bytes(plan, blocks))
    with caplog.at_level(logging.INFO):
        found, _ = by_cards([cards], run, finder, range(12))
    assert_same(found, by_core(run, finder, range(12)))
    assert [card.launched.count("decode") for card in cards.made] == [5]
    assert "too little memory" not in caplog.text


def made_for(run: Run, finder: Finder) -> tuple[CardPlan, int]:
    """What is fixed for a run."""
    with open_run([run.path]) as opened:
        stored = opened.stored(0)
    plan = card_plan(finder.ground, finder.settings, finder.core.sample)
    blocks = block_bytes(stored, plan.dtype.itemsize)
    assert blocks is not None
    return plan, blocks


def test_batches_are_bounded_by_bytes(run: Run, finder: Finder) -> None:
    """Small images go by hundreds, large ones by few; what is handed on is as long as ever."""
    plan, blocks = made_for(run, finder)
    largest, images = int(run.images.size.max()), range(30)
    for bounds, decoded in (
        (Bounds(), 2),
        (Bounds(on_card=4 * image_bytes(plan, blocks)), 8),
        (Bounds(on_card=1), 30),
        (Bounds(stored=largest), 30),
    ):
        cards = Cards(finder.ground.dtype)
        found, sizes = by_cards([cards], run, finder, images, bounds)
        assert sizes[0] == BATCH >= max(sizes) or len(sizes) == 30 or sizes == [4] * 7 + [2]
        assert sum(sizes) == 30
        assert_same(found, by_core(run, finder, images))
        assert [card.launched.count("decode") for card in cards.made] == [decoded]
        # A chunk begins where cards read at once.
        assert max(cards.made[0].host_rooms) <= max(bounds.stored, largest) + 30 * ALIGNED


@given(
    sizes=st.lists(st.integers(-5, 1 << 50) | st.integers(0, 9)),
    images=st.integers(1, 9),
    stored=st.integers(1, 40),
)
def test_batches_hold_all_images_once(sizes: list[int], images: int, stored: int) -> None:
    n = len(sizes)
    file = np.array([NOT_STORED if size < 0 else 0 for size in sizes], dtype=np.int32)
    size = np.array(sizes, dtype=np.int64)
    places = Places(np.arange(n), file, np.zeros(n, dtype=np.int64), size)
    batches = list(places.batches(images, stored))
    assert [i for batch in batches for i in batch.images.tolist()] == list(range(n))
    for batch in batches:
        assert 1 <= len(batch.images) <= images
        assert len(batch.images) == 1 or batch.size[batch.file != NOT_STORED].sum() <= stored


class Sparing(EmulatedCard):
    """A card that gives memory of the host once more only where what it gave before is free again."""

    given: weakref.ref[Any] | None = None

    def host_room(self, n_bytes: int) -> Any:
        assert self.given is None or self.given() is None
        room = super().host_room(n_bytes)
        self.given = weakref.ref(room)
        return room


def test_memory_that_has_become_too_small_is_not_kept_beside_what_follows(run: Run, finder: Finder) -> None:
    made: list[EmulatedCard] = []

    def make() -> Device:
        made.append(Sparing(finder.ground.dtype))
        return made[-1]

    with closing(Streams([make], run, finder, workers=1, bounds=SMALL)) as streams:
        places = Places.of(run, np.arange(9, dtype=np.int64))
        streams.search(places.part(0, 1))
        streams.search(places.part(1, 9))
    (card,) = made
    assert len(card.host_rooms) == 2


def test_no_memory_leaves_all_to_the_core(run: Run, finder: Finder, caplog: pytest.LogCaptureFixture) -> None:
    found, _ = by_cards([Cards(finder.ground.dtype, memory=10)], run, finder, range(12))
    assert_same(found, by_core(run, finder, range(12)))
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "the compiled finder goes on in its place" in caplog.text


class Dying(EmulatedCard):
    """A card that fails in its third batch."""

    def launch(self, kernel: str, job: Room, warps: int, images: int) -> None:
        if self.launched.count("decode") == 2:
            raise CardError("it has fallen off the bus")
        super().launch(kernel, job, warps, images)


class Wrong(EmulatedCard):
    """A card whose memory errs."""

    def get(self, room: Room, n_bytes: int) -> Any:
        data = super().get(room, n_bytes)
        if n_bytes == 8 * BATCH:
            data[0] ^= 1
        return data


@pytest.mark.parametrize(("kind", "why"), [(Dying, "fallen off the bus"), (Wrong, "please report")])
def test_cards_that_fail_lose_nothing(
    kind: type[EmulatedCard], why: str, run: Run, finder: Finder, caplog: pytest.LogCaptureFixture
) -> None:
    found, _ = by_cards([lambda: kind(finder.ground.dtype)], run, finder, range(30))
    assert_same(found, by_core(run, finder, range(30)))
    assert why in caplog.text
    assert len(caplog.records) == 1


def test_what_cards_cannot_search(run: Run, finder: Finder) -> None:
    assert can_search(run, finder)
    assert not can_search(run, build_finder(run, SpotSettings(algorithm="dispersion")))
    files = tuple(replace(file, codec="bszstd") for file in run.files)
    assert not can_search(replace(run, files=files), finder)


DRIVER = """
#include <stddef.h>
#include <string.h>
int cuInit(unsigned flags) { return START; }
int cuDriverGetVersion(int *version) { *version = VERSION; return 0; }
int cuDeviceGetCount(int *count) { *count = CARDS; return 0; }
int cuDeviceGet(int *device, int number) { *device = 10 + number; return 0; }
int cuDeviceGetName(char *name, int size, int device) {
    strncpy(name, device == 10 ? "First" : "Second", size);
    return 0;
}
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)device << 30; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? MAJOR : attribute == 76 ? device - 10 : MODE;
    return 0;
}
int cuDeviceGetUuid_v2(char *uuid, int device) { memset(uuid, device, 16); return 0; }
"""


@pytest.mark.parametrize(
    ("driver", "lack", "n_cards"),
    [
        ((0, 12040, 2, 9, 0), "", 2),
        ((0, 12040, 2, 9, 3), "", 2),
        ((0, 11080, 2, 9, 0), "older than CUDA 12.0", 2),
        ((0, 12040, 0, 9, 0), "has no card", 0),
        ((0, 12040, 1, 6, 0), "First is too old", 1),
        ((0, 12040, 1, 9, 2), "First is closed to all", 1),
        ((100, 12040, 1, 9, 0), "has no card", 0),
        ((999, 12040, 1, 9, 0), "does not start (error 999)", 0),
    ],
)
def test_cards_as_a_driver_tells(
    driver: tuple[int, ...], lack: str, n_cards: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library that answers as the driver does."""
    names = ("START", "VERSION", "CARDS", "MAJOR", "MODE")
    library = tmp_path / "libcuda.so"
    (tmp_path / "driver.c").write_text(DRIVER, encoding="utf-8")
    defines = [f"-D{name}={value}" for name, value in zip(names, driver, strict=True)]
    compiler = os.environ.get("CC", "cc")
    command = [compiler, "-shared", "-fPIC", "-w", *defines, str(tmp_path / "driver.c"), "-o", str(library)]
    subprocess.run(command, check=True)
    # CuPy is there, as far as anybody asks.
    (tmp_path / "cupy.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    found = find_cards(str(library))
    assert lack in found.lack
    assert bool(found.lack) == bool(lack)
    assert bool(found.mend) == bool(lack)
    assert len(found.cards) == n_cards
    assert len(found.usable) == (0 if lack else n_cards)
    if not lack:
        assert (found.driver, found.cards[1].name, found.cards[1].memory) == ("12.4", "Second", 11 << 30)
        assert (found.cards[1].number, found.cards[1].capability) == (1, (9, 1))
        assert (found.cards[1].is_alone, found.cards[1].identity) == (driver[4] == 3, "0b" * 16)


def test_no_driver_is_no_card() -> None:
    found = find_cards("libcuda-that-is-not-there.so")
    assert (found.cards, found.driver, found.usable) == ((), "", ())
    assert "no NVIDIA driver" in found.lack


@pytest.mark.parametrize("architecture", ["sm_75", "sm_90"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32"])
def test_the_compiler_of_cards_takes_the_kernels(dtype: str, architecture: str) -> None:
    said = complaints(kernels_for(dtype), architecture)
    if said is None:
        pytest.skip("NVRTC is not installed (nvidia-cuda-nvrtc-cu12)")
    assert said == ""


def test_a_real_card() -> None:
    """Equality on a card that is there; what an emulation cannot show."""
    cards = find_cards()
    if not cards.usable:
        pytest.skip(f"no card can be used: {cards.lack}")
    from hitsieve.cards.cupycard import CupyCard

    from .cases import DTYPES
    from .test_gpu import DETECTOR, agree, stored_series

    for dtype in DTYPES:
        for n_spots in (0, 40, 300):
            card = CupyCard(cards.usable[0].number, kernels_for(dtype))
            agree(card, dtype, DETECTOR, stored_series(20, dtype, n_spots))


@pytest.mark.parametrize("bounds", [SMALL, Bounds()])
def test_a_run_on_real_cards(bounds: Bounds, run: Run, finder: Finder, caplog: pytest.LogCaptureFixture) -> None:
    """Streams that overlap, memory that is not swapped out, and readers; what an emulation cannot show."""
    cards = find_cards()
    if not cards.usable:
        pytest.skip(f"no card can be used: {cards.lack}")
    from hitsieve.spots.gpu import devices_of

    devices = devices_of(cards.usable, finder.ground.dtype)
    found, _ = by_cards(devices, run, finder, list(range(30)) * 20, bounds)
    assert_same(found, by_core(run, finder, list(range(30)) * 20))
    assert "used no more" not in caplog.text
