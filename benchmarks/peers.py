"""Other spot finders on the same images, where they are installed: how long they take, and what they say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks import crystfel, dials, om_peaks
from benchmarks.answers import area, column
from benchmarks.bench import Bench
from benchmarks.data import SimulatedRun, rearranged
from benchmarks.found import Found, Subset
from benchmarks.jobs import SPOTS_ONLY, sieve
from benchmarks.table import Row
from hitsieve.verdict import DEFAULT_MIN_SPOTS

Peer = Callable[[Subset], Found | None]
AIM_MS = 2.0
FEW = 4
"""Images of the short run of a peer; what it takes is its start, and is not counted."""


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Images that all search, with the truth and hitsieve's own answer."""

    subset: Subset
    hits: npt.NDArray[np.bool_]
    own: npt.NDArray[np.int64]
    what: str


def peers(bench: Bench) -> list[Row]:
    """One row a peer for the time, one a peer and set for the answers."""
    clear, weak = _clear(bench), _weak(bench)
    own_ms = bench.own_ms or _own_ms(bench)
    rows = [Row("hitsieve run, one worker, ms an image", f"{own_ms:.2f}", f"<= {AIM_MS:.0f} (aim)", own_ms <= AIM_MS)]
    answers = [_answers("hitsieve", chosen, chosen.own) for chosen in (clear, weak)]
    for name, peer in _all(bench).items():
        found = peer(clear.subset)
        if found is None:
            rows.append(Row(f"{name}, ms an image", "not installed"))
            continue
        times = found.ms / own_ms
        rows.append(
            Row(
                f"{name}, ms an image",
                f"{found.ms:.0f} ({times:.0f} times hitsieve's); {found.how}",
                numbers={"ms": found.ms, "times": times},
            )
        )
        answers.append(_answers(name, clear, found.n_spots))
        on_weak = peer(weak.subset)
        if on_weak is not None:
            answers.append(_answers(name, weak, on_weak.n_spots))
    return [*rows, *answers]


def _all(bench: Bench) -> dict[str, Peer]:
    return {
        "DIALS dials.find_spots": dials.find_spots,
        "CrystFEL indexamajig, peakfinder8": crystfel.peakfinder8,
        "OM peakfinder8": lambda subset: om_peaks.peakfinder8(subset, bench.om_python, fast=False),
        "OM peakfinder8, fast mode": lambda subset: om_peaks.peakfinder8(subset, bench.om_python, fast=True),
    }


def _clear(bench: Bench) -> _Chosen:
    """As many hits as blanks of the timed run, in turn."""
    hits = bench.main.hits()
    half = max(1, min(bench.peer_images // 2, int(hits.sum()), int((~hits).sum())))
    pairs = zip(np.flatnonzero(hits)[:half], np.flatnonzero(~hits)[:half], strict=True)
    return _chosen(bench, bench.main, [int(i) for pair in pairs for i in pair], "of the timed run")


def _weak(bench: Bench) -> _Chosen:
    return _chosen(bench, bench.weak, list(range(min(bench.weak_peer_images, len(bench.weak)))), "of the weak set")


def _chosen(bench: Bench, run: SimulatedRun, images: list[int], what: str) -> _Chosen:
    """Masters over the images, and hitsieve's answer through one of them."""
    master = rearranged(run, f"peers-{len(images)}", [range(i, i + 1) for i in images])
    few = rearranged(run, f"peers-{len(images)}-few", [range(i, i + 1) for i in images[:FEW]])
    report = sieve(master, bench.folder(f"peers-{run.settings.name}"))
    folder = bench.folder(f"peers-{run.settings.name}-others")
    folder.mkdir(parents=True, exist_ok=True)
    subset = Subset(master, few, len(images), min(FEW, len(images)), folder)
    own = column(report.outputs.images, "n_spots_counted").astype(np.int64)
    return _Chosen(subset, run.hits()[images], own, f"{len(images)} images {what}")


def _own_ms(bench: Bench) -> float:
    output: Path = bench.folder("peers-own")
    sieve(bench.main.master, output, rooms=SPOTS_ONLY)
    return 1e3 * sieve(bench.main.master, output, rooms=SPOTS_ONLY).summary.seconds / len(bench.main)


def _answers(name: str, chosen: _Chosen, n_spots: npt.NDArray[np.int64]) -> Row:
    """Called a hit by hitsieve's rule for all: peers count spots, and leave the rule to the user."""
    least = DEFAULT_MIN_SPOTS
    called, hits = n_spots >= least, chosen.hits
    value = area(n_spots, hits)
    measured = (
        f"{(called & hits).sum()} of {hits.sum()} hits and {(called & ~hits).sum()} of {(~hits).sum()} blanks have "
        f"{least} spots or more; area {value:.4f}"
    )
    return Row(f"{name}, {chosen.what}", measured, numbers={"area": value, "n_spots": n_spots.tolist()})
