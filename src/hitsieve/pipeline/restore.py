"""Gives a run back from its files of hits and misses, and compares it with the original where that is still there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from hitsieve.errors import SourceError
from hitsieve.source import open_run
from hitsieve.write import KeptRun, Restored, differences, restore_run

MOST = 1000
"""Most differences that are told."""
Step = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """What is wanted of a restoration."""

    hits: Path
    """Hit-only file of a run with `--misses keep`."""
    misses: Path
    """Its misses file."""
    output: Path
    """File to write."""
    virtual: bool = False
    """Show the images of the two files, instead of copying them."""
    overwrite: bool = False
    """Replace the file if it exists."""
    source: tuple[Path, ...] = ()
    """The original run, to compare with; empty: nothing."""


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """What was restored, and how it compares with the original."""

    restored: Restored
    differences: tuple[str, ...] | None
    """In words, at most a thousand; None where there was no original to compare with."""


def restore(request: RestoreRequest, *, progress: Step | None = None) -> RestoreReport:
    """Rebuild the original series of a run.

    Parameters
    ----------
    request : RestoreRequest
    progress : callable, optional
        Called with the number of images done and of all.

    Returns
    -------
    RestoreReport

    Raises
    ------
    SourceError
        The files are not those of one run, or one of them or the original cannot be read.
    VerificationError
        A stored image does not agree with its SHA-256; then nothing is written.
    OutputError
        The file exists, or cannot be written; then none is left.
    """
    with KeptRun(request.hits, request.misses) as kept:
        if not request.source:
            return RestoreReport(_restored(kept, request, progress), None)
        # Only what the files say is compared: no settings.
        with open_run(request.source, compare=False) as source:
            if len(source.run) != len(kept):
                raise SourceError(
                    f"{request.source[0]}: has {len(source.run)} images, the run had {len(kept)}",
                    mend="name the original run as it was named for hitsieve run",
                )
            restored = _restored(kept, request, progress)
            found = tuple(islice(differences(restored.path, source, progress), MOST))
            return RestoreReport(restored, found)


def _restored(kept: KeptRun, request: RestoreRequest, progress: Step | None) -> Restored:
    return restore_run(kept, request.output, virtual=request.virtual, overwrite=request.overwrite, step=progress)
