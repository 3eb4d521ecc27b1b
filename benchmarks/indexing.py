"""Whether lattices are found where they are, none where there is none, and what that costs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.bench import Bench
from benchmarks.table import Row
from hitsieve.index import CellIndexer, find_cell, index_unknown
from hitsieve.settings import IndexSettings
from hitsieve.testing.lists import SPOT_LISTS, SpotList
from hitsieve.testing.stills import CRYSTALS, NOISE, Crystal, Floats, agrees, on_rings, spurious, still

SINGLE_REACH, TWO_REACH, FALSE_REACH = 0.97, 0.85, 0.001
KNOWN_MS, UNKNOWN_MS = 5.0, 60.0
TIMED_SPOTS = 60
CELL_SHARE, CELL_DEGREES = 0.03, 3.0
"""A reference whose cell is further from the known one does not fit it."""
EXPLAINS = 0.5
"""Nor does one that explains a smaller share of the spots."""


@dataclass(frozen=True, slots=True)
class Amount:
    """How many lists of each kind."""

    single: int
    two: int
    random: int
    """For each cell."""
    hits: int
    timed: int


SHORT, LONG = Amount(60, 60, 650, 40, 20), Amount(300, 200, 2600, 100, 60)


def indexing(bench: Bench) -> list[Row]:
    """All of it."""
    amount = LONG if bench.long else SHORT
    rows = [*real_lists(bench), *(simulated(bench, name, amount) for name in CRYSTALS)]
    rows += [*random_lists(bench, amount), *(shared_cell(bench, name, amount) for name in CRYSTALS)]
    return [*rows, *times(amount)]


def real_lists(bench: Bench) -> list[Row]:
    """Images of the real spot lists that get one of their reference lattices."""
    data = Path(os.environ.get("HITSIEVE_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    if not (data / "spots").is_dir():
        return [Row("real spot lists", f"not at {data}: set HITSIEVE_DATA to their folder")]
    return [real_list(bench, data, case) for case in SPOT_LISTS]


@dataclass(frozen=True, slots=True)
class Reference:
    """A lattice that another program found."""

    image: str
    found: bool
    """Within 1.5 degrees and 3 %."""
    length: float
    """Largest deviation of a cell length from the known cell (a share of it)."""
    angle: float
    """Of a cell angle (degrees)."""
    spots: int
    """Spots of the image."""
    explains: float
    """Share of them whose indices are within 0.2 of whole ones."""

    @property
    def fits(self) -> bool:
        """Whether it is an answer to the question: a lattice of about the known cell that explains the spots."""
        near = self.length < CELL_SHARE and self.angle < CELL_DEGREES
        return near and self.explains >= EXPLAINS and self.spots >= IndexSettings().min_indexed


def real_list(bench: Bench, data: Path, case: SpotList) -> Row:
    """One list: what is found of what fits the known cell."""
    images, spots = case.read(data)
    indexer = CellIndexer(case.cell, case.centring, IndexSettings(max_lattices=5))
    references = []
    for image in images:
        q = spots[image["image"]]
        lattices = [case.like_reference(lattice.A) for lattice in indexer.index(q)]
        for answer in image["lattices"]:
            A = np.array(answer["A"])
            indices = q @ np.linalg.inv(A).T
            explains = float((np.abs(indices - np.round(indices)).max(axis=1) < 0.2).mean())
            hit = any(agrees(A, one) for one in lattices)
            references.append(Reference(image["image"], hit, *_off(case, A), len(q), explains))
    n = len({reference.image for reference in references})
    found_images = len({reference.image for reference in references if reference.found})
    found = sum(reference.found for reference in references)
    missed = [reference for reference in references if not reference.found]
    says = f"{found_images} of {n} images, {found} of {len(references)} lattices"
    if missed:
        says += f"; of {len(missed)} missed {sum(not reference.fits for reference in missed)} do not fit"
    before = found >= case.lattices and found_images >= case.images
    bench.report.check(f"{case.name}: lattices found before are found", before, says)
    met = not any(reference.fits for reference in missed)
    return Row(f"real list {case.name}", says, "all that fit", met, {"missed": [asdict(one) for one in missed]})


def _off(case: SpotList, A: Floats) -> tuple[float, float]:
    """Deviation of a reference's cell from the known one: of a length (a share of it) and of an angle (degrees)."""
    rows = np.linalg.inv(A)
    if case.centring == "I":
        rows = np.linalg.inv(A @ np.linalg.inv(case.like_reference(np.eye(3))))
    lengths = np.linalg.norm(rows, axis=1)
    cosines = [rows[i] @ rows[j] / lengths[i] / lengths[j] for i, j in ((1, 2), (0, 2), (0, 1))]
    known = np.array(case.cell)
    # The longest against the longest: axes may come in another order.
    share = np.abs(np.sort(lengths) / np.sort(known[:3]) - 1).max()
    return float(share), float(np.abs(np.sort(np.degrees(np.arccos(cosines))) - np.sort(known[3:])).max())


def spots_of(random: np.random.Generator, crystal: Crystal, crystals: int) -> tuple[list[Floats], Floats]:
    """True lattices and spots of an image: 20 to 100 spots, of which 10 to 30 % are spurious; others come on top."""
    n, share = int(random.integers(20, 101)), random.uniform(0.1, 0.3)
    parts = [still(random, crystal, round(n * (1 - share))) for _ in range(crystals)]
    q = np.vstack([*(q for _, q in parts), spurious(random, round(n * share))])
    return [A for A, _ in parts], random.permutation(q)


def simulated(bench: Bench, name: str, amount: Amount) -> Row:
    """Shares of images with one lattice, and with two, of which all are found."""
    crystal = CRYSTALS[name]
    indexer = CellIndexer(crystal.cell, crystal.centring)
    shares = []
    for crystals, n in ((1, amount.single), (2, amount.two)):
        random = np.random.default_rng([crystals, 10])
        good = 0
        for _ in range(n):
            true, q = spots_of(random, crystal, crystals)
            found = indexer.index(q)
            good += all(any(agrees(A, lattice.A) for lattice in found) for A in true)
        shares.append(good / n)
    # What is short by chance only is no disagreement.
    floors = [p - 3 * np.sqrt(p * (1 - p) / n) for p, n in ((SINGLE_REACH, amount.single), (TWO_REACH, amount.two))]
    bench.report.check(f"{name}: simulated lattices are found", shares[0] >= floors[0] and shares[1] >= floors[1])
    return Row(
        f"simulated {name}: one lattice found, both of two",
        f"{shares[0]:.1%} of {amount.single}, {shares[1]:.1%} of {amount.two}",
        f">= {SINGLE_REACH:.0%}, {TWO_REACH:.0%}",
        shares[0] >= SINGLE_REACH and shares[1] >= TWO_REACH,
    )


def random_lists(bench: Bench, amount: Amount) -> list[Row]:
    """Lists without a lattice that get one, with a known cell and without, by how the spots are spread."""
    rows = []
    kinds = {"evenly to 2.5 A": spurious, "on powder rings": on_rings, **NOISE}
    for what, lists in kinds.items():
        n = round((0.25 if lists is on_rings else 0.75) * amount.random)
        false = {}
        for name, crystal in CRYSTALS.items():
            indexer = CellIndexer(crystal.cell, crystal.centring)
            random = np.random.default_rng(11)
            false[name] = sum(bool(indexer.index(lists(random, int(random.integers(8, 80))))) for _ in range(n))
        total, wrong = n * len(CRYSTALS), sum(false.values())
        says = f"{wrong} of {total} ({wrong / total:.3%})"
        met = wrong <= FALSE_REACH * total
        rows.append(Row(f"random spots {what}: indexed with a known cell", says, f"<= {FALSE_REACH:.1%}", met, false))
        if lists is not on_rings:
            # What is over by chance only is no disagreement.
            most = FALSE_REACH * total + 3 * np.sqrt(FALSE_REACH * total)
            bench.report.check(f"random spots {what} are no lattice", wrong <= most, says)
    return [*rows, *(random_without_cell(what, lists, amount) for what, lists in kinds.items())]


def random_without_cell(what: str, lists: Callable[[np.random.Generator, int], Floats], amount: Amount) -> Row:
    """Lists without a lattice in which some cell is found."""
    random = np.random.default_rng(14)
    n = round(0.2 * amount.random)
    wrong = sum(index_unknown(lists(random, int(random.integers(8, 80)))) is not None for _ in range(n))
    says = f"{wrong} of {n} ({wrong / n:.2%})"
    return Row(f"random spots {what}: indexed without a cell", says, f"<= {FALSE_REACH:.1%}", wrong <= FALSE_REACH * n)


def shared_cell(bench: Bench, name: str, amount: Amount) -> Row:
    """The conventional cell that hits of an unknown crystal agree on."""
    random = np.random.default_rng(12)
    crystal = CRYSTALS[name]
    found = find_cell([spots_of(random, crystal, 1)[1] for _ in range(amount.hits)])
    met, says = False, f"no cell of {amount.hits} hits"
    if found is not None:
        parameters = np.array(found.cell.parameters)
        length = float(np.abs(np.sort(parameters[:3]) / np.sort(crystal.cell[:3]) - 1).max())
        # Up to the choice of sign of the axes.
        folded = [np.sort(90 - np.abs(90 - np.array(angles))) for angles in (parameters[3:], crystal.cell[3:])]
        angle = float(np.abs(folded[0] - folded[1]).max())
        met = length <= 0.01 and angle <= 1 and found.cell.centring == crystal.centring
        says = (
            f"{length:.2%}, {angle:.2f} degrees off, {found.bravais.type}; {len(found.images)} of {amount.hits} agree"
        )
    bench.report.check(f"{name}: hits agree on the cell", met, says)
    return Row(f"unknown cell {name}", says, "1 %, 1 degree, centring", met)


def times(amount: Amount) -> list[Row]:
    """Processor time of a list of 60 spots, on one core."""
    with_lattice, without, unknown = {}, {}, {}
    for name, crystal in CRYSTALS.items():
        indexer = CellIndexer(crystal.cell, crystal.centring)
        random = np.random.default_rng(13)
        hits = [np.vstack([still(random, crystal, 48)[1], spurious(random, 12)]) for _ in range(amount.timed)]
        with_lattice[name] = _milliseconds(indexer.index, hits)
        without[name] = _milliseconds(indexer.index, [spurious(random, TIMED_SPOTS) for _ in range(amount.timed)])
        unknown[name] = _milliseconds(index_unknown, hits[: amount.timed // 2])
    known = [_time("known cell, 48 of 60 spots of a lattice", with_lattice, KNOWN_MS)]
    known.append(_time("known cell, 60 spots without a lattice", without, KNOWN_MS))
    return [*known, _time("unknown cell, 48 of 60 spots of a lattice", unknown, UNKNOWN_MS)]


def _time(what: str, ms: dict[str, float], reach: float) -> Row:
    worst = max(ms, key=lambda name: ms[name])
    says = f"{np.median(list(ms.values())):.1f} ms; {min(ms.values()):.1f} to {ms[worst]:.1f} ({worst})"
    return Row(f"indexing, {what}", says, f"<= {reach:g} ms", ms[worst] <= reach, ms)


def _milliseconds(index: Callable[[Floats], object], lists: Iterable[Floats]) -> float:
    """Median processor time of a list."""
    spent = []
    for q in lists:
        start = time.thread_time()
        index(q)
        spent.append(1e3 * (time.thread_time() - start))
    return float(np.median(spent))
