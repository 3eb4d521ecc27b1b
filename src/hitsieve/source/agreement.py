"""Whether files named together state the same experiment; only then are they one run."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hitsieve.errors import SourceError
from hitsieve.model import Beam, Detector, Panel, Problem
from hitsieve.source.layout import Layout

SAME = 1e-6
"""Relative difference up to which two stated numbers are one number, stored with less precision."""
PIXEL_SPREAD = 0.1
"""Largest difference (pixels) of beam centres and of module positions of one run."""
MEND = "run them one by one"


@dataclass(frozen=True, slots=True)
class Quantity:
    """A stated quantity, and how far two files of one run may differ in it."""

    field: str
    name: str
    unit: str
    spread: float
    relative: bool
    settled_by: frozenset[str]
    """Names that the user sets instead."""
    flag: str = ""


QUANTITIES = (
    # Shots, and readbacks of one setting, differ by less.
    Quantity(
        *("wavelength", "wavelength", " angstrom", 0.005, True),
        frozenset({"wavelength"}),
        "--set wavelength=ANGSTROM",
    ),
    Quantity(
        *("distance", "distance", " m", 1e-4, True),
        frozenset({"distance", "geometry"}),
        "--set distance=METRES",
    ),
    Quantity(
        *("pixel_size", "pixel size", " m", 1e-4, True),
        frozenset({"pixel_size", "geometry"}),
        "--set pixel_size=METRES",
    ),
    Quantity(
        *("beam_center", "beam centre", "", PIXEL_SPREAD, False),
        frozenset({"beam_center_x", "geometry"}),
        "--set beam_center_x=PIXELS --set beam_center_y=PIXELS",
    ),
)
PANELS_SETTLED_BY = frozenset({"distance", "pixel_size", "beam_center_x", "beam_center_y", "geometry"})


@dataclass(frozen=True, slots=True)
class Statement:
    """What one file states of the experiment; None or empty where it states nothing."""

    wavelength: float | None
    distance: float | None
    beam_center: tuple[float, float] | None
    pixel_size: tuple[float, float] | None
    panels: tuple[Panel, ...] = ()


def statement(detector: Detector, beam: Beam) -> Statement:
    """The statement of a detector and a beam."""
    return Statement(beam.wavelength, detector.distance, detector.beam_center, detector.pixel_size, detector.panels)


def check_same(first: tuple[Path, Statement], other: tuple[Path, Statement], settled: Collection[str]) -> None:
    """Raise SourceError, with both files and values, where two statements are of different experiments.

    Parameters
    ----------
    first, other : (Path, Statement)
        Two files and what they state; what only one states is not compared.
    settled : collection of str
        Names of what the user sets for all files: not compared.
    """
    (path, a), (other_path, b) = first, other
    for quantity in QUANTITIES:
        one, two = (getattr(says, quantity.field) for says in (a, b))
        if one is None or two is None or quantity.settled_by & set(settled):
            continue
        relative, absolute = (quantity.spread, 0.0) if quantity.relative else (0.0, quantity.spread)
        if not np.allclose(two, one, rtol=relative, atol=absolute):
            raise SourceError(
                f"{other_path}: states the {quantity.name} {_text(two)}{quantity.unit}, "
                f"{path} states {_text(one)}{quantity.unit}",
                mend=f"{MEND}, or set one for all: {quantity.flag}",
            )
    if a.panels and b.panels and not PANELS_SETTLED_BY & set(settled) and not _alike(a.panels, b.panels):
        raise SourceError(f"{other_path}: places its modules elsewhere than {path}", mend=f"{MEND}, or --geometry")


def check_masks(
    first: tuple[Path, npt.NDArray[np.uint32] | None], other: tuple[Path, npt.NDArray[np.uint32] | None]
) -> None:
    """Raise SourceError where two files state different pixel masks."""
    (path, a), (other_path, b) = first, other
    if a is not None and b is not None and a.shape == b.shape and not np.array_equal(a, b):
        n = int(np.count_nonzero((a != 0) != (b != 0)))
        what = f"{n} pixels are good in one only" if n else "with other codes"
        raise SourceError(f"{other_path}: states another pixel mask than {path} ({what})", mend=MEND)


def _text(value: float | tuple[float, float]) -> str:
    return f"({value[0]:.6g}, {value[1]:.6g})" if isinstance(value, tuple) else f"{value:.6g}"


def _alike(a: tuple[Panel, ...], b: tuple[Panel, ...]) -> bool:
    """Whether two sets of panels place every pixel alike."""
    if len(a) != len(b):
        return False
    for one, two in zip(a, b, strict=True):
        if (one.first, one.shape) != (two.first, two.shape):
            return False
        (s, f), (ns, nf) = one.first, one.shape
        x, y = np.array([f, f + nf, f]), np.array([s, s, s + ns])
        if np.abs(one.lab(x, y) - two.lab(x, y)).max() > PIXEL_SPREAD * float(np.linalg.norm(one.fast)):
            return False
    return True


def beam_of_files(beams: Sequence[tuple[Beam, int]], n: int, where: Path) -> tuple[Beam, list[Problem]]:
    """One beam from those of several files.

    Parameters
    ----------
    beams : sequence of (Beam, int)
        Beam and number of images of each file that could be read.
    n : int
        Images of the run.
    where : Path
        What problems name.

    Returns
    -------
    Beam
        With one wavelength where all that are stated are the same, else with one an image (NaN where its file states
        none), else, where files could not be read, with their mean.
    list of Problem
        What is not as it should be.
    """
    stated = [beam for beam, _ in beams if beam.wavelength is not None]
    if not stated:
        return Beam(), []
    first = stated[0].wavelength or 0.0
    same = all(b.wavelengths is None and abs((b.wavelength or 0.0) / first - 1) <= SAME for b in stated)
    if same:
        return stated[0], []
    every = [np.full(k, np.nan if b.wavelength is None else b.wavelength) for b, k in beams]
    every = [own if b.wavelengths is None else b.wavelengths for own, (b, _) in zip(every, beams, strict=True)]
    wavelengths = np.concatenate(every)
    if len(wavelengths) != n:
        problem = Problem(
            str(where), "its wavelengths cover some images only; their mean is used", "--set wavelength=ANGSTROM"
        )
        return Beam(float(np.nanmean(wavelengths))), [problem]
    beam = Beam(float(np.nanmean(wavelengths)), wavelengths)
    lacking = sum(k for b, k in beams if b.wavelength is None)
    if not lacking:
        return beam, []
    what = f"files with {lacking} of {n} images state no wavelength; these are not indexed, their resolution is unknown"
    return beam, [Problem(str(where), what, "give all images one with --set wavelength=ANGSTROM")]


def check_once(parts: Sequence[tuple[Path, Layout]]) -> None:
    """Raise SourceError where an image would be counted twice: its file is named twice, or beside its master."""
    seen: dict[tuple[object, str], list[tuple[Path, Layout, int]]] = {}
    for path, layout in parts:
        for number, file in enumerate(layout.files):
            rows = None
            known = seen.setdefault((_identity(file.path), file.dataset.strip("/")), [])
            for other, others, at in known:
                if other is path:
                    continue
                rows = layout.row[layout.file == number] if rows is None else rows
                if np.intersect1d(rows, others.row[others.file == at]).size:
                    what = "is named twice" if other == path else f"has images that {other} has too"
                    raise SourceError(
                        f"{path}: {what} ({file.path.name}:{file.dataset})",
                        mend="name each file once; a master stands for its data files",
                    )
            known.append((path, layout, number))


def check_named_once(paths: Sequence[Path]) -> None:
    """Raise SourceError where one file is named twice, by whatever name."""
    seen: dict[object, Path] = {}
    for path in paths:
        other = seen.setdefault(_identity(path), path)
        if other is not path:
            what = "is named twice" if other == path else f"is the same file as {other}"
            raise SourceError(f"{path}: {what}", mend="name each file once")


def _identity(path: Path) -> object:
    try:
        status = path.stat()
    except OSError:
        return str(path)
    return status.st_dev, status.st_ino
