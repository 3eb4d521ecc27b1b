"""Exports the lattices and hits of a finished run to DIALS and CrystFEL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from hitsieve import __version__
from hitsieve.errors import MetadataError, SettingsError, SourceError
from hitsieve.model import Problem, Run, State, UnitCell
from hitsieve.pipeline.reopen import reopen
from hitsieve.source import open_run
from hitsieve.write import StoredResults, open_results
from hitsieve.write.export import (
    DialsFiles,
    Experiment,
    Images,
    StreamText,
    cell_file,
    event_list,
    find_places,
    geometry_file,
    source_list,
    writing_files,
)

Format = Literal["dials", "stream", "events"]
Only = Literal["hits", "indexed"]
Step = Callable[[int, int], None]
BLOCK = 1024
"""Images that are read at once."""


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What to export, and where to."""

    format: Format
    output: Path | None = None
    """Folder, or name of the main file; None: the folder of the results."""
    only: Only | None = None
    """hits or indexed images; None: indexed ones for dials, hits otherwise."""
    annotated: bool = False
    """Refer to the annotated master, not to the hit-only file."""
    overwrite: bool = False
    source: tuple[Path, ...] = ()
    """Where the original run is, if it has moved."""

    @property
    def chosen(self) -> Only:
        """hits or indexed."""
        return self.only or ("indexed" if self.format == "dials" else "hits")


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was exported."""

    files: tuple[Path, ...]
    n_images: int
    n_lattices: int
    problems: tuple[Problem, ...] = ()


SUFFIXES: dict[Format, tuple[str, ...]] = {
    "dials": (".expt", ".refl"),
    "stream": (".stream", ".geom", ".cell"),
    "events": (".lst", "_source.tsv"),
}
"""Files of each format; the first is the main one."""


def export(results: str | Path, request: ExportRequest, progress: Step | None = None) -> ExportReport:
    """Export a finished run.

    Parameters
    ----------
    results : str or Path
        An output of `hitsieve run`, or a folder that holds those of one run. Of the hit-only file of one pump state,
        the images of this state are exported.
    request : ExportRequest
    progress : callable, optional
        Called with the number of images done and their total.

    Returns
    -------
    ExportReport

    Raises
    ------
    SourceError
        The results, or the original run, cannot be opened; or there is nothing to export.
    MetadataError
        The geometry or a wavelength is unknown.
    OutputError
        A file exists, or cannot be written.
    SettingsError
        The output is named like a file of another format.
    """
    with open_results(results) as stored:
        selection = _select(stored, request)
        if request.format == "events":
            return _export_events(stored, request, selection)
        with reopen(stored, request.source) as opened:
            run = opened.run
        selection, left_out = _describable(run, selection)
        experiment, problems = _experiment(stored, run, selection.file)
        batches = _Batches(stored, run, selection, progress)
        if request.format == "dials":
            report = _export_dials(stored, request, experiment, batches)
        else:
            report = _export_stream(stored, request, experiment, batches)
        return replace(report, problems=(*left_out, *problems))


@dataclass(frozen=True, slots=True)
class _Selection:
    """Images to export, and where they are."""

    image: npt.NDArray[np.int64]
    """Index in the run."""
    row: npt.NDArray[np.int64]
    """Row in the file."""
    file: Path


def _select(stored: StoredResults, request: ExportRequest) -> _Selection:
    """Images that are asked for, in the hit-only file where it has all of them, else in the annotated master."""
    hit = stored.column("state") == State.HIT
    chosen = hit if request.chosen == "hits" else stored.column("n_lattices") > 0
    image = np.flatnonzero(chosen & stored.of_pump_state)
    where = stored.outputs.summary if stored.pump_state is None else stored.hits_file
    if not len(image):
        if not len(stored.hits):
            raise SourceError(
                f"{where}: nothing to export: the run has no hits",
                mend="give it other rules with hitsieve rethink, or search again with hitsieve run",
            )
        indexed = stored.summary.index is not None
        why = "no image has a lattice" if indexed else "the run is not indexed"
        mend = "export the hits with --only hits" if indexed else "run hitsieve with indexing, or give --only hits"
        raise SourceError(f"{where}: nothing to export: {why}", mend=mend)
    if request.annotated or not hit[image].all():
        return _Selection(image, image, stored.outputs.annotated.resolve())
    if not stored.hits_file.is_file():
        raise SourceError(f"{stored.hits_file}: is absent", mend="give --annotated to refer to the annotated master")
    return _Selection(image, np.searchsorted(stored.hits, image), stored.hits_file.resolve())


def _describable(run: Run, selection: _Selection) -> tuple[_Selection, tuple[Problem, ...]]:
    """The images whose wavelength is known, and how many are left out; all of them if none is known."""
    known = run.beam.known(selection.image)
    if known.all() or not known.any():
        return selection, ()
    what = f"{np.count_nonzero(~known)} of {len(known)} images are left out: their wavelength is unknown"
    problem = Problem(str(run.path), what, "run hitsieve with --set wavelength=ANGSTROM")
    return replace(selection, image=selection.image[known], row=selection.row[known]), (problem,)


def _experiment(stored: StoredResults, run: Run, file: Path) -> tuple[Experiment, tuple[Problem, ...]]:
    places = find_places(file)
    problems: tuple[Problem, ...] = ()
    detector = run.detector
    if stored.settings.source.geometry is not None:
        with open_run([file]) as opened:
            theirs = opened.run.detector.panels
        numbers = {(panel.first, panel.shape): number for number, panel in enumerate(theirs)}
        order = [numbers.get((panel.first, panel.shape), -1) for panel in detector.panels]
        if sorted(order) == list(range(len(theirs))):
            detector = replace(detector, panels=tuple(detector.panels[order.index(i)] for i in range(len(theirs))))
        elif theirs:
            what = f"has {len(theirs)} modules, the geometry file used for the run has {len(order)} other panels"
            problems = (Problem(str(file), what, "DIALS shows the lattices, but cannot show the images with them"),)
    cell = None
    if stored.summary.index is not None:
        known = stored.summary.index.cell
        cell = UnitCell(known.parameters, known.centring, known.origin)
    experiment = Experiment(
        file=file,
        dataset=places.images,
        detector=detector,
        dtype=run.dtype,
        direction=run.beam.direction,
        cell=cell,
        mask=places.mask,
        peaks=places.peaks,
    )
    return experiment, problems


@dataclass(frozen=True, slots=True)
class _Batches:
    """The images of a selection, a block at a time."""

    stored: StoredResults
    run: Run
    selection: _Selection
    progress: Step | None

    @property
    def wavelength(self) -> float:
        """That of the run, or the mean of those of its images (angstrom)."""
        wavelength = self.run.beam.wavelength
        if wavelength is None:
            raise MetadataError(
                f"{self.run.path}: the wavelength is unknown, without which no lattice can be described",
                mend="run hitsieve with --set wavelength=...",
            )
        return wavelength

    def __iter__(self) -> Iterator[Images]:
        beam, total = self.run.beam, len(self.selection.image)
        for start in range(0, total, BLOCK):
            image = self.selection.image[start : start + BLOCK]
            row = self.selection.row[start : start + BLOCK]
            each = np.full(len(image), self.wavelength) if beam.wavelengths is None else beam.wavelengths[image]
            yield Images(self.stored.read(image), row, np.asarray(each, dtype=np.float64))
            if self.progress is not None:
                self.progress(min(start + BLOCK, total), total)


def _targets(stored: StoredResults, request: ExportRequest, *, cell: bool) -> dict[str, Path]:
    """Files of the format, by suffix; the unit cell file only where there is a cell."""
    suffixes = SUFFIXES[request.format]
    folder, stem = stored.outputs.summary.parent, stored.summary.source.stem
    if stored.pump_state is not None:
        stem = stored.hits_file.name.removesuffix("_hits.h5")
    if request.output is not None:
        named = None if request.output.is_dir() else _suffix_of(request.output, request.format)
        folder = request.output if named is None else request.output.parent
        stem = stem if named is None else request.output.name.removesuffix(named)
    return {suffix: folder / f"{stem}{suffix}" for suffix in suffixes if cell or suffix != ".cell"}


def _suffix_of(output: Path, format: Format) -> str | None:
    """The suffix of a file of the format that a name has; None where it is that of a folder."""
    known = [(suffix, owner) for owner, suffixes in SUFFIXES.items() for suffix in suffixes]
    suffix, owner = next(((s, o) for s, o in known if output.name.endswith(s) and output.name != s), (None, format))
    if owner != format:
        first = SUFFIXES[format][0]
        raise SettingsError(
            f"--output {output}: {suffix} is no file of the format {format}", mend=f"name a folder, or a file *{first}"
        )
    return suffix


def _inputs(stored: StoredResults) -> tuple[Path, ...]:
    return (*stored.outputs, *stored.source_paths, *stored.source_files)


def _export_dials(
    stored: StoredResults, request: ExportRequest, experiment: Experiment, batches: _Batches
) -> ExportReport:
    files = DialsFiles(experiment, indexed=request.chosen == "indexed")
    targets = _targets(stored, request, cell=True)
    with writing_files([*targets.values()], overwrite=request.overwrite, inputs=_inputs(stored)) as write:
        for images in batches:
            files.add(images)
        write(targets[".expt"], files.expt())
        write(targets[".refl"], files.refl())
    n_lattices = len(files) if files.indexed else 0
    return ExportReport((*targets.values(),), len(batches.selection.image), n_lattices)


def _export_stream(
    stored: StoredResults, request: ExportRequest, experiment: Experiment, batches: _Batches
) -> ExportReport:
    text = StreamText(experiment, __version__, f"hitsieve export --format stream --only {request.chosen}")
    targets = _targets(stored, request, cell=experiment.cell is not None)
    n_lattices = 0
    with writing_files([*targets.values()], overwrite=request.overwrite, inputs=_inputs(stored)) as write:
        write(targets[".stream"], text.head(batches.wavelength).encode())
        for images in batches:
            write(targets[".stream"], text.images(images).encode())
            n_lattices += len(images.results.lattices)
        write(targets[".geom"], geometry_file(experiment, batches.wavelength).encode())
        if experiment.cell is not None:
            write(targets[".cell"], cell_file(experiment.cell).encode())
    return ExportReport((*targets.values(),), len(batches.selection.image), n_lattices)


def _export_events(stored: StoredResults, request: ExportRequest, selection: _Selection) -> ExportReport:
    find_places(selection.file)
    targets = _targets(stored, request, cell=True)
    names = [str(path) for path in stored.source_files]
    files = (names[number] for number in stored.column("source_file")[selection.image].tolist())
    rows = stored.column("source_row")[selection.image]
    lattices = stored.column("n_lattices")[selection.image]
    with writing_files([*targets.values()], overwrite=request.overwrite, inputs=_inputs(stored)) as write:
        write(targets[".lst"], event_list(selection.file, selection.row).encode())
        write(targets["_source.tsv"], source_list(selection.image, files, rows).encode())
    return ExportReport((*targets.values(),), len(selection.image), int(np.maximum(lattices, 0).sum()))
