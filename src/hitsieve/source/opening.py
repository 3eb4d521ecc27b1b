"""From paths to an opened run."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from hitsieve.errors import SourceError
from hitsieve.model import Beam, Detector, Problem, Run
from hitsieve.settings import SourceSettings
from hitsieve.source.access import check_file, has_signature
from hitsieve.source.crystfel import apply_geometry
from hitsieve.source.images import index_images
from hitsieve.source.joining import Input, open_one, open_several
from hitsieve.source.masks import read_mask
from hitsieve.source.opened import OpenedRun
from hitsieve.source.overrides import apply_overrides, parse_overrides
from hitsieve.source.pump import with_pump
from hitsieve.source.uncorrected import raw_readings

PACKED = (".gz", ".bz2")


def open_run(
    paths: str | Path | Sequence[str | Path], settings: SourceSettings | None = None, *, compare: bool = True
) -> OpenedRun:
    """Open a stored run.

    Parameters
    ----------
    paths : str, Path, or sequence of them
        One master file, one or many data files (joined in the order given), or image files.
    settings : SourceSettings, optional
        Overrides of geometry, metadata and mask.
    compare : bool
        False: files that state different experiments are joined all the same, with the metadata of the first.

    Returns
    -------
    OpenedRun
        The run; what it lacks is in `run.problems`.

    Raises
    ------
    SourceError
        Nothing can be read, there are no images, an image is named twice, or the files do not fit together or state
        different experiments.
    MetadataError
        A mask or geometry does not fit the images.
    SettingsError
        A setting makes no sense.
    """
    settings = settings or SourceSettings()
    named = [Path(p) for p in ([paths] if isinstance(paths, str | Path) else paths)]
    overrides = parse_overrides(settings.set)
    if not named:
        raise SourceError("no input file is named", mend="name a master file, data files or images")
    settled = {*overrides.given, *(("geometry",) if settings.geometry is not None else ())}
    found = _open(named, settled if compare else None)
    if not len(found.layout):
        raise SourceError(f"{named[0]}: holds no images", mend="name a file with images")
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
    lacking = _lacking(named[0], detector, beam)
    run = Run(
        path=named[0],
        stem=stem_of(named),
        files=found.layout.files,
        images=found.layout.table(),
        dtype=found.layout.dtype,
        detector=detector,
        beam=beam,
        style=found.style,
        problems=(*found.layout.problems, *metadata.problems, *lacking),
        overrides=given,
        headers=found.headers,
        sample_cell=metadata.sample_cell,
        named=tuple(named),
    )
    run = with_pump(run, named, found.lengths, settings)
    opened = OpenedRun(run)
    raw = raw_readings(opened)
    return OpenedRun(replace(run, problems=(*run.problems, *raw))) if raw else opened


def stem_of(paths: Sequence[Path]) -> str:
    """Prefix of output names: the first file's name without suffixes, `_master` and, of several files, its number."""
    name = paths[0].name
    for suffix in PACKED:
        name = name.removesuffix(suffix)
    stem = Path(name).stem.removesuffix("_master")
    if len(paths) > 1:
        stem = re.sub(r"(_data)?[_.-]?\d+$", "", stem) or stem
    return stem


def _open(paths: Sequence[Path], settled: Collection[str] | None) -> Input:
    """Index one input or several."""
    if len(paths) == 1:
        check_file(paths[0])
        if has_signature(paths[0]):
            return open_one(paths[0])
    else:
        hdf5 = [_is_hdf5(path) for path in paths]
        if any(hdf5):
            odd = next((p for p, is_hdf5 in zip(paths, hdf5, strict=True) if not is_hdf5), None)
            if odd is not None:
                raise SourceError(f"{odd}: is not an HDF5 file like the others", mend="name files of one kind")
            return open_several(paths, settled)
    return index_images(paths, settled)


def _is_hdf5(path: Path) -> bool:
    check_file(path)
    return has_signature(path)


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
