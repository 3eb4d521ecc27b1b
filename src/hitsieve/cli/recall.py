"""`hitsieve recall`."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from hitsieve.cli.options import AsJson, Messages, Switch, WholeFrom0
from hitsieve.cli.screen import size_of
from hitsieve.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hitsieve.pipeline.recall import SourceFile


def recall(
    results: Path,
    /,
    *,
    at_least: WholeFrom0 | None = None,
    without_hits: Switch = False,
    names: Annotated[bool, Parameter(name="--list", negative=(), show_default=False)] = False,
    json: AsJson = False,
    csv: AsJson = False,
    messages: Messages = Messages(),  # noqa: B008 - frozen
) -> int:
    """Say which files of a run hold hits and which none, to bring only those back from tape.

    It reads the outputs of the run: the files themselves need not be there.

    Parameters
    ----------
    results
        An output of hitsieve run, or the folder with those of one run.
    at_least
        Only files with so many hits; with --list 1 by default, else all files are shown.
    without_hits
        Only files without any.
    names
        Print paths only, one a line, as tools that recall files from tape take them.
    json
        Print all as JSON on stdout, and nothing else there.
    csv
        Print all as CSV on stdout, and nothing else there.
    """
    messages.set_up_logging()
    if json + csv + names > 1:
        raise SettingsError("--json, --csv and --list exclude each other", mend="give one")
    if without_hits and at_least is not None:
        raise SettingsError("--without-hits and --at-least exclude each other", mend="give one")

    from hitsieve.pipeline.recall import recall as count

    files = count(results)
    fewest = at_least if at_least is not None else 1 if names and not without_hits else 0
    chosen = [one for one in files if (one.hits == 0 if without_hits else one.hits >= fewest)]
    if json:
        import json as encoder

        print(encoder.dumps([asdict(one) for one in chosen], indent=2))
    elif csv:
        _print_csv(chosen)
    elif names:
        for one in chosen:
            print(one.path)
    else:
        _print(chosen, files)
    return 0


def _print_csv(files: Sequence[SourceFile]) -> None:
    import csv
    import sys

    from hitsieve.pipeline.recall import SourceFile

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([field.name for field in fields(SourceFile)])
    writer.writerows(asdict(one).values() for one in files)


def _print(chosen: Sequence[SourceFile], files: Sequence[SourceFile]) -> None:
    print(f"{'hits':>9}{'images':>9}{'size':>10}  {'jet':<9}file")
    for one in chosen:
        size = "-" if one.bytes is None else size_of(one.bytes)
        print(f"{one.hits:>9,}{one.images:>9,}{size:>10}  {one.jet:<9}{one.path}")
    holding = [one for one in files if one.hits]
    print(f"\n{len(holding):,} of {len(files):,} files hold the {sum(one.hits for one in files):,} hits{_share(files)}")


def _share(files: Sequence[SourceFile]) -> str:
    """How much of the bytes is in files with hits, where all sizes are known."""
    sizes = [(one.bytes, one.hits) for one in files if one.bytes is not None]
    if len(sizes) < len(files):
        return ""
    held = sum(size for size, hits in sizes if hits)
    return f": {size_of(held)} of {size_of(sum(size for size, _ in sizes))}"
