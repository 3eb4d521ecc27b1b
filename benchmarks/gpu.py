"""Images searched by a graphics card from memory, beside the same by all cores."""

from __future__ import annotations

import os
import statistics
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import numpy as np

from benchmarks.bench import Bench
from benchmarks.jobs import scan
from benchmarks.table import Row
from benchmarks.timing import clock, take_turns
from hitsieve.cards import Bytes, Card, Device, find_cards
from hitsieve.index import CellIndexer
from hitsieve.index.gpu import CardIndexing
from hitsieve.index.gpu import devices_of as index_devices
from hitsieve.index.gpu.searching import is_same as has_same
from hitsieve.settings import SpotSettings
from hitsieve.source import OpenedRun, open_run
from hitsieve.spots import Finder, Searched, build_finder
from hitsieve.spots.gpu import can_search, devices_of
from hitsieve.spots.gpu.lane import is_same
from hitsieve.spots.gpu.plan import card_plan
from hitsieve.spots.gpu.stage import Chunks, Stage, block_bytes
from hitsieve.testing.stills import CRYSTALS, spurious, still

REACH = 10_000
"""Images/s of four megapixels, from memory."""
BATCH = 64
REPEATED = 20
"""Times that a batch is searched in one go."""
WHAT = "images/s of a graphics card, from memory"
DECODING = ("walk", "decode")
TESTING = ("unshuffle", "statistics", "compare", "gather")


def gpu(bench: Bench) -> list[Row]:
    """The first card with two batches under way, and all cores, take turns; then each step of a card by itself."""
    cards = find_cards()
    if not cards.usable:
        return [Row(WHAT, f"not measured: {cards.lack}", f">= {REACH}")]
    with open_run([bench.main.master]) as opened:
        finder = build_finder(opened.run, SpotSettings())
        if not can_search(opened.run, finder):
            return [Row(WHAT, "not measured: the run is none that cards search", f">= {REACH}")]
        stages = _stages(opened, finder, cards.usable[:1])
        found, done = stages[0][0].search(stages[0][1])
        core = Searched.joined([finder.find_stored(opened.stored(i), "bslz4") for i in range(len(done))])
        bench.report.check("a card finds what the cores find, to the bit", bool(done.all()) and is_same(found, core))
        workers = len(os.sched_getaffinity(0))
        repeated = 1 if bench.smoke else REPEATED
        jobs = {"card": lambda: _all(stages, repeated), "cores": lambda: scan(opened, finder, workers)}
        seconds = take_turns(jobs, bench.rounds)
        shares = _shares(opened, finder, cards.usable[0])
    images = {"card": len(stages) * repeated * len(done), "cores": len(bench.main)}
    rates = {name: images[name] / statistics.median(times) for name, times in seconds.items()}
    measured = f"{rates['card']:.0f}; {workers} cores {rates['cores']:.0f}"
    told = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    return [
        Row(WHAT, measured, f">= {REACH}", rates["card"] >= REACH, {"rates": rates, "seconds": seconds}),
        Row("share of a card's time, one step after the other", told, numbers=shares),
        _indexed(bench, cards.usable[:1], workers),
    ]


def _indexed(bench: Bench, cards: Sequence[Card], workers: int) -> Row:
    """Lists of spots, most of them of a lattice, indexed by a card with the cores, and by the cores alone."""
    crystal, random = CRYSTALS["tetragonal"], np.random.default_rng(13)
    indexer = CellIndexer(crystal.cell)
    lists = [np.vstack([still(random, crystal, 48)[1], spurious(random, 12)]) for _ in range(BATCH)]
    repeated = 1 if bench.smoke else REPEATED
    with ThreadPoolExecutor(workers) as pool, closing(CardIndexing(index_devices(cards), pool, workers)) as indexing:
        found = [each.result() for each in [indexing.submit(indexer, lists) for _ in range(4)]]
        same = all(has_same(each, list(map(indexer.index, lists))) for each in found)
        bench.report.check("a card finds the lattices that the cores find, to the bit", same)

        def by_card() -> None:
            for each in [indexing.submit(indexer, lists) for _ in range(repeated)]:
                each.result()

        jobs = {"card": by_card, "cores": lambda: list(pool.map(indexer.index, lists * repeated))}
        seconds = take_turns(jobs, bench.rounds)
    rates = {name: repeated * BATCH / statistics.median(times) for name, times in seconds.items()}
    measured = f"{rates['card']:.0f}; {workers} cores alone {rates['cores']:.0f}"
    return Row("lists of 60 spots/s, known cell, by a card with the cores", measured, numbers={"rates": rates})


def _stages(opened: OpenedRun, finder: Finder, cards: Sequence[Card]) -> list[tuple[Stage, Chunks]]:
    """For each stream of some cards, the memory for a batch, and a batch."""
    stored = [opened.stored(i) for i in range(min(BATCH, len(opened.run)))]
    return [_stage(make(), stored, finder) for make in devices_of(cards, finder.ground.dtype)]


def _stage(device: Device, stored: Sequence[bytes], finder: Finder) -> tuple[Stage, Chunks]:
    plan = card_plan(finder.ground, finder.settings, finder.core.sample)
    blocks = block_bytes(stored[0], plan.dtype.itemsize)
    if blocks is None:
        raise ValueError("the first image has no blocks that cards know")
    return Stage(device, plan, blocks, len(stored)), Chunks.of(stored, device)


def _all(stages: Sequence[tuple[Stage, Chunks]], repeated: int) -> None:
    def go(stage: Stage, chunks: Chunks) -> None:
        for _ in range(repeated):
            stage.search(chunks)

    threads = [threading.Thread(target=go, args=each) for each in stages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Timed:
    """A device that waits for each step, and notes how long it took."""

    def __init__(self, device: Device) -> None:
        self.lanes = device.lanes
        self.seconds: dict[str, float] = defaultdict(float)
        self._device = device
        self._beside = device.room(1)

    def room(self, n_bytes: int) -> Any:
        return self._device.room(n_bytes)

    def free_bytes(self) -> int:
        return self._device.free_bytes()

    def address(self, room: Any) -> int:
        return self._device.address(room)

    def host_room(self, n_bytes: int) -> Bytes:
        return self._device.host_room(n_bytes)

    def put(self, room: Any, data: Bytes) -> None:
        self._wait("copy", lambda: self._device.put(room, data))

    def get(self, room: Any, n_bytes: int) -> Bytes:
        found: list[Bytes] = []
        self._wait("copy", lambda: found.append(self._device.get(room, n_bytes)))
        return found[0]

    def launch(self, kernel: str, job: Any, warps: int, images: int) -> None:
        step = "decode" if kernel in DECODING else "test" if kernel in TESTING else "spots"
        self._wait(step, lambda: self._device.launch(kernel, job, warps, images))

    def close(self) -> None:
        self._device.close()

    def _wait(self, step: str, what: Callable[[], None]) -> None:
        def finished() -> None:
            what()
            self._device.get(self._beside, 1)

        self.seconds[step] += clock(finished)


def _shares(opened: OpenedRun, finder: Finder, card: Card) -> dict[str, float]:
    timed = Timed(devices_of([card], finder.ground.dtype)[0]())
    stored = [opened.stored(i) for i in range(min(BATCH, len(opened.run)))]
    stage, chunks = _stage(timed, stored, finder)
    stage.search(chunks)
    timed.seconds.clear()
    stage.search(chunks)
    total = float(np.sum(list(timed.seconds.values())))
    return {step: seconds / total for step, seconds in timed.seconds.items()}
