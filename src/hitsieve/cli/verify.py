"""`hitsieve verify`."""

from __future__ import annotations

from pathlib import Path

from hitsieve.cli.options import Messages


def verify(
    hits: Path,
    /,
    *,
    source: Path | None = None,
    messages: Messages = Messages(),  # noqa: B008 - frozen
) -> int:
    """Prove every stored chunk of a hit-only file against its hash, and against its source.

    Parameters
    ----------
    hits
        File that hitsieve run wrote (<stem>_hits.h5).
    source
        Master file of the run; if absent, chunks are compared with their hashes only.
    """
    messages.set_up_logging()

    from hitsieve.pipeline.verify import verify as prove

    report = prove(hits, source)
    if not messages.quiet:
        print(report)
    return 0
