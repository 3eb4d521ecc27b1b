"""The search of a run gives what searching its images one by one gives."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import fields
from pathlib import Path

import h5py
import numpy as np
import pytest

from hitsieve.index import CellIndexer, reciprocal_vectors
from hitsieve.model import ImageResults, Spots, State, UnitCell
from hitsieve.pipeline.lattices import LatticeSearch
from hitsieve.pipeline.search import Plan, search
from hitsieve.pipeline.searcher import BATCH, Remembered, Searcher
from hitsieve.settings import IndexSettings, SpotSettings, VerdictSettings
from hitsieve.source import OpenedRun, open_run
from hitsieve.spots import Finder, Searched, build_finder
from hitsieve.spots.finder import Ground
from hitsieve.testing import Simulated, SimulateSettings, simulate
from hitsieve.verdict import HitRule, rate_spots

VERDICT = VerdictSettings()
RULE = HitRule("spots", 8)
CELL = UnitCell((79.0, 79.0, 38.0, 90.0, 90.0, 90.0))


@contextmanager
def searcher_of(opened: OpenedRun, workers: int = 2) -> Iterator[Searcher]:
    with ThreadPoolExecutor(workers) as pool:
        finder = build_finder(opened.run, SpotSettings())
        yield Searcher(opened, finder, lambda run, images: finder.scan(run, images, workers, BATCH), pool)


def searched(opened: OpenedRun, *, before: tuple[int, ...] = ()) -> list[ImageResults]:
    """Results of a run; some images are searched before the others."""
    with searcher_of(opened) as searcher:
        with searcher.searching(np.array(before, dtype=np.int64)) as batches:
            for images, found in batches:
                searcher.found.add(images, found)
        with search(searcher) as begun:
            return list(begun(Plan(VERDICT, RULE, None)))


def indexed(opened: OpenedRun, rule: HitRule) -> list[ImageResults]:
    with searcher_of(opened) as searcher:
        lattices = LatticeSearch(opened.run, CELL, IndexSettings(), searcher.pool)
        with search(searcher) as begun:
            return list(begun(Plan(VERDICT, rule, lattices)))


def column(batches: list[ImageResults], name: str) -> np.ndarray:
    return np.concatenate([getattr(batch, name) for batch in batches])


def spots_of(batches: list[ImageResults]) -> list[Spots]:
    return [batch.spots_of(i) for batch in batches for i in range(len(batch))]


def test_every_image_once_in_order(simulated: Simulated) -> None:
    with open_run([simulated.master]) as opened:
        batches = searched(opened)
    assert [len(batch) for batch in batches] == [BATCH, BATCH, 150 - 2 * BATCH]
    assert column(batches, "image").tolist() == list(range(150))
    for batch in batches:
        assert batch.offsets[0] == 0
        assert batch.offsets[-1] == len(batch.spots)
        assert np.array_equal(np.diff(batch.offsets), batch.n_spots)


def test_what_is_remembered_comes_back_in_any_order(simulated: Simulated) -> None:
    images, order = np.arange(149, 0, -5), np.arange(20) * 7 % 30
    with open_run([simulated.master]) as opened, searcher_of(opened) as searcher:
        with closing(searcher.finder.scan(opened.run, images, 1, 8)) as scan:
            found = list(scan)
        assert searcher.found.knows(images).sum() == 0
        for i, part in enumerate(found):
            searcher.found.add(images[8 * i : 8 * i + 8], part)
        assert searcher.found.knows(np.array([-1, 4, 5, 149, 150])).tolist() == [False, True, False, True, False]
        again, whole = searcher.found.of(images[order]), Searched.joined(found)
    assert len(whole.x)
    assert again.offsets[-1] == len(again.x)
    for i, place in enumerate(order.tolist()):
        for name in ("n_spots", "max_count", "background", "x", "snr", "flags"):
            assert np.array_equal(getattr(again.one(i), name), getattr(whole.one(place), name)), name


def test_where_all_is_known_nothing_is_searched_nor_a_finder_set_up(simulated: Simulated) -> None:
    def never() -> Ground:
        raise AssertionError("a finder was set up")

    with open_run([simulated.master]) as opened, searcher_of(opened) as first:
        every = np.arange(150, dtype=np.int64)
        with first.searching(every) as batches:
            packs = [(images, found) for images, found in batches]
        known = Remembered(packs)
        finder = Finder(never, SpotSettings())
        second = Searcher(opened, finder, lambda run, images: finder.scan(run, images, 1, BATCH), first.pool, known)
        with second.searching(every[::-1].copy()) as batches:
            backwards = [(images, found) for images, found in batches]
    assert [len(images) for images, _ in backwards] == [len(images) for images, _ in packs]
    forwards, again = (Searched.joined([found for _, found in batches]) for batches in (packs, backwards))
    for i in range(150):
        one, other = forwards.one(i), again.one(149 - i)
        for field in fields(Searched):
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), field.name)


@pytest.mark.parametrize("compression", ["bslz4", "gzip"])
def test_search_is_finding_and_judging_each_image(tmp_path: Path, compression: str) -> None:
    settings = {"detector": "test-256k", "images": 8, "hit_fraction": 0.6, "compression": compression}
    made = simulate(tmp_path, SimulateSettings.model_validate(settings))
    with open_run([made.master]) as opened, h5py.File(made.master) as file:
        run = opened.run
        finder = build_finder(run, SpotSettings())
        batches = searched(opened)
        for i, spots in enumerate(spots_of(batches)):
            alone = finder.find(file["entry/data/data"][i])
            image = np.array([i])
            verdict = rate_spots(image, alone.offsets, (alone.x, alone.y), (run.detector, run.beam), VERDICT)
            for name in ("x", "y", "intensity", "snr", "n_pixels", "peak"):
                assert np.array_equal(getattr(spots, name), getattr(alone, name)), name
            assert np.array_equal(spots.background, alone.spot_background)
            assert np.array_equal(spots.resolution, verdict.spot_resolution)
            assert np.array_equal(spots.flags, alone.flags | verdict.spot_flags)
            for name in ("n_spots", "n_strong", "n_saturated", "max_count", "background"):
                assert column(batches, name)[i] == getattr(alone, name)[0], name
            assert column(batches, "state")[i] == RULE.decide(verdict.n_spots_counted, np.full(1, -1))[0]
            for name in ("n_spots_counted", "n_spots_ice"):
                assert column(batches, name)[i] == getattr(verdict, name)[0], name
            assert np.array_equal(column(batches, "resolution")[i], verdict.resolution[0], equal_nan=True)


def test_images_without_their_bytes_have_a_reason_and_no_numbers(simulated: Simulated, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(simulated.master.parent, folder)
    with open_run([folder / simulated.master.name]) as opened:
        offset, size = int(opened.run.images.offset[130]), int(opened.run.images.size[130])
    with (folder / simulated.data_files[2].name).open("r+b") as file:
        file.seek(offset + 12)
        file.write(b"\xff" * (size - 12))
    (folder / simulated.data_files[1].name).unlink()
    with open_run([simulated.master]) as whole, open_run([folder / simulated.master.name]) as holed:
        expected, found = searched(whole), searched(holed)
        assert sorted(holed.run.images.missing) == list(range(60, 120))
    state = column(found, "state")
    assert np.flatnonzero(state == State.MISSING).tolist() == list(range(60, 120))
    assert np.flatnonzero(state == State.UNREADABLE).tolist() == [130]
    reasons = {image: why for batch in found for image, why in batch.reasons.items()}
    assert sorted(reasons) == [*range(60, 120), 130]
    assert all(reasons.values())
    lost = np.isin(np.arange(150), list(reasons))
    for name in ("n_spots", "n_spots_counted", "n_spots_ice", "n_strong", "n_saturated", "max_count", "n_lattices"):
        assert (column(found, name)[lost] == -1).all(), name
        assert np.array_equal(column(found, name)[~lost], column(expected, name)[~lost]), name
    for name in ("background", "resolution"):
        assert np.isnan(column(found, name)[lost]).all()
        assert np.array_equal(column(found, name)[~lost], column(expected, name)[~lost], equal_nan=True)
    for image, (some, every) in enumerate(zip(spots_of(found), spots_of(expected), strict=True)):
        for field in fields(Spots):
            wanted = getattr(every, field.name)[:0] if lost[image] else getattr(every, field.name)
            assert np.array_equal(getattr(some, field.name), wanted), field.name


@pytest.mark.parametrize("before", [(0,), (149,), tuple(range(3, 150, 7)), tuple(range(150))])
def test_images_searched_before_give_the_same(simulated: Simulated, tmp_path: Path, before: tuple[int, ...]) -> None:
    folder = tmp_path / "run"
    shutil.copytree(simulated.master.parent, folder)
    (folder / simulated.data_files[1].name).unlink()
    with open_run([folder / simulated.master.name]) as opened:
        there = tuple(image for image in before if image not in opened.run.images.missing)
        once, twice = searched(opened), searched(opened, before=there)
    for field in fields(ImageResults):
        if field.name not in ("spots", "lattices", "reasons"):
            equal = np.array_equal(column(once, field.name), column(twice, field.name), equal_nan=True)
            assert equal, field.name
    for one, two in zip(spots_of(once), spots_of(twice), strict=True):
        assert all(np.array_equal(getattr(one, f.name), getattr(two, f.name), equal_nan=True) for f in fields(Spots))
    assert [batch.reasons for batch in once] == [batch.reasons for batch in twice]


def test_lattices_are_those_of_each_image_alone(simulated: Simulated) -> None:
    with open_run([simulated.master]) as opened:
        batches = indexed(opened, HitRule("both", 12))
        run = opened.run
    indexer, found = CellIndexer(CELL.parameters), 0
    for batch in batches:
        assert batch.lattice_offsets[-1] == len(batch.lattices)
        for i, image in enumerate(batch.image.tolist()):
            spots, lattices = batch.spots_of(i), batch.lattices_of(i)
            q = reciprocal_vectors(run.detector, run.beam, spots.x, spots.y, image=image)
            counted = np.flatnonzero(spots.flags & 9 == 0)
            alone = indexer.index(q[counted]) if len(counted) >= 8 else ()
            assert batch.n_lattices[i] == len(lattices) == len(alone)
            assert batch.n_indexed[i] == sum(len(lattice.spots) for lattice in alone)
            assert np.count_nonzero(spots.lattice >= 0) == batch.n_indexed[i]
            for number, lattice in enumerate(alone):
                mine = np.flatnonzero(spots.lattice == number)
                assert mine.tolist() == counted[lattice.spots].tolist()
                assert np.array_equal(np.column_stack([spots.h, spots.k, spots.l])[mine], lattice.hkl)
                assert np.array_equal(lattices.A[number], lattice.A)
                assert lattices.cell[number].tolist() == list(lattice.cell)
                found += 1
            hit = len(alone) > 0 and batch.n_spots_counted[i] >= 12
            assert batch.state[i] == (State.HIT if hit else State.MISS)
    assert found > 10


@pytest.mark.parametrize("taken", [0, 1])
def test_leaving_early_stops_the_search(simulated: Simulated, taken: int) -> None:
    with open_run([simulated.master]) as opened, searcher_of(opened) as searcher:
        with search(searcher) as begun:
            batches = begun(Plan(VERDICT, RULE, None))
            for _ in range(taken):
                next(batches)
        with pytest.raises(StopIteration):
            for _ in range(10):
                next(batches)
