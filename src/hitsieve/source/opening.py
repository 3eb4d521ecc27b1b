"""From paths to an opened run."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hitsieve.errors import SourceError
from hitsieve.model import Beam, Detector, Problem, Run
from hitsieve.settings import SourceSettings
from hitsieve.source.access import check_file, has_signature, open_hdf5
from hitsieve.source.crystfel import apply_geometry
from hitsieve.source.detector import Metadata, read_metadata
from hitsieve.source.images import index_images
from hitsieve.source.layout import Layout
from hitsieve.source.masks import read_mask
from hitsieve.source.nxmx import index_file, join
from hitsieve.source.opened import OpenedRun
from hitsieve.source.overrides import apply_overrides, parse_overrides

PACKED = (".gz", ".bz2")


@dataclass(frozen=True, slots=True)
class _Input:
    style: str
    layout: Layout
    metadata: Metadata


def open_run(paths: Sequence[Path], settings: SourceSettings | None = None) -> OpenedRun:
    """Open a stored run.

    Parameters
    ----------
    paths : sequence of Path
        One master file, one or many data files (joined in the order given), or image files.
    settings : SourceSettings, optional
        Overrides of geometry, metadata and mask.

    Returns
    -------
    OpenedRun
        The run; what it lacks is in `run.problems`.

    Raises
    ------
    SourceError
        Nothing can be read, there are no images, or the files do not fit together.
    MetadataError
        A mask or geometry does not fit the images.
    SettingsError
        A setting makes no sense.
    """
    settings = settings or SourceSettings()
    paths = [Path(p) for p in paths]
    overrides = parse_overrides(settings.set)
    if not paths:
        raise SourceError("no input file is named", mend="name a master file, data files or images")
    found = _open(paths)
    if not len(found.layout):
        raise SourceError(f"{paths[0]}: holds no images", mend="name a file with images")
    metadata = found.metadata
    given = dict(overrides.given)
    if settings.geometry is not None:
        metadata = apply_geometry(settings.geometry, metadata)
        given["geometry"] = str(settings.geometry)
    detector, beam = apply_overrides(metadata.detector, metadata.beam, overrides)
    if settings.mask is not None:
        mask = read_mask(settings.mask, detector.shape)
        detector = replace(detector, pixel_mask=mask if detector.pixel_mask is None else detector.pixel_mask | mask)
        given["mask"] = str(settings.mask)
    lacking = _lacking(paths[0], detector, beam)
    run = Run(
        path=paths[0],
        stem=stem_of(paths),
        files=found.layout.files,
        images=found.layout.table(),
        dtype=found.layout.dtype,
        detector=detector,
        beam=beam,
        style=found.style,
        problems=(*found.layout.problems, *metadata.problems, *lacking),
        overrides=given,
    )
    return OpenedRun(run)


def stem_of(paths: Sequence[Path]) -> str:
    """Prefix of output names: the first file's name without suffixes, `_master` and, of several files, its number."""
    name = paths[0].name
    for suffix in PACKED:
        name = name.removesuffix(suffix)
    stem = Path(name).stem.removesuffix("_master")
    if len(paths) > 1:
        stem = re.sub(r"(_data)?[_.-]?\d+$", "", stem) or stem
    return stem


def _open(paths: Sequence[Path]) -> _Input:
    """Index one input or several; of several HDF5 files, those that cannot be read are counted where possible."""
    if len(paths) == 1:
        check_file(paths[0])
        if has_signature(paths[0]):
            return _open_hdf5(paths[0])
    else:
        hdf5 = [_is_hdf5(path) for path in paths]
        if any(hdf5):
            odd = next((p for p, is_hdf5 in zip(paths, hdf5, strict=True) if not is_hdf5), None)
            if odd is not None:
                raise SourceError(f"{odd}: is not an HDF5 file like the others", mend="name files of one kind")
            return _open_several(paths)
    layout, metadata = index_images(paths)
    return _Input("images", layout, metadata)


def _is_hdf5(path: Path) -> bool:
    check_file(path)
    return has_signature(path)


def _open_hdf5(path: Path) -> _Input:
    with open_hdf5(path) as file:
        opened = index_file(file, path)
        metadata = read_metadata(file, path, opened.layout.shape, len(opened.layout))
    return _Input(opened.style, opened.layout, metadata)


def _open_several(paths: Sequence[Path]) -> _Input:
    """Join HDF5 files; the metadata are those of the first that can be read."""
    read: list[tuple[Metadata, int]] = []

    def opener(path: Path) -> Callable[[], Layout]:
        def open_part() -> Layout:
            if read and read[0][0].beam.wavelengths is None:
                with open_hdf5(path) as file:
                    return index_file(file, path).layout
            part = _open_hdf5(path)
            read.append((part.metadata, len(part.layout)))
            return part.layout

        return open_part

    layout = join([(path, opener(path), "") for path in paths], paths[0], None)
    first = read[0][0]
    if first.beam.wavelengths is None:
        return _Input("files", layout, first)
    every = [m.beam.wavelengths for m, _ in read]
    known = [w for w in every if w is not None]
    if len(known) == len(every) and sum(len(w) for w in known) == len(layout):
        wavelengths = np.concatenate(known)
        return _Input("files", layout, replace(first, beam=Beam(float(wavelengths.mean()), wavelengths)))
    problem = Problem(
        str(paths[0]), "its wavelengths cover some images only; their mean is used", "--set wavelength=ANGSTROM"
    )
    mean = replace(first.beam, wavelengths=None)
    return _Input("files", layout, replace(first, beam=mean, problems=(*first.problems, problem)))


def _lacking(path: Path, detector: Detector, beam: Beam) -> list[Problem]:
    """What the input does not state, with what to do about it."""
    lacks: list[tuple[bool, str, str]] = [
        (beam.wavelength is None, "wavelength", "--set wavelength=ANGSTROM"),
        (detector.distance is None, "detector distance", "--set distance=METRES"),
        (
            detector.beam_center is None,
            "beam centre",
            "--set beam_center_x=PIXELS --set beam_center_y=PIXELS",
        ),
        (detector.pixel_size is None, "pixel size", "--set pixel_size=METRES"),
        (detector.pixel_mask is None, "pixel mask", "--mask FILE:/path"),
    ]
    return [Problem(str(path), f"states no {name}", mend) for absent, name, mend in lacks if absent]
