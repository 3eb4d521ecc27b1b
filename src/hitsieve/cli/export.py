"""`hitsieve export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from hitsieve.cli.options import AsJson, Messages, Switch
from hitsieve.cli.progress import shown_count
from hitsieve.cli.publishing import Publishing
from hitsieve.cli.screen import Warnings, number_of
from hitsieve.cli.stopping import stoppable
from hitsieve.errors import SettingsError

if TYPE_CHECKING:
    from hitsieve.pipeline.crate import CrateReport
    from hitsieve.pipeline.export import ExportReport


def export(
    results: Path,
    /,
    *,
    format: Literal["dials", "stream", "events"] | None = None,
    rocrate: Switch = False,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    only: Literal["hits", "indexed"] | None = None,
    annotated: Switch = False,
    overwrite: Switch = False,
    source: list[Path] | None = None,
    publishing: Publishing = Publishing(),  # noqa: B008 - frozen
    json: AsJson = False,
    messages: Messages = Messages(),  # noqa: B008 - frozen
) -> int:
    """Export lattices and hits of a finished run to DIALS or CrystFEL, or pack the hits to be published.

    Parameters
    ----------
    results
        An output of hitsieve run, or the folder with those of one run.
    format
        dials: experiment list and reflection table (.expt, .refl); stream: CrystFEL stream, geometry and cell
        (.stream, .geom, .cell); events: CrystFEL event list (.lst), and a table of the source of each image
        (_source.tsv).
    rocrate
        Pack hits, table and summary as RO-Crate with a DataCite record, ready for Zenodo or an archive.
    output
        Folder, made if absent, or name of one of these files; by default the folder of the results. For --rocrate a
        folder of its own, or a zip archive (*.zip); by default <stem>_crate in the folder of the results.
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
    quiet = json or messages.quiet
    if rocrate:
        named = {"--format": format, "--only": only, "--annotated": annotated, "--source": source}
        _exclude([name for name, value in named.items() if value], "--rocrate")
        return _pack(results, output, publishing, overwrite=overwrite, json=json, quiet=quiet)
    if format is None:
        raise SettingsError("export needs --format or --rocrate", mend="see hitsieve export --help")
    _exclude(publishing.given, "--format")

    from hitsieve.pipeline.export import ExportRequest
    from hitsieve.pipeline.export import export as write

    request = ExportRequest(format, output, only, annotated, overwrite, tuple(source or ()))
    with shown_count("exporting", wanted=not quiet) as progress:
        report = write(results, request, progress=stoppable(progress))
    Warnings()(report.problems)
    if json:
        print(_as_json(report))
    elif not messages.quiet:
        print(f"{number_of(report.n_images, 'image')}, {number_of(report.n_lattices, 'lattice')}")
        for path in report.files:
            print(path)
    return 0


def _exclude(flags: list[str], chosen: str) -> None:
    """Refuse flags that say nothing to what was chosen."""
    if flags:
        raise SettingsError(f"{chosen} and {', '.join(flags)} exclude each other", mend="see hitsieve export --help")


def _pack(
    results: Path, output: Path | None, publishing: Publishing, *, overwrite: bool, json: bool, quiet: bool
) -> int:
    from hitsieve.pipeline.crate import CrateRequest, pack_crate

    request = CrateRequest(publishing.read(), output, overwrite, publishing.facts)
    with shown_count("packing (MB)", wanted=not quiet) as progress:
        report = pack_crate(results, request, progress=stoppable(progress))
    Warnings()(report.problems)
    if json:
        print(_crate_as_json(report))
    elif not quiet:
        hits, files = number_of(report.n_hits, "hit"), number_of(len(report.files), "file")
        print(f"{hits} in {files}, {number_of(report.n_proven, 'stored image')} proven")
        print(report.path)
    return 0


def _crate_as_json(report: CrateReport) -> str:
    import json
    from dataclasses import asdict

    values = {
        "path": str(report.path),
        "files": [asdict(file) for file in report.files],
        "n_hits": report.n_hits,
        "n_proven": report.n_proven,
        "problems": [str(problem) for problem in report.problems],
    }
    return json.dumps(values, indent=2)


def _as_json(report: ExportReport) -> str:
    import json

    values = {
        "files": [str(path) for path in report.files],
        "n_images": report.n_images,
        "n_lattices": report.n_lattices,
        "problems": [str(problem) for problem in report.problems],
    }
    return json.dumps(values, indent=2)
