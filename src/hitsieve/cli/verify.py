"""`hitsieve verify`."""

from __future__ import annotations

import sys
from pathlib import Path

from hitsieve.cli.options import Messages
from hitsieve.errors import VerificationError

LISTED = 10
"""Most failed images that are listed one by one."""


def verify(
    hits: Path,
    /,
    *,
    source: Path | None = None,
    messages: Messages = Messages(),  # noqa: B008 - frozen
) -> int:
    """Prove every stored chunk of a hit-only file against its hash and its source.

    Parameters
    ----------
    hits
        File that hitsieve run wrote (<stem>_hits.h5).
    source
        Master file of the run; without it, chunks are compared with their hashes only.
    """
    messages.set_up_logging()

    from hitsieve.pipeline.verify import verify as prove

    report = prove(hits, source)
    for failure in report.failures[:LISTED]:
        where = f"{hits}: {failure.group} row {failure.row} (image {failure.source_image} of the run)"
        print(f"hitsieve: error: {where}: {failure.reason}", file=sys.stderr)
    if not report.ok:
        msg = f"{hits}: {len(report.failures)} of {report.n_hits + report.n_audit} images do not agree"
        raise VerificationError(msg, mend="do not use these images; write the file again from the run")
    if not messages.quiet:
        against = "their hashes and the source" if report.with_source else "their hashes"
        print(f"{hits}: {report.n_hits} hits and {report.n_audit} audited misses agree with {against}")
    return 0
