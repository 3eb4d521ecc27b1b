"""`hitsieve rethink`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from pydantic import BeforeValidator, Field

from hitsieve.cli.options import CATALOGUE, VERDICT, AsJson, Messages, Switch
from hitsieve.cli.progress import shown_count
from hitsieve.cli.run import CatalogueFlags
from hitsieve.cli.screen import Warnings, print_summary
from hitsieve.cli.stopping import stoppable
from hitsieve.settings import VerdictSettings

if TYPE_CHECKING:
    from hitsieve.write import Summary


def _none(value: object) -> object:
    """The word none is no limit."""
    return None if isinstance(value, str) and value.strip().lower() == "none" else value


class RuleFlags(VerdictSettings):
    """Verdict settings that need no image; of these three, none lifts what the run had."""

    min_spots: Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(_none)] = None
    """Fewest spots, in the resolution range and outside ice bands, that are enough; none: found again from blanks."""
    d_min: Annotated[Annotated[float, Field(gt=0)] | None, BeforeValidator(_none)] = None
    """High-resolution limit (angstrom) of spots that count; none: no limit."""
    d_max: Annotated[Annotated[float, Field(gt=0)] | None, BeforeValidator(_none)] = None
    """Low-resolution limit (angstrom) of spots that count; none: no limit."""
    second_look: Annotated[int, Field(ge=0), Parameter(parse=False)] = 1000
    """Without effect."""
    second_look_fraction: Annotated[float, Field(ge=0, le=1), Parameter(parse=False)] = 0.02
    """Without effect."""


def rethink(
    results: Path,
    /,
    *,
    output: Annotated[Path, Parameter(alias="-o")],
    hits: Switch = False,
    overwrite: Switch = False,
    source: list[Path] | None = None,
    json: AsJson = False,
    verdict: Annotated[RuleFlags, Parameter(name="*", group=VERDICT)] = RuleFlags(),  # noqa: B008 - frozen
    catalogue: Annotated[CatalogueFlags, Parameter(name="*", group=CATALOGUE)] = CatalogueFlags(),  # noqa: B008
    messages: Messages = Messages(),  # noqa: B008
) -> int:
    """Apply another rule to a finished run, without searching its images again.

    Writes <stem>_images.parquet and <stem>_summary.json with the new verdict. Settings that are not given stay those of
    the run, min_spots too; but where the run had found it from blanks, it is found again if other spots count. With
    --false-hit-rate and without --min-spots it is found again in any case. Spots and lattices stay as they were found.
    The verdict is then entered into the local catalogue, as a run of its own.

    Parameters
    ----------
    results
        An output of hitsieve run, or the folder with those of one run.
    output
        Folder for the files; made if absent.
    hits
        Also write <stem>_hits.h5 and <stem>_annotated.h5, with the hits copied from the original images.
    overwrite
        Replace files that exist; those of the run itself only with --hits.
    source
        Master file of the run, or all its data files or images, each with its own --source, if they have moved. Of a
        run with --misses keep whose original is gone: what hitsieve restore makes of its hits and misses.
    json
        Print the new summary as JSON on stdout, and nothing else there.
    """
    messages.set_up_logging()

    from hitsieve.pipeline.rethink import RethinkRequest
    from hitsieve.pipeline.rethink import rethink as think

    request = RethinkRequest(verdict, output, hits, overwrite, tuple(source or ()), catalogue)
    with shown_count("thinking", wanted=not (json or messages.quiet)) as progress:
        report = think(results, request, progress=stoppable(progress))
    Warnings()(report.problems)
    if json:
        print(report.summary.model_dump_json(indent=2))
    elif not messages.quiet:
        print_summary(report.summary, searched=hits)
        print(f"\nbefore: {_told(report.before)}\nnow:    {_told(report.summary)}\n")
        for path in report.files:
            print(path)
    return 0


def _told(summary: Summary) -> str:
    return f"{summary.n_hits:,} hits with the rule {summary.rule.rule}, {summary.rule.min_spots} spots"
