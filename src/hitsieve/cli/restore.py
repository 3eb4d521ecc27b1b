"""`hitsieve restore`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from hitsieve.cli.options import AsJson, Messages, Switch
from hitsieve.cli.progress import shown_count
from hitsieve.cli.screen import number_of
from hitsieve.cli.stopping import stoppable
from hitsieve.errors import VerificationError

if TYPE_CHECKING:
    from hitsieve.pipeline.restore import RestoreReport
    from hitsieve.write import Restored

LISTED = 10
"""Most differences that are listed one by one."""


def restore(
    hits: Path,
    misses: Path,
    /,
    *,
    output: Annotated[Path, Parameter(alias="-o")],
    virtual: Switch = False,
    overwrite: Switch = False,
    source: list[Path] | None = None,
    json: AsJson = False,
    messages: Messages = Messages(),  # noqa: B008 - frozen
) -> int:
    """Rebuild the original series from the files of hits and misses of a run, bit for bit.

    Every stored image is compared with the SHA-256 that was recorded when the run was sieved; where one does not agree,
    nothing is written.

    Parameters
    ----------
    hits
        Hit-only file of a run with --misses keep (<stem>_hits.h5).
    misses
        Its misses file (<stem>_misses.h5).
    output
        NXmx file to write, with all images in the original order.
    virtual
        Write a small master that shows the images of the two files, instead of copying them; keep all three together.
    overwrite
        Replace the file if it exists.
    source
        Master file of the original run, or all its data files or images, each with its own --source: every chunk and
        all metadata are compared with it.
    json
        Print what was restored and proven as JSON on stdout, and nothing else there.
    """
    messages.set_up_logging()

    from hitsieve.pipeline.restore import RestoreRequest
    from hitsieve.pipeline.restore import restore as rebuild

    request = RestoreRequest(hits, misses, output, virtual, overwrite, tuple(source or ()))
    with shown_count("restoring", wanted=not (json or messages.quiet)) as progress:
        report = rebuild(request, progress=stoppable(progress))
    restored = report.restored
    if restored.n_lost:
        what = f"{restored.n_lost:,} unreadable images could not be put back and read as the fill value"
        mend = "restore without --virtual to have their chunks" if virtual else "keep their original files"
        print(f"hitsieve: warning: {output}: {what} ({mend})", file=sys.stderr)
    if json:
        import json as encoder

        said = {**asdict(restored), "differences": report.differences}
        print(encoder.dumps(said, indent=2, default=str))
    elif not messages.quiet:
        _print(restored)
    _judge(output, report, source or [], quiet=json or messages.quiet)
    return 0


def _print(restored: Restored) -> None:
    rows = [
        ("restored", f"{number_of(restored.n_images, 'image')}, in the original order"),
        ("proven", f"{restored.n_proven:,} stored images agree with their recorded SHA-256"),
        ("verbatim", f"{restored.n_verbatim:,} of them are the chunks of the original, byte by byte"),
    ]
    if restored.n_verbatim < restored.n_proven:
        n = restored.n_proven - restored.n_verbatim
        rows.append(("packed", f"{n:,} were packed anew when the run was sieved: the same pixels in other chunks"))
    if restored.n_unreadable:
        rows.append(("unreadable", f"{restored.n_unreadable:,}, as in the original: their chunks are back"))
    if restored.n_missing:
        rows.append(("missing", f"{restored.n_missing:,}, as in the original: they read as the fill value"))
    rows.append(("file", f"{restored.path}{' (virtual: needs the two files)' if restored.virtual else ''}"))
    for name, value in rows:
        print(f"{name:<12}{value}")


def _judge(output: Path, report: RestoreReport, source: list[Path], *, quiet: bool) -> None:
    """Say how the file compares with the original; raise where they differ."""
    if report.differences is None:
        return
    if not report.differences:
        if not quiet:
            print(f"{'source':<12}nothing differs from {source[0]}: images, arrays and metadata")
        return
    for text in report.differences[:LISTED]:
        print(f"hitsieve: error: {output}: {text}", file=sys.stderr)
    n = len(report.differences)
    raise VerificationError(
        f"{output}: {n:,} things differ from {source[0]}",
        mend="keep the original; the file that was written is as the files of hits and misses have it",
    )
