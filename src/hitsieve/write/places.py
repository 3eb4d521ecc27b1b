"""Places of files, as provenance names them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def absolute_names(paths: Iterable[Path]) -> list[str]:
    """Absolute names, without symbolic links; quick also for the many files of a run of single images."""
    folders: dict[Path, Path] = {}
    names = []
    for path in paths:
        if path.parent not in folders:
            folders[path.parent] = path.parent.resolve()
        there = folders[path.parent] / path.name
        names.append(str(there.resolve() if there.is_symlink() else there))
    return names
