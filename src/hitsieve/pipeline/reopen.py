"""Opens the original run of stored results again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hitsieve.errors import SourceError
from hitsieve.model import Run
from hitsieve.pipeline.facts import disagreements, facts_of
from hitsieve.source import OpenedRun, open_run
from hitsieve.write import StoredResults, mask_digest


def reopen(stored: StoredResults, source: Sequence[Path] = (), *, restored: bool = False) -> OpenedRun:
    """Open the run that results were found on, with the settings recorded then; its pump states are the recorded ones.

    Parameters
    ----------
    stored : StoredResults
    source : sequence of Path, optional
        Where the run is, named as it was for `hitsieve run`, if it has moved.
    restored : bool
        It may also lie in other files than it did, as a restored series does. Whoever allows it proves each image.

    Returns
    -------
    OpenedRun

    Raises
    ------
    SourceError
        It cannot be opened, its geometry file is not what it was, or it is another run: by the names of its files, the
        number, shape and type of its images, or by wavelength, geometry and mask.
    """
    paths = list(source) or list(stored.source_paths)
    gone = [path for path in paths if not path.exists()] if not source else []
    if gone:
        other = ", or what hitsieve restore makes of its hits and misses," if restored else ""
        raise SourceError(f"{gone[0]}: there is no such file", mend=f"name the original run{other} with --source")
    _check_geometry(stored)
    pumpless = {"pump": None, "pump_dataset": None, "pump_csv": None}
    opened = open_run(paths, stored.settings.source.model_copy(update=pumpless))
    try:
        _check_same(opened.run, stored, restored=restored and bool(source))
        opened.run = replace(opened.run, stem=stored.summary.source.stem, pump=stored.pump)
    except BaseException:
        opened.close()
        raise
    return opened


def _check_geometry(stored: StoredResults) -> None:
    """Refuse a geometry file that has changed: q and resolutions would not be those of the results."""
    path = stored.settings.source.geometry
    if path is None or stored.geometry is None:
        return
    recorded = f"{stored.outputs.annotated}, hit_finding/geometry/data"
    mend = f"give it back the text that is recorded in {recorded}, or run hitsieve run again"
    try:
        now = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise SourceError(f"geometry file {path} cannot be read: {error.strerror}", mend=mend) from None
    if now != stored.geometry:
        raise SourceError(f"geometry file {path} is not what it was when the results were found", mend=mend)


def _check_same(run: Run, stored: StoredResults, *, restored: bool) -> None:
    """Refuse a run whose images are not those of the results, by their files, number, shape, type and geometry."""
    mend = "name the run that the results were found on"
    if len(run) != len(stored):
        what = f"{run.path}: has {len(run)} images, the results in {stored.outputs.summary} are of {len(stored)}"
        raise SourceError(what, mend=mend)
    own = {path.resolve() for path in (stored.outputs.hits, stored.outputs.misses) if path is not None}
    if any(file.path.resolve() in own for file in run.files):
        # Their own lists of spots and images would be taken for the source's.
        what = f"{run.path}: shows the hits and misses of {stored.outputs.summary} themselves"
        raise SourceError(what, mend="restore them without --virtual")
    names = [(file.path.name, file.dataset) for file in run.files]
    before = [(path.name, dataset) for path, dataset in zip(stored.source_files, stored.source_datasets, strict=True)]
    same = (restored or names == before) and run.detector.shape == stored.summary.source.image_shape
    if same and not restored:
        file, row = stored.column("source_file"), stored.column("source_row")
        same = np.array_equal(file, run.images.file) and np.array_equal(row, run.images.row)
    if not same:
        raise SourceError(f"{run.path}: is another run than that of {stored.outputs.summary}", mend=mend)
    differs = list(disagreements(facts_of(run), stored.summary.facts))
    if run.dtype.name != stored.summary.source.dtype:
        differs.append(f"pixels {run.dtype.name} now, {stored.summary.source.dtype} recorded")
    mask = run.detector.pixel_mask
    if mask is not None and stored.mask_sha256 not in (None, mask_digest(mask)):
        differs.append("the pixel mask is not the one recorded")
    if differs:
        what = f"{run.path}: is another run than that of {stored.outputs.summary}, or has changed"
        raise SourceError(f"{what}: {'; '.join(differs)}", mend=f"{mend}, or run hitsieve run again")
