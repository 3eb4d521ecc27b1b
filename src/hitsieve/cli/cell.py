"""`hitsieve cell`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts.types import PositiveFloat

from hitsieve.cli.options import AsJson, Messages, WholeFrom0, WholeFrom1
from hitsieve.cli.progress import shown_count
from hitsieve.cli.stopping import stoppable
from hitsieve.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hitsieve.index import FoundCell
    from hitsieve.pipeline.cell import CellReport

NUMBERS = ("a", "b", "c", "alpha", "beta", "gamma")


def cell(
    results: Path,
    /,
    *,
    max_hits: WholeFrom1 = 200,
    min_length: PositiveFloat | None = None,
    max_length: PositiveFloat | None = None,
    workers: WholeFrom0 = 0,
    source: list[Path] | None = None,
    json: AsJson = False,
    messages: Messages = Messages(),  # noqa: B008 - frozen
) -> int:
    """Find the unit cell that the hits of a finished run agree on, without any known one.

    Parameters
    ----------
    results
        An output of hitsieve run, or the folder with those of one run.
    max_hits
        Most hits that are tried, evenly spread over the run; two at least.
    min_length
        Shortest vector (angstrom) of the cell; by default as in the run.
    max_length
        Longest vector (angstrom) of the primitive cell; by default as in the run.
    workers
        Worker threads; 0: one a core.
    source
        Master file of the run, or all its data files or images, each with its own --source, if they have moved.
    json
        Print what is found as JSON on stdout, and nothing else there.
    """
    messages.set_up_logging()

    from hitsieve.pipeline.cell import CellRequest, find_cell_of_run

    request = CellRequest(max_hits, min_length, max_length, workers, tuple(source or ()))
    with shown_count("indexing", wanted=not (json or messages.quiet)) as progress:
        report = find_cell_of_run(results, request, progress=stoppable(progress))
    if json:
        import json as encoder

        print(encoder.dumps(_as_data(report), indent=2))
    if not report.groups:
        raise SourceError(
            f"{results}: no cell: {_tried(report)}, and no two agree",
            mend="check the geometry, or try other --min-length and --max-length",
        )
    if not (json or messages.quiet):
        _print(report)
    return 0


def flags(group: FoundCell) -> str:
    """The cell as flags of hitsieve run."""
    return f"--cell {','.join(_number(value) for value in group.cell.parameters)} --centring {group.cell.centring}"


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _tried(report: CellReport) -> str:
    return f"{report.n_tried:,} of {report.n_enough:,} hits with enough spots tried"


def _print(report: CellReport) -> None:
    best = report.groups[0]
    print(f"{_tried(report)}, {best.n_indexed:,} have a lattice, {len(best.images):,} agree on this cell\n")
    _print_parameters(best)
    print("\nBravais types within tolerance, and how far the cell is from their symmetry (* as chosen):\n")
    print(f"{'':2}{'type':<6}{'centring':<10}{_columns(NUMBERS)}{'lengths':>10}{'angles':>10}")
    for found in best.candidates:
        chosen = "* " if found is best.bravais else "  "
        off = f"{100 * found.length_deviation:>8.2f} %{found.angle_deviation:>6.2f} deg"
        print(f"{chosen}{found.type:<6}{found.centring:<10}{_columns(found.cell)}{off}")
    for other in report.groups[1:]:
        print(f"\nanother cell, of {len(other.images):,} images: {other.bravais.type}   {flags(other)}")
    print()
    if not best.believed:
        print("hitsieve: warning: too few images agree for the cell to be believed", file=sys.stderr)
    print(flags(best))


def _print_parameters(group: FoundCell) -> None:
    print(f"{'':18}{_columns(NUMBERS)}")
    rows = [
        (f"cell ({group.bravais.type})", group.cell.parameters),
        ("mean of images", group.parameters.mean(axis=0)),
        ("spread (1 sigma)", group.parameters.std(axis=0)),
    ]
    for name, values in rows:
        print(f"{name:<18}{_columns(values)}")


def _columns(values: Iterable[Any]) -> str:
    return "".join(f"{value:>9}" if isinstance(value, str) else f"{value:>9.2f}" for value in values)


def _as_data(report: CellReport) -> dict[str, Any]:
    groups = []
    for group, images in zip(report.groups, report.images, strict=True):
        candidates = [
            {
                "type": found.type,
                "centring": found.centring,
                "cell": found.cell,
                "as_found": found.as_found,
                "length_deviation": found.length_deviation,
                "angle_deviation": found.angle_deviation,
            }
            for found in group.candidates
        ]
        groups.append(
            {
                "cell": group.cell.parameters,
                "centring": group.cell.centring,
                "type": group.bravais.type,
                "flags": flags(group),
                "believed": group.believed,
                "n_agreeing": len(images),
                "images": images.tolist(),
                "mean": group.parameters.mean(axis=0).tolist(),
                "std": group.parameters.std(axis=0).tolist(),
                "primitive": group.primitive,
                "candidates": candidates,
            }
        )
    n_indexed = report.groups[0].n_indexed if report.groups else None
    counts = {"n_hits": report.n_hits, "n_enough_spots": report.n_enough, "n_tried": report.n_tried}
    return {**counts, "n_indexed": n_indexed, "groups": groups}
