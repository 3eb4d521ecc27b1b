"""`hitsieve export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from hitsieve.cli.options import AsJson, Messages, Switch
from hitsieve.cli.progress import shown_count
from hitsieve.cli.report import Warnings
from hitsieve.cli.stopping import stoppable

if TYPE_CHECKING:
    from hitsieve.pipeline.export import ExportReport


def export(
    results: Path,
    /,
    *,
    format: Literal["dials", "stream", "events"],
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    only: Literal["hits", "indexed"] | None = None,
    annotated: Switch = False,
    overwrite: Switch = False,
    source: list[Path] | None = None,
    json: AsJson = False,
    messages: Messages = Messages(),  # noqa: B008 - frozen
) -> int:
    """Export lattices and hits of a finished run to DIALS or CrystFEL.

    Parameters
    ----------
    results
        An output of hitsieve run, or the folder with those of one run.
    format
        dials: experiment list and reflection table (.expt, .refl); stream: CrystFEL stream, geometry and cell
        (.stream, .geom, .cell); events: CrystFEL event list (.lst), and a table of the source of each image
        (_source.tsv).
    output
        Folder, made if absent, or name of one of these files; by default the folder of the results.
    only
        Images to export. dials exports lattices of indexed images by default, and with hits the spots of all hits
        without lattices, for DIALS to index; stream and events export all hits by default.
    annotated
        Refer to the images in the annotated master, not in the hit-only file.
    overwrite
        Replace files that exist.
    source
        Master file of the run, or all its data files or images, each with its own --source, if they have moved.
    json
        Print the names of the files and the counts as JSON on stdout, and nothing else there.
    """
    messages.set_up_logging()

    from hitsieve.pipeline.export import ExportRequest
    from hitsieve.pipeline.export import export as write

    request = ExportRequest(format, output, only, annotated, overwrite, tuple(source or ()))
    with shown_count("exporting", wanted=not (json or messages.quiet)) as progress:
        report = write(results, request, progress=stoppable(progress))
    Warnings()(report.problems)
    if json:
        print(_as_json(report))
    elif not messages.quiet:
        print(f"{report.n_images:,} images, {report.n_lattices:,} lattices")
        for path in report.files:
            print(path)
    return 0


def _as_json(report: ExportReport) -> str:
    import json

    values = {
        "files": [str(path) for path in report.files],
        "n_images": report.n_images,
        "n_lattices": report.n_lattices,
        "problems": [str(problem) for problem in report.problems],
    }
    return json.dumps(values, indent=2)
