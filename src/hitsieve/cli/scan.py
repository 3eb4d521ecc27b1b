"""The scan of archives that `hitsieve catalog add --scan` is."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from hitsieve.cli.progress import shown_items
from hitsieve.cli.screen import number_of
from hitsieve.cli.stopping import stoppable
from hitsieve.errors import SourceError

if TYPE_CHECKING:
    from hitsieve.pipeline.archive import Scanned, ScanRequest
    from hitsieve.settings import RunSettings

SAYS = {
    "sieved": "sieved now",
    "entered": "entered that were sieved before",
    "known": "known already",
    "claimed": "left to another scan",
    "failed": "failed",
}


def scan_archive(
    folders: Sequence[Path], output: Path, settings: RunSettings, place: Path, *, quiet: bool, json: bool
) -> int:
    """Scan archives, say what became of each run, and give the exit code."""
    from hitsieve.pipeline.archive import ScanRequest

    results = scan_shown(ScanRequest(tuple(folders), output, settings, place), quiet=json or quiet)
    if json:
        import json as encoder

        print(encoder.dumps([asdict(one) for one in results], indent=2, default=str))
    elif not quiet:
        _print(results, place)
    failed = [one for one in results if one.what == "failed"]
    for one in failed if quiet else ():
        print(f"hitsieve: warning: {named(one.path, one.why)}", file=sys.stderr)
    return SourceError.exit_code if failed else 0


def scan_shown(request: ScanRequest, *, quiet: bool) -> list[Scanned]:
    """Scan archives, and show how far that is."""
    from hitsieve.pipeline.archive import ScanSteps, scan

    counts: Counter[str] = Counter()
    try:
        with shown_items("runs", wanted=not quiet) as show:

            def done(n: int, total: int, one: Scanned) -> None:
                counts[one.what] += 1
                show(n, total, f"{counts['failed']:,} failed")

            looking = stoppable(lambda n: show(0, None, f"{number_of(n, 'file')} looked at"))
            found = stoppable(lambda total: show(0, total, "the first one"))
            return scan(request, ScanSteps(looking, found, stoppable(done), stoppable(None), stoppable(None)))
    except KeyboardInterrupt:
        so_far = counted(counts) if counts else "no run is done"
        print(f"hitsieve: {so_far}; the same command goes on from here", file=sys.stderr)
        raise


def _print(results: Sequence[Scanned], place: Path) -> None:
    for one in results:
        if one.what in ("failed", "claimed"):
            print(f"{one.what:<8}{named(one.path, one.why)}")
    images, hits = sum(one.n_images for one in results), sum(one.n_hits for one in results)
    print(f"\n{counted(Counter(one.what for one in results))}")
    print(f"{number_of(images, 'image')}, {number_of(hits, 'hit')}: {place}")


def named(path: Path | str, why: str) -> str:
    """Name the file of a reason, once: most reasons begin with it."""
    return why if why.startswith(f"{path}: ") else f"{path}: {why}"


def counted(counts: Counter[str]) -> str:
    """Say how many runs there were, and what became of them."""
    said = [f"{counts[what]:,} {says}" for what, says in SAYS.items() if counts[what]]
    return f"{number_of(sum(counts.values()), 'run')}: {', '.join(said) or 'nothing to do'}"
