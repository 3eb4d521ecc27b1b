"""Files of a simulated run come into their folder all together, or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

Move = tuple[Path, Path]


@contextmanager
def scratch_folder(output: Path, prefix: str) -> Iterator[Path]:
    """Make a hidden folder in `output`, which is made if absent; leave nothing of either when the block raises."""
    made: list[Path] = []
    scratch = None
    try:
        for folder in reversed([output, *output.parents]):
            if not folder.exists():
                folder.mkdir()
                made.append(folder)
        scratch = Path(tempfile.mkdtemp(prefix=f".{prefix}-", suffix=".tmp", dir=output))
        yield scratch
    except BaseException:
        _remove(scratch)
        for folder in reversed(made):
            # Another program may have put something there meanwhile.
            with suppress(OSError):
                folder.rmdir()
        raise
    _remove(scratch)


def _remove(scratch: Path | None) -> None:
    if scratch is not None:
        shutil.rmtree(scratch, ignore_errors=True)


def place(scratch: Path, finals: Sequence[Path], stale: Sequence[Path]) -> None:
    """Rename the files of `scratch` to `finals`, in this order; replaced and stale files go.

    If one cannot be renamed, or Ctrl-C comes, the folder is as it was before.

    Parameters
    ----------
    scratch : Path
        Holds a file of the name of each final, on the same file system.
    finals : sequence of Path
        Where the files go; files there are replaced.
    stale : sequence of Path
        Files to remove.
    """
    for final in finals:
        _sync(scratch / final.name)
    old = scratch / "old"
    old.mkdir()
    moves: list[Move] = [(path, old / path.name) for path in (*finals, *stale) if path.is_file()]
    moves += [(scratch / final.name, final) for final in finals]
    begun: list[Move] = []
    try:
        for before, after in moves:
            begun.append((before, after))
            before.replace(after)
    except BaseException:
        for before, after in reversed(begun):
            # The last one may not have been done.
            if not before.exists():
                after.replace(before)
        raise


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
