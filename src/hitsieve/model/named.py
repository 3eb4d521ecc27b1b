"""Where a file is that another one names."""

from __future__ import annotations

from pathlib import Path


def named_file(name: str, master: Path) -> Path:
    """Where `name`, found in `master`, is: beside the master, as HDF5 itself looks it up.

    An absolute path that is not there is looked for in the master's folder, so that a moved run opens. A master that
    is a symbolic link has two folders: its own, and that of the file it leads to.
    """
    stated = Path(name)
    folders = [master.parent, master.resolve().parent]
    candidates = [stated] if stated.is_absolute() else []
    candidates += [folder / (stated.name if stated.is_absolute() else stated) for folder in folders]
    for candidate in candidates:
        if candidate.exists():
            return candidate
    return candidates[0]


def plain_name(name: str) -> str:
    """Name of a file as a virtual dataset gives it: a percent sign is written twice there, and %b is a number."""
    return name.replace("%%", "%")


def shown_name(name: str) -> str:
    """Name of a file as a virtual dataset is to give it."""
    return name.replace("%", "%%")
