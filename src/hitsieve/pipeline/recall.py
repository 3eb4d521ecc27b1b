"""Which files of a run hold hits, and which none: what is worth bringing back from tape."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from hitsieve.errors import SourceError
from hitsieve.model import State
from hitsieve.write import PROOF_SUFFIX, StoredResults, open_results, read_proof

Jet = Literal["ran", "stopped", "unclear", "unknown"]


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a source, by what was found in it."""

    path: str
    """As it was when the run was sieved, absolute."""
    images: int
    hits: int
    misses: int
    unreadable: int
    missing: int
    bytes: int | None
    """Size of the file; None where it is not there and nothing else tells it."""
    jet: Jet
    """Whether the jet ran in it: stopped, where it never did; unclear, where the hits are too few to tell; unknown,
    where the run was not searched for stops."""


def recall(results: Path) -> list[SourceFile]:
    """Count what each file of a run holds, by the outputs alone; files with most hits first, then in their order.

    Parameters
    ----------
    results : Path
        An output of hitsieve run, or the folder with those of one run.

    Raises
    ------
    SourceError
        There is no such run.
    """
    with open_results(results) as stored:
        paths, which = _distinct([str(path) for path in stored.source_files])
        number, state = stored.column("source_file"), stored.column("state")
        file = np.where(number >= 0, which[number], -1)
        counts = {kind: _count(file[state == kind], len(paths)) for kind in State}
        sizes = _sizes(stored, paths)
        jets = _jets(stored, paths)
    found = [
        SourceFile(
            path=path,
            images=sum(int(counts[kind][i]) for kind in State),
            hits=int(counts[State.HIT][i]),
            misses=int(counts[State.MISS][i]),
            unreadable=int(counts[State.UNREADABLE][i]),
            missing=int(counts[State.MISSING][i]),
            bytes=sizes.get(path),
            jet=jets[i],
        )
        for i, path in enumerate(paths)
    ]
    return sorted(found, key=lambda one: -one.hits)


def _distinct(names: list[str]) -> tuple[list[str], npt.NDArray[np.int32]]:
    """Files by name, and the place among them of each, as one file may hold several datasets of images."""
    paths = list(dict.fromkeys(names))
    place = {path: i for i, path in enumerate(paths)}
    return paths, np.array([place[name] for name in names], dtype=np.int32)


def _count(numbers: npt.NDArray[np.int32], n: int) -> npt.NDArray[np.int64]:
    return np.bincount(numbers[numbers >= 0], minlength=n)


def _sizes(stored: StoredResults, paths: list[str]) -> dict[str, int]:
    """Size of each file: of those that are there, else as a proof of release has it."""
    sizes: dict[str, int] = {}
    summary = stored.outputs.summary
    proof = summary.with_name(summary.name.removesuffix("_summary.json") + PROOF_SUFFIX)
    if proof.is_file():
        try:
            sizes |= {file.path: file.size for file in read_proof(proof).files}
        except SourceError:
            sizes = {}
    for path in paths:
        try:
            sizes[path] = Path(path).stat().st_size
        except OSError:
            continue
    return sizes


def _jets(stored: StoredResults, paths: list[str]) -> list[Jet]:
    segments = stored.summary.segments
    if segments is None:
        return ["unknown"] * len(paths)
    # The summary names files as they were named; where that tells them apart, the last part of the path is enough.
    short = len({Path(path).name for path in paths}) == len(paths)
    stopped, unclear = (
        {Path(name).name if short else name for name in names}
        for names in (segments.files_without_jet, segments.files_in_doubt)
    )
    known = [Path(path).name if short else path for path in paths]
    return ["stopped" if name in stopped else "unclear" if name in unclear else "ran" for name in known]
