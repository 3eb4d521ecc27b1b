"""Where a file with facts of sample and experiment lies, which the source need not state."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

FILES = ("{stem}_facts.toml", "hitsieve-facts.toml")
"""Names of files with facts; the first that is there counts, beside the results, then beside the source."""


def find_facts(stem: str, folders: Iterable[Path]) -> Path | None:
    """The file with the facts of a run; None where there is none, or none that may be seen."""
    for folder in folders:
        for name in FILES:
            path = folder / name.format(stem=stem)
            # Raw data may lie where whoever publishes the results is not let in.
            with suppress(OSError):
                if path.is_file():
                    return path
    return None
