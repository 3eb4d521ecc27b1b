"""`hitsieve verify`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hitsieve.cli.options import Messages
from hitsieve.errors import VerificationError

if TYPE_CHECKING:
    from hitsieve.write import VerifyReport

LISTED = 10
"""Most failed images that are listed one by one."""


def verify(
    hits: Path,
    /,
    *,
    source: list[Path] | None = None,
    messages: Messages = Messages(),  # noqa: B008 - frozen
) -> int:
    """Prove every stored chunk of a file of hits or misses against its hash and its source.

    Parameters
    ----------
    hits
        File that hitsieve run wrote (<stem>_hits.h5 or <stem>_misses.h5).
    source
        Master file of the run, or all its data files or images, each with its own --source; without it, chunks are
        compared with their hashes only.
    """
    messages.set_up_logging()

    from hitsieve.pipeline.verify import verify as prove

    source = source or []
    report = prove(hits, source or None)
    if report.another_run:
        msg = f"{hits}: none of its {report.n} images agrees with {_named(source)}: this is another run"
        raise VerificationError(msg, mend="name the run that they came from")
    for failure in report.failures[:LISTED]:
        where = f"{hits}: {failure.group} row {failure.row} (image {failure.source_image} of the run)"
        print(f"hitsieve: error: {where}: {failure.reason}", file=sys.stderr)
    if not report.ok:
        raise _refuted(hits, report)
    if not messages.quiet:
        against = "their hashes and the source" if report.with_source else "their hashes"
        print(f"{hits}: {_proven(report)} agree with {against}")
    return 0


def _proven(report: VerifyReport) -> str:
    if not report.of_misses:
        return f"{report.n_hits} hits and {report.n_audit} audited misses"
    return f"{report.n_misses} misses and the bytes of {report.n_unreadable} unreadable images"


def _named(source: list[Path]) -> str:
    return str(source[0]) + (f" and the {len(source) - 1} others" if len(source) > 1 else "")


def _refuted(hits: Path, report: VerifyReport) -> VerificationError:
    """The verdict: images that do not agree come before those of which nothing is known."""
    n = report.n
    wrong = sum(failure.compared for failure in report.failures)
    unknown = len(report.failures) - wrong
    if wrong:
        more = f", {unknown} could not be compared" if unknown else ""
        msg = f"{hits}: {wrong} of {n} images do not agree{more}"
        return VerificationError(msg, mend="do not use these images; write the file again from the run")
    mend = "name the run's master, or all its data files or images: --source may be repeated"
    if any(failure.finding == "unreadable" for failure in report.failures):
        mend = "see that all files of the run are there and can be read"
    return VerificationError(f"{hits}: {unknown} of {n} images could not be compared with the source", mend=mend)
