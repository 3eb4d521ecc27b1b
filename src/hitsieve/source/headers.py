"""From the text headers of all images to the metadata of the run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from hitsieve.model import Beam, Detector, ImageHeaders, Problem
from hitsieve.source.agreement import Statement, beam_of_files, check_same
from hitsieve.source.detector import Metadata
from hitsieve.source.geometry import completed
from hitsieve.source.minicbf import Header

T = TypeVar("T")
GEOMETRY = ("wavelength", "distance", "beam centre")


def columns(headers: Sequence[Header | None]) -> ImageHeaders:
    """The headers of all images, one each."""

    def numbers(name: str) -> npt.NDArray[np.float64]:
        return np.array([np.nan if h is None else h.numbers.get(name, np.nan) for h in headers])

    return ImageHeaders(
        text=tuple("" if h is None else h.text for h in headers),
        count_time=numbers("count_time"),
        frame_time=numbers("frame_time"),
        threshold_energy=numbers("threshold"),
        start_time=_first(h.start_time for h in headers if h is not None),
    )


def stated(
    paths: Sequence[Path],
    headers: Sequence[Header | None],
    detector: Detector,
    dtype: np.dtype[np.generic],
    settled: Collection[str] | None,
) -> Metadata:
    """Detector and beam as the headers of all images state them.

    Parameters
    ----------
    paths, headers : sequences
        The files, and the header of each; None where it has none that is understood.
    detector : Detector
        What is known besides.
    dtype : numpy.dtype
        Type of the pixels.
    settled : collection of str, optional
        What the user sets, in which headers need not agree; None: in nothing.

    Raises
    ------
    SourceError
        The headers are of different experiments.
    """
    found = [(path, header) for path, header in zip(paths, headers, strict=True) if header is not None]
    if not found:
        problem = Problem(
            str(paths[0]), "its header states no geometry that hitsieve understands", "--set, or --geometry"
        )
        return Metadata(detector, Beam(), (problem,))
    if settled is not None:
        _check(found, settled)
    every = [header for _, header in found]
    beams = [(Beam(None if h is None else h.numbers.get("wavelength")), 1) for h in headers]
    beam, problems = beam_of_files(beams, len(headers), paths[0])
    cutoffs = sorted({h.numbers["cutoff"] for h in every if "cutoff" in h.numbers})
    if len(cutoffs) > 1:
        what = f"count cutoffs differ over the images ({cutoffs[0]:g} to {cutoffs[-1]:g}); the lowest is used"
        problems.append(Problem(str(paths[0]), what))
    for name in GEOMETRY:
        path = next((path for path, header in found if name in header.unset), None)
        if path is not None:
            problems.append(Problem(str(path), f"states the {name} 0, which means not set"))
    described = replace(
        detector,
        saturation_value=int(cutoffs[0]) if cutoffs else None,
        # Pilatus CBFs write -1 in gaps and -2 at bad pixels.
        underload_value=0 if dtype.kind == "i" else None,
        description=_first(h.detector for h in every),
        distance=_first(h.numbers.get("distance") for h in every),
        beam_center=_first(h.beam_center for h in every),
        pixel_size=_first(h.pixel_size for h in every),
        sensor_material=_first(h.material for h in every),
        sensor_thickness=_first(h.numbers.get("thickness") for h in every),
    )
    return Metadata(completed(described), beam, tuple(problems))


def _check(found: Sequence[tuple[Path, Header]], settled: Collection[str]) -> None:
    """Raise SourceError where two headers state different experiments; each different statement is compared once."""
    statements: dict[Statement, Path] = {}
    for path, h in found:
        says = Statement(h.numbers.get("wavelength"), h.numbers.get("distance"), h.beam_center, h.pixel_size)
        statements.setdefault(says, path)
    (first, first_path), *others = statements.items()
    for says, path in others:
        check_same((first_path, first), (path, says), settled)


def _first(values: Iterable[T | None]) -> T | None:
    """The first value that is stated."""
    return next((value for value in values if value is not None), None)
